"""The intermediate representation: ONNX's operators, SSA, one symbolic batch axis."""

from ._ir import BATCH as BATCH
from ._ir import Dim as Dim
from ._ir import Graph as Graph
from ._ir import GraphBuilder as GraphBuilder
from ._ir import Node as Node
from ._ir import Shape as Shape
from ._ir import TensorType as TensorType
from ._problem import ConvProblem as ConvProblem
from ._problem import parse_problem as parse_problem
from ._problem import problem_of as problem_of
from ._problem import problem_string as problem_string
from ._registry import OPERATORS as OPERATORS
from ._registry import Call as Call
from ._registry import Operator as Operator
from ._registry import attribute as attribute
from ._registry import broadcast as broadcast
from ._registry import call_of as call_of
from ._shapes import infer as infer
from ._shapes_dense import reduce_axes as reduce_axes
from ._shapes_window import pad_widths as pad_widths
from ._shapes_window import resize_geometry as resize_geometry
from ._window import Padding as Padding
from ._window import Window as Window
from ._window import pair as pair
from ._window import resolve_padding as resolve_padding
from ._window import window_of as window_of
