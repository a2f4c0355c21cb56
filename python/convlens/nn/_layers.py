"""The layers. Sizes are given by keyword; input channels are inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..graph import GraphBuilder, TensorType
from ._arguments import Padding, Pair, explicit_pads, integer, padding, pads, pair
from ._initialise import check_scheme
from ._layer import Layer, ParameterSpec


def _image(layer: Layer, kind: TensorType) -> tuple[int, int, int]:
    """(C, H, W) of a batch of images, or an error that says what the layer got."""
    if len(kind.shape) != 4:
        raise ValueError(
            f"{type(layer).__name__} needs images of shape (N, C, H, W), not {_shape(kind)}: "
            "put it before Flatten, or reshape with nn.Reshape(shape=(C, H, W))"
        )
    channels, height, width = kind.per_image
    return channels, height, width


def _shape(kind: TensorType) -> str:
    return f"({', '.join(map(str, kind.shape))})"


class Conv2d(Layer):
    """Convolve images with learned kernels (cross-correlation, as in every framework).

    Parameters
    ----------
    out_channels : int
        Number of kernels K.
    kernel_size, stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), (top, left, bottom, right), "same" or "valid"
        "same" gives ``ceil(size / stride)`` rows and columns, an odd row or column going to the bottom or right.
    groups : int
        Input and output channels are split into this many groups; ``groups=in_channels`` is depthwise.
    bias : bool
    in_channels : int, optional
        Inferred; given, it is checked.
    init : str
        ``kaiming_uniform`` (default), ``kaiming_normal``, ``glorot_uniform`` or ``glorot_normal``; biases start at 0.
    name : str, optional
        Name of the node and its tensor; ``name.weight`` (K, C / groups, R, S) and ``name.bias`` (K,) are its
        parameters.

    Examples
    --------
    >>> from convlens import nn
    >>> nn.Conv2d(out_channels=8, kernel_size=3, padding="same")(nn.Input((3, 32, 20))).shape
    ('N', 8, 32, 20)
    """

    stem = "conv"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        2: ("out_channels", "kernel_size"),
        1: ("out_channels",),
        3: ("in_channels", "out_channels", "kernel_size"),
        4: ("in_channels", "out_channels", "kernel_size", "stride"),
        5: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    }

    def __init__(
        self,
        *,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        in_channels: int | None = None,
        init: str = "kaiming_uniform",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.out_channels = integer("out_channels", out_channels, at_least=1)
        self.kernel_size = pair("kernel_size", kernel_size, at_least=1)
        self.stride = pair("stride", stride, at_least=1)
        self.padding = _padding(padding)
        self.dilation = pair("dilation", dilation, at_least=1)
        self.groups = integer("groups", groups, at_least=1)
        self.bias = bool(bias)
        self.in_channels = in_channels
        self.init = check_scheme("init", init)
        if self.out_channels % self.groups:
            raise ValueError(f"`out_channels` (={out_channels}) must be divisible by `groups` (={groups})")

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        channels, _, _ = _image(self, inputs[0])
        if self.in_channels not in (None, channels):
            raise ValueError(
                f"`in_channels` (={self.in_channels}) must equal the input's channels (={channels}): leave it out, "
                "it is inferred"
            )
        if channels % self.groups:
            raise ValueError(f"the input's channels (={channels}) must be divisible by `groups` (={self.groups})")
        weight = ParameterSpec("weight", (self.out_channels, channels // self.groups, *self.kernel_size), self.init)
        return (weight, ParameterSpec("bias", (self.out_channels,), "zeros")) if self.bias else (weight,)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        _, *size = _image(self, builder.types[inputs[0]])
        sides = _fit(self, (size[0], size[1]), self.kernel_size, self.stride, self.padding, self.dilation)
        builder.add(
            "Conv",
            [inputs[0], *parameters.values()],
            {
                "kernel_shape": self.kernel_size,
                "strides": self.stride,
                "pads": sides,
                "dilations": self.dilation,
                "group": self.groups,
            },
            name=name,
            outputs=[tensor],
        )


class _Pool(Layer):
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        1: ("kernel_size",),
        2: ("kernel_size", "stride"),
        3: ("kernel_size", "stride", "padding"),
    }
    kernel_size: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    ceil_mode: bool

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        _image(self, inputs[0])
        return ()

    def _emit(self, op: str, builder: GraphBuilder, x: str, name: str, tensor: str, extra: Mapping[str, Any]) -> None:
        _, *size = _image(self, builder.types[x])
        sides = _fit(self, (size[0], size[1]), self.kernel_size, self.stride, self.padding, self.dilation)
        for axis, (before, after) in enumerate(((sides[0], sides[2]), (sides[1], sides[3]))):
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            if max(before, after) >= reach:
                raise ValueError(
                    f"`padding` (={self.padding!r}) must be smaller than the window (={reach}): a window that lies in "
                    "the padding alone has no value; pad with nn.Pad first if that is meant"
                )
        attributes = {
            "kernel_shape": self.kernel_size,
            "strides": self.stride,
            "pads": sides,
            "dilations": self.dilation,
            "ceil_mode": int(self.ceil_mode),
            **extra,
        }
        builder.add(op, [x], attributes, name=name, outputs=[tensor])


class MaxPool2d(_Pool):
    """Take the maximum of each window; a tie goes to its first element.

    Parameters
    ----------
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        Default `kernel_size`.
    padding : as :class:`Conv2d`
        Never wins: the window is clipped.
    dilation : int or (height, width)
    ceil_mode : bool
        Keep the last, incomplete window.
    name : str, optional
    """

    stem = "max_pool"

    def __init__(
        self,
        *,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.kernel_size = pair("kernel_size", kernel_size, at_least=1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, at_least=1)
        self.padding = _padding(padding)
        self.dilation = pair("dilation", dilation, at_least=1)
        self.ceil_mode = bool(ceil_mode)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        self._emit("MaxPool", builder, inputs[0], name, tensor, {})


class AvgPool2d(_Pool):
    """Take the mean of each window.

    Parameters
    ----------
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        Default `kernel_size`.
    padding : as :class:`Conv2d`
    ceil_mode : bool
        Keep the last, incomplete window.
    count_include_pad : bool
        Whether the zeros of the padding count in the mean (PyTorch's default).
    name : str, optional
    """

    stem = "avg_pool"

    def __init__(
        self,
        *,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.kernel_size = pair("kernel_size", kernel_size, at_least=1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, at_least=1)
        self.padding = _padding(padding)
        self.dilation = (1, 1)
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        extra = {"count_include_pad": int(self.count_include_pad)}
        self._emit("AveragePool", builder, inputs[0], name, tensor, extra)


class _Plain(Layer):
    """A layer without parameters or attributes: one operator, its input as it comes."""

    operator: ClassVar[str]
    images_only: ClassVar[bool] = False

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if self.images_only:
            _image(self, inputs[0])
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add(self.operator, inputs, self._attributes(), name=name, outputs=[tensor])

    def _attributes(self) -> Mapping[str, Any]:
        return {}


class GlobalAvgPool2d(_Plain):
    """Take the mean over height and width; the result is ``(N, C, 1, 1)``."""

    stem = "global_pool"
    operator = "GlobalAveragePool"
    images_only = True


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
                f"Add needs two tensors of one shape, not {_shape(inputs[0])} and {_shape(inputs[1])}: match channels "
                "with a 1x1 Conv2d, sizes with its stride"
            )
        return ()


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
                f"`shape` (={self.shape}) must hold the {elements} elements of an input {_shape(inputs[0])}"
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
        _image(self, inputs[0])
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
            raise ValueError(f"Linear needs features of shape (N, F), not {_shape(inputs[0])}: put Flatten() before it")
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


class BatchNorm2d(Layer):
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
        channels, _, _ = _image(self, inputs[0])
        schemes = {"weight": "ones", "bias": "zeros", "running_mean": "zeros", "running_var": "ones"}
        return tuple(ParameterSpec(suffix, (channels,), scheme) for suffix, scheme in schemes.items())

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        # ONNX's momentum is the share that stays; it matters in training alone.
        attributes = {"epsilon": self.eps, "momentum": 1.0 - self.momentum}
        builder.add("BatchNormalization", [inputs[0], *parameters.values()], attributes, name=name, outputs=[tensor])


def _padding(value: Padding) -> Padding:
    return padding("padding", value)


def _fit(
    layer: Layer, size: Pair, kernel: Pair, stride: Pair, value: Padding, dilation: Pair
) -> tuple[int, int, int, int]:
    """Resolve the padding and check that at least one window fits."""
    sides = pads(value, size, kernel, stride, dilation)
    for axis, side in enumerate(("height", "width")):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        room = size[axis] + sides[axis] + sides[axis + 2]
        if reach > room:
            raise ValueError(
                f"{type(layer).__name__}'s `kernel_size` (={kernel}, reaching {reach} with its dilation) must fit the "
                f"padded input's {side} (={room}): pad more, pool less, or take a smaller kernel"
            )
    return sides
