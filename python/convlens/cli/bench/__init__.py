"""`convlens bench`: kernels and networks beside NumPy's best and the peers that are installed."""

from . import numpy_best as numpy_best
from ._call import eager as eager
from ._case import Case as Case
from ._case import case_of as case_of
from ._libraries import LIBRARIES as LIBRARIES
from ._libraries import OURS as OURS
from ._machine import machine as machine
from ._networks import NETWORKS as NETWORKS
from ._onnx import session_options as session_options
from ._process import PASSIVE as PASSIVE
from ._process import WAITS as WAITS
from ._process import Worker as Worker
from ._process import WorkerError as WorkerError
from ._process import alternate as alternate
from ._process import workers as workers
from ._run import Result as Result
from ._run import Row as Row
from ._run import measure as measure
from ._shapes import convolutions as convolutions
from ._shapes import pools as pools
from ._statistics import Ratio as Ratio
from ._statistics import Spread as Spread
from ._statistics import paired_ratio as paired_ratio
from ._statistics import spread as spread
