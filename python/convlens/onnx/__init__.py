"""ONNX files as networks, and networks as ONNX files: one function an operator (extra ``[onnx]``)."""

from ._export import export as export
from ._export import to_model as to_model
from ._importer import NEWEST_OPSET as NEWEST_OPSET
from ._importer import OLDEST_OPSET as OLDEST_OPSET
from ._importer import Imported as Imported
from ._importer import import_model as import_model
from ._load import load as load
from ._model import operators as operators
from ._registry import supported as supported
