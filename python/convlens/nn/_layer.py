"""What a layer is: a description that makes one node; and the symbolic tensors it is called on."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._arguments import Check, checked, flag, whole
from ..graph import BATCH, GraphBuilder, Shape, TensorType, one_row
from ._arguments import integer

# What a layer's parameters take where it is not what those of convlens.ops take.
_CHECKS: dict[str, Check] = {"bias": flag, "step": whole(), "stop": whole()}
_order = itertools.count()


@dataclass(frozen=True)
class ParameterSpec:
    """One array a layer owns: its suffix (``weight``), shape and how it starts: a scheme or a number."""

    suffix: str
    shape: tuple[int, ...]
    scheme: str | float


class Tensor:
    """The symbolic result of a layer (or of :func:`Input`) while a network is described.

    ``shape`` is the shape with the batch as ``"N"``. Call layers on it, combine two with ``+ - * /``, and hand the ends
    to :class:`convlens.nn.Network`.
    """

    def __init__(self, kind: TensorType, layer: Layer | None, inputs: tuple[Tensor, ...], name: str | None) -> None:
        self.type = kind
        self.layer = layer
        self.inputs = inputs
        self.name = name
        # Creation order is a topological order, and the one in which layers are numbered.
        self.order = next(_order)

    @property
    def shape(self) -> Shape:
        """Shape with the symbolic batch ``"N"`` first."""
        return self.type.shape

    def __add__(self, other: Tensor) -> Tensor:
        from ._layers import Add

        return Add()(self, other)

    def __sub__(self, other: Tensor) -> Tensor:
        from ._layers import Sub

        return Sub()(self, other)

    def __mul__(self, other: Tensor) -> Tensor:
        from ._layers import Mul

        return Mul()(self, other)

    def __truediv__(self, other: Tensor) -> Tensor:
        from ._layers import Div

        return Div()(self, other)

    def __repr__(self) -> str:
        origin = "input" if self.layer is None else type(self.layer).__name__
        return f"Tensor({', '.join(map(str, self.shape))}) from {origin}"


def Input(shape: Sequence[int], *, name: str = "images", dtype: str = "float32") -> Tensor:
    """Begin a network described by calls.

    Parameters
    ----------
    shape : sequence of int
        Shape of one image, ``(C, H, W)``, without the batch.
    name : str
        Name of the input tensor.
    dtype : {"float32", "int64", "int32"}
        Integers are categories or tokens, for :class:`convlens.nn.Embedding`. Floating-point inputs follow the network
        (``net.astype``).

    Returns
    -------
    Tensor

    Examples
    --------
    >>> from convlens import nn
    >>> x = nn.Input((3, 32, 32))
    >>> a = nn.Conv2d(out_channels=8, kernel_size=3, padding="same", name="a")(x)
    >>> b = nn.Conv2d(out_channels=8, kernel_size=3, padding="same", name="b")(nn.ReLU()(a))
    >>> net = nn.Network(inputs=x, outputs=nn.Add()(a, b), seed=0)
    """
    if not isinstance(shape, (list, tuple)) or not shape:
        raise TypeError(f"`shape` (={shape!r}) must be the shape of one image, such as (1, 28, 28), without the batch")
    if dtype not in ("float32", "int64", "int32"):
        raise ValueError(f"`dtype` (={dtype!r}) must be 'float32', 'int64' or 'int32'")
    sizes = tuple(integer("shape", size, at_least=1) for size in shape)
    return Tensor(TensorType(dtype, (BATCH, *sizes)), None, (), name)


class Layer(ABC):
    """Describes one node and the parameters it owns; calling it on a tensor applies it.

    A layer object called twice is one layer used twice: both nodes read the same parameters.
    """

    stem: ClassVar[str]
    arity: ClassVar[int] = 1
    #: Whether it takes any number of tensors.
    variadic: ClassVar[bool] = False
    #: What positional arguments were meant to be, by their number; the first is also the fallback.
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__, _CHECKS)  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        if args:
            raise TypeError(f"{cls.__name__} takes its sizes by keyword: write {cls._keyword_form(args, kwargs)}")
        return super().__new__(cls)

    def __init__(self, *, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(f"`name` (={name!r}) must be a non-empty str")
        self.name = name

    @abstractmethod
    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        """The arrays this layer owns when applied to tensors of these types; raises where it can't be."""

    @abstractmethod
    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        """Append the node `name`, whose result is `tensor`; `parameters` maps suffixes to tensors."""

    def __call__(self, *tensors: Tensor) -> Tensor:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"{type(self).__name__} is called on the tensors of nn.Input and other layers, not on "
                    f"{type(tensor).__name__}: to run arrays, build an nn.Sequential or nn.Network and call that"
                )
        if not tensors or (len(tensors) != self.arity and not self.variadic):
            takes = "at least one tensor" if self.variadic else f"{self.arity} tensor(s)"
            raise TypeError(f"{type(self).__name__} takes {takes}, not {len(tensors)}")
        return Tensor(self._result([tensor.type for tensor in tensors]), self, tensors, self.name)

    def __repr__(self) -> str:
        fields = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if value is not None)
        return f"{type(self).__name__}({fields})"

    def _result(self, kinds: Sequence[TensorType]) -> TensorType:
        """The type of the result, from the same shape inference the network will use."""
        builder = GraphBuilder()
        inputs = [builder.input(f"input{i}", kind.dtype, kind.shape) for i, kind in enumerate(kinds)]
        owned = {}
        for spec in self.parameters(kinds):
            dtype = kinds[0].dtype if kinds[0].dtype.startswith("float") else "float32"
            zero = np.broadcast_to(np.zeros((), dtype), spec.shape)
            owned[spec.suffix] = builder.constant(zero, spec.suffix)
        self.emit(builder, inputs, owned, "layer", "result")
        return builder.types["result"]

    @classmethod
    def _keyword_form(cls, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        names: Sequence[str] = cls.positions.get(len(args), next(iter(cls.positions.values()), ()))
        given = dict(zip(names, args, strict=False))
        given.pop("in_channels", None)  # inferred, so the form to copy does without
        given.pop("in_features", None)
        for name in next(iter(cls.positions.values()), ()):
            given.setdefault(name, kwargs.get(name, ...))
        given.update(kwargs)
        words = [f"{key}={'...' if value is ... else repr(value)}" for key, value in given.items()]
        return f"{cls.__name__}({', '.join(words)})"


def image_of(layer: Layer, kind: TensorType, axes: int = 2) -> tuple[int, int, int]:
    """(C, H, W) of a batch of images, (C, 1, L) of signals (1 axis), or an error that says what the layer got."""
    if len(kind.shape) != 2 + axes:
        what, one = ("images of shape (N, C, H, W)", "(C, H, W)") if axes == 2 else ("signals (N, C, L)", "(C, L)")
        raise ValueError(
            f"{type(layer).__name__} needs {what}, not {written(kind)}: "
            f"put it before Flatten, or reshape with nn.Reshape(shape={one})"
        )
    channels, *size = kind.per_image
    return (channels, *one_row(size))


def written(kind: TensorType) -> str:
    return f"({', '.join(map(str, kind.shape))})"
