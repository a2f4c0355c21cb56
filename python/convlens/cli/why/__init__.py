"""`convlens explain`: from files to pictures of what an answer rests on."""

from ._images import Loaded as Loaded
from ._images import Reader as Reader
from ._images import numbers as numbers
from ._images import recipe_of as recipe_of
from ._images import size as size
from ._labels import Labels as Labels
from ._sinks import FORMATS as FORMATS
from ._sinks import MOST_ROWS as MOST_ROWS
from ._sinks import PAGES as PAGES
from ._sinks import Shown as Shown
from ._sinks import Sink as Sink
from ._sinks import page as page
from ._sinks import sheet as sheet
