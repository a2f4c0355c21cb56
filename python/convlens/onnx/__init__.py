"""ONNX files as networks: one function an operator, upgraded to the graph's operator set (extra ``[onnx]``)."""

from ._importer import NEWEST_OPSET as NEWEST_OPSET
from ._importer import OLDEST_OPSET as OLDEST_OPSET
from ._importer import Imported as Imported
from ._importer import import_model as import_model
from ._load import load as load
from ._model import operators as operators
from ._registry import supported as supported
