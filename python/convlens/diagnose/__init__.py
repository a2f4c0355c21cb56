"""Where a network fails: accuracy, confusions and the mistakes it is surest of."""

from ._answers import predict as predict
from ._labels import check_labels as check_labels
from ._metrics import accuracy as accuracy
from ._metrics import confusion_matrix as confusion_matrix
from ._metrics import misclassification_rate as misclassification_rate
from ._mistakes import Mistake as Mistake
from ._mistakes import Mistakes as Mistakes
from ._mistakes import worst_mistakes as worst_mistakes
from ._report import Report as Report
from ._report import report as report
