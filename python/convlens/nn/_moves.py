"""Layers that move elements: joining, slicing, permuting, shuffling channels; and means over axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..graph import GraphBuilder, TensorType
from ._arguments import integer
from ._layer import Layer, ParameterSpec, image_of, written


class _Mover(Layer):
    """A layer without parameters."""

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return ()

    def _axis(self, axis: int, kind: TensorType, name: str = "axis") -> int:
        """An axis counted from the front; never the batch."""
        rank = len(kind.shape)
        if not -rank <= axis < rank or axis % rank == 0:
            raise ValueError(
                f"`{name}` (={axis}) must be an axis of {written(kind)} other than the batch, 1 to {rank - 1}"
            )
        return axis % rank


class Concat(_Mover):
    """Lay tensors end to end, as dense blocks, fire modules and U-Nets do: ``nn.Concat()(a, b, c)``.

    Parameters
    ----------
    axis : int
        1, the channels, by default.
    name : str, optional
    """

    stem = "concat"
    variadic = True
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("axis",)}

    def __init__(self, *, axis: int = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        self.axis = integer("axis", axis, at_least=-8)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        axis = self._axis(self.axis, inputs[0])
        for kind in inputs[1:]:
            sizes = [(*k.shape[:axis], *k.shape[axis + 1 :]) for k in (inputs[0], kind)]
            if len(kind.shape) != len(inputs[0].shape) or sizes[0] != sizes[1]:
                raise ValueError(
                    f"Concat needs tensors that differ along `axis` (={axis}) alone, not {written(inputs[0])} and "
                    f"{written(kind)}: match sizes with a stride, a pool or padding"
                )
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        axis = self._axis(self.axis, builder.types[inputs[0]])
        builder.add("Concat", inputs, {"axis": axis}, name=name, outputs=[tensor])


class Slice(_Mover):
    """Keep ``start, start + step, ...`` below `stop` of one axis, as ``x[:, start:stop:step]`` does.

    A chunk, or a group of channels, is a slice; there is one layer for each part.

    Parameters
    ----------
    start : int
    stop : int, optional
        To the end by default. Negative ones count from the end, as in Python.
    step : int
        Negative ones go backwards.
    axis : int
        1, the channels, by default.
    name : str, optional
    """

    stem = "slice"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {2: ("start", "stop"), 1: ("start",)}

    def __init__(
        self,
        *,
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        axis: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.start, self.stop = start, stop
        self.step = integer("step", step, at_least=-(2**31))
        self.axis = integer("axis", axis, at_least=-8)
        if self.step == 0:
            raise ValueError("`step` (=0) must not be 0")

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        axis = self._axis(self.axis, inputs[0])
        size = int(inputs[0].shape[axis])
        if not len(range(*slice(self.start, self.stop, self.step).indices(size))):
            raise ValueError(
                f"`start`, `stop` and `step` (={self.start}:{self.stop}:{self.step}) leave nothing of the {size} of "
                f"axis {axis}"
            )
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        kind = builder.types[inputs[0]]
        axis = self._axis(self.axis, kind)
        taken = range(*slice(self.start, self.stop, self.step).indices(int(kind.shape[axis])))
        stop = taken.stop if taken.stop >= 0 else -(2**31)
        reads = [inputs[0]]
        for what, value in (("starts", taken.start), ("ends", stop), ("axes", axis), ("steps", self.step)):
            reads.append(builder.constant(np.array([value], np.int64), f"{name}.{what}"))
        builder.add("Slice", reads, name=name, outputs=[tensor])


class Permute(_Mover):
    """Order the axes anew: axis i of the result is axis ``dims[i]`` of the input.

    Parameters
    ----------
    dims : sequence of int
        With the batch first: ``(0, 2, 3, 1)`` puts channels last.
    name : str, optional
    """

    stem = "permute"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("dims",)}

    def __init__(self, *, dims: Sequence[int], name: str | None = None) -> None:
        super().__init__(name=name)
        if not isinstance(dims, (list, tuple)) or sorted(dims) != list(range(len(dims))) or dims[:1] not in ([0], (0,)):
            raise ValueError(f"`dims` (={dims!r}) must hold every axis once, the batch first, such as (0, 2, 3, 1)")
        self.dims = tuple(dims)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if len(inputs[0].shape) != len(self.dims):
            raise ValueError(f"`dims` (={self.dims}) must hold the {len(inputs[0].shape)} axes of {written(inputs[0])}")
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add("Transpose", inputs, {"perm": self.dims}, name=name, outputs=[tensor])


class Embedding(Layer):
    """Look rows of a table up by whole numbers: categories, tokens. Called on an ``nn.Input`` of integers.

    Parameters
    ----------
    num_embeddings : int
        Rows of the table.
    embedding_dim : int
        Numbers a row.
    name : str, optional

    Notes
    -----
    Explanations are of what is looked up, ``(N, ..., embedding_dim)``. The table starts with a variance of 1, and
    training it is not supported.

    Examples
    --------
    >>> from convlens import nn
    >>> tokens = nn.Input((12,), name="tokens", dtype="int64")
    >>> nn.Embedding(num_embeddings=1000, embedding_dim=8)(tokens).shape
    ('N', 12, 8)
    """

    stem = "embedding"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        2: ("num_embeddings", "embedding_dim"),
        1: ("num_embeddings",),
    }

    def __init__(self, *, num_embeddings: int, embedding_dim: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.num_embeddings = integer("num_embeddings", num_embeddings, at_least=1)
        self.embedding_dim = integer("embedding_dim", embedding_dim, at_least=1)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if inputs[0].dtype not in ("int64", "int32"):
            raise ValueError(f'Embedding needs integers, not {inputs[0]}: make nn.Input with `dtype`="int64"')
        return (ParameterSpec("weight", (self.num_embeddings, self.embedding_dim), "normal"),)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add("Gather", [parameters["weight"], inputs[0]], {"axis": 0}, name=name, outputs=[tensor])


class ChannelShuffle(_Mover):
    """Deal the channels of `groups` groups out in turn, as ShuffleNet does between grouped convolutions.

    Parameters
    ----------
    groups : int
    name : str, optional

    References
    ----------
    Zhang et al., "ShuffleNet", arXiv:1707.01083.
    """

    stem = "channel_shuffle"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("groups",)}

    def __init__(self, *, groups: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.groups = integer("groups", groups, at_least=1)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        channels, _, _ = image_of(self, inputs[0])
        if channels % self.groups:
            raise ValueError(f"`groups` (={self.groups}) must divide the {channels} channels of {written(inputs[0])}")
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        channels, height, width = builder.types[inputs[0]].per_image
        split = np.array([0, self.groups, channels // self.groups, height, width], np.int64)
        whole = np.array([0, channels, height, width], np.int64)
        parts = builder.add("Reshape", [inputs[0], builder.constant(split, f"{name}.split")], name=f"{name}.groups")
        dealt = builder.add("Transpose", [parts], {"perm": (0, 2, 1, 3, 4)}, name=f"{name}.dealt")
        builder.add("Reshape", [dealt, builder.constant(whole, f"{name}.whole")], name=name, outputs=[tensor])


class _Reduction(_Mover):
    """A number over axes of each image, `axis` counted with the batch."""

    operator: ClassVar[str]
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("axis",), 2: ("axis", "keepdims")}

    def __init__(self, *, axis: int | Sequence[int] = (2, 3), keepdims: bool = False, name: str | None = None) -> None:
        super().__init__(name=name)
        axes = axis if isinstance(axis, (list, tuple)) else (axis,)
        self.axis = tuple(integer("axis", a, at_least=-8) for a in axes)
        self.keepdims = bool(keepdims)
        if not self.axis:
            raise ValueError("`axis` (=()) must name at least one axis")

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        axes = [self._axis(a, inputs[0]) for a in self.axis]
        if len(set(axes)) != len(axes):
            raise ValueError(f"`axis` (={self.axis}) names an axis of {written(inputs[0])} twice")
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        axes = [self._axis(a, builder.types[inputs[0]]) for a in self.axis]
        reads = [inputs[0], builder.constant(np.array(axes, np.int64), f"{name}.axes")]
        builder.add(self.operator, reads, {"keepdims": int(self.keepdims)}, name=name, outputs=[tensor])


class Mean(_Reduction):
    """Take the mean over axes of each image.

    Parameters
    ----------
    axis : int or sequence of int
        Of the tensor with its batch: ``(2, 3)``, the default, are height and width.
    keepdims : bool
        Keep the axes, with size 1.
    name : str, optional
    """

    stem = "mean"
    operator = "ReduceMean"


class Sum(_Reduction):
    """Add up over axes of each image.

    Parameters
    ----------
    axis : int or sequence of int
        Of the tensor with its batch: ``(2, 3)``, the default, are height and width.
    keepdims : bool
        Keep the axes, with size 1.
    name : str, optional
    """

    stem = "sum"
    operator = "ReduceSum"


class Amax(_Reduction):
    """Take the largest number over axes of each image; of equal ones each has its share of the gradient.

    Parameters
    ----------
    axis : int or sequence of int
        Of the tensor with its batch: ``(2, 3)``, the default, are height and width.
    keepdims : bool
        Keep the axes, with size 1.
    name : str, optional
    """

    stem = "amax"
    operator = "ReduceMax"


class Amin(_Reduction):
    """Take the smallest number over axes of each image; of equal ones each has its share of the gradient.

    Parameters
    ----------
    axis : int or sequence of int
        Of the tensor with its batch: ``(2, 3)``, the default, are height and width.
    keepdims : bool
        Keep the axes, with size 1.
    name : str, optional
    """

    stem = "amin"
    operator = "ReduceMin"
