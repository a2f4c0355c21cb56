"""The other layers: element-wise, reshaping, dense, normalising."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..graph import GraphBuilder, TensorType
from ._arguments import explicit_pads, integer
from ._initialise import check_scheme
from ._layer import Layer, ParameterSpec, image_of, written


class _Plain(Layer):
    """A layer without parameters or attributes: one operator, its input as it comes."""

    operator: ClassVar[str]

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add(self.operator, inputs, self._attributes(), name=name, outputs=[tensor])

    def _attributes(self) -> Mapping[str, Any]:
        return {}


class ReLU(_Plain):
    """Set what is negative to zero. Its gradient at 0 is 0."""

    stem = "relu"
    operator = "Relu"


class Sigmoid(_Plain):
    """Apply ``1 / (1 + exp(-x))``."""

    stem = "sigmoid"
    operator = "Sigmoid"


class Tanh(_Plain):
    """Apply the hyperbolic tangent."""

    stem = "tanh"
    operator = "Tanh"


class Exp(_Plain):
    """Apply ``exp(x)``."""

    stem = "exp"
    operator = "Exp"


class Log(_Plain):
    """Apply the natural logarithm."""

    stem = "log"
    operator = "Log"


class Sqrt(_Plain):
    """Apply the square root."""

    stem = "sqrt"
    operator = "Sqrt"


class Abs(_Plain):
    """Apply ``|x|``."""

    stem = "abs"
    operator = "Abs"


class Softmax(_Plain):
    """Turn logits into probabilities over axis 1, the classes or channels.

    Training and explaining use the tensor before it.
    """

    stem = "softmax"
    operator = "Softmax"

    def _attributes(self) -> Mapping[str, Any]:
        return {"axis": 1}


class LogSoftmax(Softmax):
    """Turn logits into log-probabilities over axis 1, the classes or channels."""

    stem = "log_softmax"
    operator = "LogSoftmax"


class Flatten(_Plain):
    """Join channels, height and width: ``(N, C, H, W)`` becomes ``(N, C * H * W)``."""

    stem = "flatten"
    operator = "Flatten"

    def _attributes(self) -> Mapping[str, Any]:
        return {"axis": 1}


class Add(_Plain):
    """Add two tensors, as a residual branch does; ``a + b`` is short for it."""

    stem = "add"
    operator = "Add"
    arity = 2

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if inputs[0].shape != inputs[1].shape:
            raise ValueError(
                f"Add needs two tensors of one shape, not {written(inputs[0])} and {written(inputs[1])}: match "
                "channels with a 1x1 Conv2d, sizes with its stride"
            )
        return ()


class _Binary(_Plain):
    """Two tensors by NumPy's broadcasting: a gate (N, C, 1, 1) meets images (N, C, H, W)."""

    arity = 2


class Sub(_Binary):
    """Subtract the second tensor from the first; ``a - b`` is short for it."""

    stem = "sub"
    operator = "Sub"


class Mul(_Binary):
    """Multiply two tensors, as a gate does; ``a * b`` is short for it. Sizes of 1 broadcast."""

    stem = "mul"
    operator = "Mul"


class Div(_Binary):
    """Divide the first tensor by the second; ``a / b`` is short for it. Sizes of 1 broadcast."""

    stem = "div"
    operator = "Div"


class Pow(_Binary):
    """Raise the first tensor to the power of the second. Sizes of 1 broadcast."""

    stem = "pow"
    operator = "Pow"


class Maximum(_Binary):
    """Take the larger of two tensors, element by element. Sizes of 1 broadcast."""

    stem = "maximum"
    operator = "Max"


class Minimum(_Binary):
    """Take the smaller of two tensors, element by element. Sizes of 1 broadcast."""

    stem = "minimum"
    operator = "Min"


class Reshape(Layer):
    """Give each image another shape of as many elements.

    Parameters
    ----------
    shape : sequence of int
        Shape of one image, such as ``(32, 7, 7)``; one size may be -1.
    name : str, optional
    """

    stem = "reshape"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("shape",)}

    def __init__(self, *, shape: Sequence[int], name: str | None = None) -> None:
        super().__init__(name=name)
        if not isinstance(shape, (list, tuple)) or not shape:
            raise TypeError(f"`shape` (={shape!r}) must be the shape of one image, such as (32, 7, 7)")
        self.shape = tuple(integer("shape", size, at_least=-1) for size in shape)
        if self.shape.count(-1) > 1 or 0 in self.shape:
            raise ValueError(f"`shape` (={shape!r}) must be positive sizes, at most one of them -1")

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        elements = int(np.prod(inputs[0].per_image))
        known = int(np.prod([size for size in self.shape if size > 0]))
        if elements % known or (-1 not in self.shape and elements != known):
            raise ValueError(
                f"`shape` (={self.shape}) must hold the {elements} elements of an input {written(inputs[0])}"
            )
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        shape = builder.constant(np.array([0, *self.shape], np.int64), f"{name}.shape")
        builder.add("Reshape", [inputs[0], shape], name=name, outputs=[tensor])


class Pad(Layer):
    """Surround images with a constant.

    Parameters
    ----------
    padding : as :class:`Conv2d`, in numbers
    value : float
    name : str, optional
    """

    stem = "pad"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("padding",), 2: ("padding", "value")}

    def __init__(self, *, padding: int | Sequence[Any], value: float = 0.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self.padding = explicit_pads("padding", padding)
        self.value = float(value)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        image_of(self, inputs[0])
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        top, left, bottom, right = self.padding
        sides = builder.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), f"{name}.pads")
        reads = [inputs[0], sides]
        if self.value:
            reads.append(builder.constant(np.array(self.value, builder.types[inputs[0]].dtype), f"{name}.value"))
        builder.add("Pad", reads, {"mode": "constant"}, name=name, outputs=[tensor])


class ZeroPad2d(Pad):
    """Surround images with zeros.

    Parameters
    ----------
    padding : as :class:`Conv2d`, in numbers
    name : str, optional
    """

    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("padding",)}

    def __init__(self, *, padding: int | Sequence[Any], name: str | None = None) -> None:
        super().__init__(padding=padding, name=name)


class Linear(Layer):
    """Multiply each image's features with a learned matrix.

    Parameters
    ----------
    out_features : int
    bias : bool
    in_features : int, optional
        Inferred; given, it is checked.
    init : str
        ``glorot_uniform`` (default) or another scheme of :class:`Conv2d`; biases start at 0.
    name : str, optional
        Name of the node and its tensor; ``name.weight`` (out_features, in_features) and ``name.bias`` (out_features,)
        are its parameters.
    """

    stem = "linear"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        1: ("out_features",),
        2: ("in_features", "out_features"),
        3: ("in_features", "out_features", "bias"),
    }

    def __init__(
        self,
        *,
        out_features: int,
        bias: bool = True,
        in_features: int | None = None,
        init: str = "glorot_uniform",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.out_features = integer("out_features", out_features, at_least=1)
        self.bias = bool(bias)
        self.in_features = in_features
        self.init = check_scheme("init", init)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if len(inputs[0].shape) != 2:
            raise ValueError(
                f"Linear needs features of shape (N, F), not {written(inputs[0])}: put Flatten() before it"
            )
        (features,) = inputs[0].per_image
        if self.in_features not in (None, features):
            raise ValueError(
                f"`in_features` (={self.in_features}) must equal the input's features (={features}): leave it out, it "
                "is inferred"
            )
        weight = ParameterSpec("weight", (self.out_features, features), self.init)
        return (weight, ParameterSpec("bias", (self.out_features,), "zeros")) if self.bias else (weight,)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add("Gemm", [inputs[0], *parameters.values()], {"transB": 1}, name=name, outputs=[tensor])


class _BatchNorm(Layer):
    stem = "batch_norm"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: (), 2: ("num_features", "eps")}

    def __init__(self, *, eps: float = 1e-5, momentum: float = 0.1, name: str | None = None) -> None:
        super().__init__(name=name)
        if not eps > 0:
            raise ValueError(f"`eps` (={eps}) must be above 0")
        if not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` (={momentum}) must lie between 0 and 1")
        self.eps = float(eps)
        self.momentum = float(momentum)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        self._check(inputs[0])
        channels = inputs[0].per_image[0]
        schemes = {"weight": "ones", "bias": "zeros", "running_mean": "zeros", "running_var": "ones"}
        return tuple(ParameterSpec(suffix, (channels,), scheme) for suffix, scheme in schemes.items())

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        # ONNX's momentum is the share that stays; it matters in training alone.
        attributes = {"epsilon": self.eps, "momentum": 1.0 - self.momentum}
        builder.add("BatchNormalization", [inputs[0], *parameters.values()], attributes, name=name, outputs=[tensor])

    @abstractmethod
    def _check(self, kind: TensorType) -> None:
        """Raise where the input's axes are not the layer's."""


class BatchNorm2d(_BatchNorm):
    """Normalise each channel, by running statistics in inference and by the batch's in training.

    Parameters
    ----------
    eps : float
        Added to the variance.
    momentum : float
        Share of the batch in the running statistics: ``running = (1 - momentum) * running + momentum * batch``, with
        the unbiased variance, as PyTorch has it.
    name : str, optional
        ``name.weight`` and ``name.bias`` are learned, ``name.running_mean`` and ``name.running_var`` are followed; all
        of shape (C,).

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167.
    """

    def _check(self, kind: TensorType) -> None:
        image_of(self, kind)


class BatchNorm1d(_BatchNorm):
    """Normalise each channel of signals ``(N, C, L)`` or features ``(N, C)``; parameters as of :class:`BatchNorm2d`."""

    def _check(self, kind: TensorType) -> None:
        if len(kind.shape) not in (2, 3):
            raise ValueError(
                f"BatchNorm1d needs signals (N, C, L) or features (N, C), not {written(kind)}: use BatchNorm2d"
            )
