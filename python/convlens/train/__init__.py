"""Training: `fit`, optimizers that append their updates to the graph, schedules of the learning rate."""

from ._early_stopping import EarlyStopping as EarlyStopping
from ._fit import fit as fit
from ._history import History as History
from ._optimizers import SGD as SGD
from ._optimizers import Adam as Adam
from ._optimizers import AdamW as AdamW
from ._optimizers import Optimizer as Optimizer
from ._schedules import Constant as Constant
from ._schedules import CosineDecay as CosineDecay
from ._schedules import ExponentialDecay as ExponentialDecay
from ._schedules import LinearWarmup as LinearWarmup
from ._schedules import OneCycle as OneCycle
from ._schedules import Schedule as Schedule
from ._schedules import StepDecay as StepDecay
