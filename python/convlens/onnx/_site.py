"""What a handler sees: one ONNX node, its operands, and the graph under construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..graph import BATCH, Shape, TensorType

if TYPE_CHECKING:
    from ._importer import Importer

Array = npt.NDArray[Any]


_MOST_COMPARED = 64  # elements of a constant that may be one of the node's inputs


def _identity(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


class Site:
    """One node of the file, where its handler works.

    Attributes
    ----------
    op, name : str
        Operator, and the node's name; that of its first output where it has none.
    opset : int
        Of the file.
    inputs, outputs : tuple of str
        Tensors by the file's names; an absent one is "".
    attributes : mapping of str to value
    """

    def __init__(self, importer: Importer, node: Any, attributes: Mapping[str, Any]) -> None:
        self._importer = importer
        self.op: str = node.op_type
        self.opset = importer.opset
        self.inputs = tuple(node.input)
        self.outputs = tuple(node.output)
        self.name: str = node.name or next(filter(None, self.outputs), node.op_type)
        self.attributes = attributes
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def derived(
        self, op: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None, *, last: bool = False
    ) -> Site:
        """A node of ONNX that is a part of this one; `last` makes this one's first output.

        Inputs are tensors of the file, of the graph, or those of :meth:`known_tensor`.
        """
        output = self.outputs[0] if last else self._importer.fresh(f"{self.name}.{op.lower()}")
        node = SimpleNamespace(op_type=op, input=inputs, output=[output], name=self.name if last else output)
        return Site(self._importer, node, attributes or {})

    # -- what is given -------------------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def knows(self, index: int) -> bool:
        """Whether an input's value is known at import."""
        return self.has(index) and self._importer.value(self.inputs[index]) is not None

    def known(self, index: int, what: str) -> Array:
        """The value of an input that must be known; `what` is its name in ONNX."""
        value = self._importer.value(self.inputs[index]) if self.has(index) else None
        if value is None:
            raise UnsupportedError(
                f"`{what}` ({self.inputs[index] if self.has(index) else 'missing'!r}) depends on data; supported: what "
                "follows from constants and shapes. `outputs` cuts the network before it"
            )
        return value

    def made_by(self, index: int) -> str:
        """The operator in the file that makes an input; "" where none does."""
        return self._importer.maker(self.inputs[index])

    def type(self, index: int) -> TensorType:
        """The type of an input, as a tensor of the graph."""
        return self.type_of(self.tensor(index))

    def shape(self, index: int) -> Shape:
        """The shape of an input; the number of images is ``"N"``."""
        return self.type(index).shape

    def type_of(self, tensor: str) -> TensorType:
        """The type of a tensor of the graph."""
        return self._importer.builder.types[tensor]

    @property
    def batch_size(self) -> int | None:
        """The number of images that the file itself says, None where it is open."""
        return self._importer.batch_size

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or what the operator's text says is its default."""
        return self.attributes.get(name, default)

    def ints(self, name: str, index: int | None = None) -> list[int] | None:
        """Whole numbers that older versions have as an attribute and newer ones as an input; None when not given."""
        if index is not None and self.has(index):
            values = self.known(index, name)
            if values.dtype == object:
                raise UnsupportedError(f"`{name}` holds the number of images; supported: sizes alone")
            return [int(v) for v in values.reshape(-1)]
        given = self.attributes.get(name)
        return None if given is None else [int(v) for v in np.reshape(given, -1)]

    def note(self, text: str) -> None:
        """Say something in the network's notes, once."""
        self._importer.note(text)

    def spend(self, n_bytes: int) -> None:
        """Count what is about to be allocated at import; too much is an UnsupportedError."""
        self._importer.spend(n_bytes)

    # -- what is made --------------------------------------------------------------------------------------------------

    def tensor(self, index: int) -> str:
        """An input as a tensor of the graph; known ones become constants under their names. Absent is ""."""
        return self._importer.tensor(self.inputs[index]) if self.has(index) else ""

    def operand(self, index: int, rank: int | None = None) -> str:
        """An operand of element-wise arithmetic: a single number as a scalar, where that keeps the result's rank.

        Scalars become immediates of instructions; exporters write them as arrays of one element.
        """
        value = self._importer.value(self.inputs[index])
        if value is None or value.ndim == 0 or value.size != 1 or (rank is not None and value.ndim > rank):
            return self.tensor(index)
        return self.constant(value.reshape(()), f"{self.inputs[index]}.scalar")

    def constant(self, value: npt.ArrayLike, stem: str = "") -> str:
        """A constant: an input of the node that equals it, else a new one, named after the node.

        So a file that holds what would be made here keeps its names. An equal scalar of the same name is shared.
        """
        array = np.asarray(value)
        if array.size > _MOST_COMPARED or array.dtype == object:
            return self._importer.constant(array, stem or f"{self.name}.constant")
        key = _identity(array)
        if key not in self._constants:
            equal = next((name for name in self.inputs if self._equals(name, key)), None)
            if equal is None:
                self._constants[key] = self._importer.constant(array, stem or f"{self.name}.constant")
            else:
                self._constants[key] = self._importer.tensor(equal)
        return self._constants[key]

    def numbers(self, values: Sequence[int], stem: str = "") -> str:
        """Add a constant of axes or sizes."""
        return self.constant(np.array(values, np.int64), f"{self.name}.{stem or 'ints'}")

    def _equals(self, name: str, key: tuple[str, tuple[int, ...], bytes]) -> bool:
        value = self._importer.value(name) if name else None
        return value is not None and (value.dtype.name, value.shape) == key[:2] and _identity(value) == key

    def emit(self, op: str, inputs: Sequence[str], /, **attributes: Any) -> str:
        """Append a node that is a part of this one."""
        name = self._importer.fresh(f"{self.name}.{op.lower()}")
        return self._importer.add(op, inputs, attributes, name, [name])

    def emit_several(self, op: str, inputs: Sequence[str], count: int, /, **attributes: Any) -> list[str]:
        """Append a node of several outputs that is a part of this one."""
        name = self._importer.fresh(f"{self.name}.{op.lower()}")
        outputs = [self._importer.fresh(f"{name}.{i}") for i in range(count)]
        self._importer.add(op, inputs, attributes, name, outputs)
        return outputs

    def finish(self, op: str, inputs: Sequence[str], /, **attributes: Any) -> str:
        """Append the node that bears this one's name and makes its first output."""
        return self._importer.add(op, inputs, attributes, self.name, self.outputs[:1])

    def finish_all(self, op: str, inputs: Sequence[str], /, **attributes: Any) -> None:
        """Append the node that bears this one's name and makes all of its outputs."""
        self._importer.add(op, inputs, attributes, self.name, self.outputs)

    def keep_sequence(self, tensors: Sequence[str]) -> None:
        """Let the first output be a sequence of tensors."""
        self._importer.sequences[self.outputs[0]] = list(tensors)

    def sequence(self, index: int) -> list[str]:
        """The tensors of an input that is a sequence."""
        if not self.has(index) or self.inputs[index] not in self._importer.sequences:
            raise UnsupportedError("its input is no sequence that the file makes")
        return self._importer.sequences[self.inputs[index]]

    def keep_flat(self, tensor: str) -> None:
        """Let the first output be all elements of a tensor of the graph in one row, images one after the other."""
        self._importer.flats[self.outputs[0]] = tensor

    def flat(self, index: int) -> str | None:
        """The tensor of the graph whose elements an input has in one row; None for other inputs."""
        return self._importer.flats.get(self.inputs[index])

    def output(self, index: int, op: str, inputs: Sequence[str], /, **attributes: Any) -> None:
        """Append the node that makes another output than the first, if the file names it."""
        if self.asks_for(index):
            name = self._importer.fresh(f"{self.name}.{op.lower()}")
            self._importer.add(op, inputs, attributes, name, [self.outputs[index]])

    def asks_for(self, index: int) -> bool:
        """Whether the file names an output."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def known_tensor(self, stem: str, value: Array, grid: tuple[Array, Array, Array] | None = None) -> str:
        """Name a value that is known at import; `grid` holds the whole numbers, scale and zero point it is made of."""
        name = self._importer.fresh(stem)
        self._importer.know(name, value)
        if grid is not None:
            self.keep_grid(name, grid)
        return name

    @property
    def steps(self) -> dict[str, tuple[list[str], int, int]]:
        """Scale and zero point, as tensors of the graph, and range of the whole numbers that nodes of the file make."""
        return self._importer.steps

    def keep_grid(self, name: str, grid: tuple[Array, Array, Array]) -> None:
        """Let the graph make a known tensor of its whole numbers, by a Dequantize."""
        self._importer.grids[name] = grid

    def emit_once(self, name: str, op: str, inputs: Sequence[str], /, **attributes: Any) -> str:
        """Append a node under a name of its own, unless an equal one is there."""
        return self._importer.add_once(op, inputs, attributes, name)

    # -- what comes up often -------------------------------------------------------------------------------------------

    def reshape(self, x: str, sizes: Sequence[int], *, last: bool = False) -> str:
        """Change the shape behind the first axis, which is the batch or stays as it is."""
        kind = self.type_of(x)
        inputs = [x, self.numbers([0 if kind.batched else int(kind.shape[0]), *sizes], "shape")]
        return self.finish("Reshape", inputs) if last else self.emit("Reshape", inputs)

    def sizes(self, index: int) -> tuple[int, ...]:
        """The sizes of an input behind its first axis."""
        return tuple(int(size) for size in self.shape(index)[1:])

    def rank(self, index: int) -> int:
        """How many axes an input has."""
        return len(self.shape(index))

    def axis(self, value: int, rank: int, what: str = "axis") -> int:
        """An axis counted from the front."""
        if not -rank <= value < rank:
            raise ValueError(f"`{what}` (={value}) must lie in [{-rank}, {rank - 1}] for {rank} axes")
        return value % rank

    def scalar(self, value: float, like: str) -> str:
        """A number in the type of a tensor."""
        return self.constant(np.array(value, self.type_of(like).dtype), f"{self.name}.scalar")

    def keep_images_apart(self, x: str, axes: Sequence[int], what: str) -> None:
        """Refuse axes that hold the batch."""
        if self.type_of(x).shape[:1] == (BATCH,) and 0 in axes:
            raise UnsupportedError(f"`{what}` (={list(axes)}) holds the batch axis 0; images are computed one by one")
