"""Layers that slide a window over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..graph import GraphBuilder, TensorType
from ._arguments import Padding, Pair, integer, padding, pads, pair
from ._initialise import check_scheme
from ._layer import Layer, ParameterSpec, image_of


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
        channels, _, _ = image_of(self, inputs[0])
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
        _, *size = image_of(self, builder.types[inputs[0]])
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
        image_of(self, inputs[0])
        return ()

    def _emit(self, op: str, builder: GraphBuilder, x: str, name: str, tensor: str, extra: Mapping[str, Any]) -> None:
        _, *size = image_of(self, builder.types[x])
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
