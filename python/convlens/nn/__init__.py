"""Networks: layers by keyword, chained or called, and the Network they make."""

from ._layer import Input as Input
from ._layer import Layer as Layer
from ._layer import Tensor as Tensor
from ._layers import Add as Add
from ._layers import BatchNorm2d as BatchNorm2d
from ._layers import Flatten as Flatten
from ._layers import GlobalAvgPool2d as GlobalAvgPool2d
from ._layers import Linear as Linear
from ._layers import LogSoftmax as LogSoftmax
from ._layers import Pad as Pad
from ._layers import ReLU as ReLU
from ._layers import Reshape as Reshape
from ._layers import Sigmoid as Sigmoid
from ._layers import Softmax as Softmax
from ._layers import Tanh as Tanh
from ._layers import ZeroPad2d as ZeroPad2d
from ._network import Network as Network
from ._network import Sequential as Sequential
from ._network import load as load
from ._receptive_field import ReceptiveField as ReceptiveField
from ._records import LayerRecord as LayerRecord
from ._records import LayerTable as LayerTable
from ._windows import AvgPool2d as AvgPool2d
from ._windows import Conv2d as Conv2d
from ._windows import MaxPool2d as MaxPool2d
