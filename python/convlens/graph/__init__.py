"""The intermediate representation: ONNX's operators, SSA, one symbolic batch axis."""

from ._ir import BATCH as BATCH
from ._ir import Dim as Dim
from ._ir import Graph as Graph
from ._ir import GraphBuilder as GraphBuilder
from ._ir import Node as Node
from ._ir import Shape as Shape
from ._ir import TensorType as TensorType
