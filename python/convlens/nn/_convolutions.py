"""Convolutions of images and signals, plain and transposed, with learned kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..graph import GraphBuilder, TensorType, Window, one_row, transpose, window_attributes
from ._arguments import Padding, along, explicit_ends, explicit_pads, integer
from ._arguments import padding as check_padding
from ._initialise import check_scheme
from ._layer import Layer, ParameterSpec, image_of, written
from ._windows import Sizes, fit


class _Convolution(Layer):
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        2: ("out_channels", "kernel_size"),
        1: ("out_channels",),
        3: ("in_channels", "out_channels", "kernel_size"),
        4: ("in_channels", "out_channels", "kernel_size", "stride"),
        5: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    }
    axes: ClassVar[int]

    def __init__(
        self,
        *,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
        in_channels: int | None,
        init: str,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        self.out_channels = integer("out_channels", out_channels, at_least=1)
        self.kernel_size = along("kernel_size", kernel_size, self.axes, at_least=1)
        self.stride = along("stride", stride, self.axes, at_least=1)
        self.dilation = along("dilation", dilation, self.axes, at_least=1)
        self.groups = integer("groups", groups, at_least=1)
        self.bias = bool(bias)
        self.in_channels = in_channels
        self.init = check_scheme("init", init)
        if self.out_channels % self.groups:
            raise ValueError(f"`out_channels` (={out_channels}) must be divisible by `groups` (={groups})")

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        channels, _, _ = image_of(self, inputs[0], self.axes)
        if self.in_channels not in (None, channels):
            raise ValueError(
                f"`in_channels` (={self.in_channels}) must equal the input's channels (={channels}): leave it out, "
                "it is inferred"
            )
        if channels % self.groups:
            raise ValueError(f"the input's channels (={channels}) must be divisible by `groups` (={self.groups})")
        weight = ParameterSpec("weight", (*self._filters(channels), *self.kernel_size), self.init)
        return (weight, ParameterSpec("bias", (self.out_channels,), "zeros")) if self.bias else (weight,)

    def _filters(self, channels: int) -> tuple[int, int]:
        return self.out_channels, channels // self.groups


class _Conv(_Convolution):
    stem = "conv"

    def __init__(
        self,
        *,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        in_channels: int | None = None,
        init: str = "kaiming_uniform",
        name: str | None = None,
    ) -> None:
        super().__init__(
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            in_channels=in_channels,
            init=init,
            name=name,
        )
        self.padding = check_padding("padding", padding, self.axes)

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        _, *size = image_of(self, builder.types[inputs[0]], self.axes)
        window = fit(self, (size[0], size[1]), self.kernel_size, self.stride, self.padding, self.dilation)
        attributes = {**window_attributes(window, self.axes), "group": self.groups}
        builder.add("Conv", [inputs[0], *parameters.values()], attributes, name=name, outputs=[tensor])


class _ConvTranspose(_Convolution):
    stem = "conv_transpose"

    def __init__(
        self,
        *,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: int | Sequence[int] | Sequence[Sequence[int]] = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        in_channels: int | None = None,
        init: str = "kaiming_uniform",
        name: str | None = None,
    ) -> None:
        super().__init__(
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            in_channels=in_channels,
            init=init,
            name=name,
        )
        if isinstance(padding, str):
            raise ValueError(
                f"`padding` (={padding!r}) must be numbers: the rows and columns cut off what the windows cover"
            )
        ends = explicit_ends("padding", padding) if self.axes == 1 else padding
        self.padding = explicit_pads("padding", ends)
        self.output_padding = along("output_padding", output_padding, self.axes, at_least=0)

    def _filters(self, channels: int) -> tuple[int, int]:
        return channels, self.out_channels // self.groups

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        kind = builder.types[inputs[0]]
        _, *size = image_of(self, kind, self.axes)
        window = Window(one_row(self.kernel_size), one_row(self.stride), self.padding, one_row(self.dilation))
        try:
            transpose(window, (size[0], size[1]), one_row(self.output_padding, 0))
        except ValueError as error:
            text = str(error).replace("`strides`", "`stride`").replace("`pads`", "`padding`")
            raise ValueError(f"{type(self).__name__} on {written(kind)}: {text}") from None
        attributes = {**window_attributes(window, self.axes), "group": self.groups}
        attributes["output_padding"] = self.output_padding
        builder.add("ConvTranspose", [inputs[0], *parameters.values()], attributes, name=name, outputs=[tensor])


class Conv2d(_Conv):
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

    axes = 2


class Conv1d(_Conv):
    """Convolve signals ``(N, C, L)`` with learned kernels; parameters as of :class:`Conv2d`, of one axis.

    `padding` is an int, (left, right), "same" or "valid"; ``name.weight`` has the shape (K, C / groups, S).

    Examples
    --------
    >>> from convlens import nn
    >>> nn.Conv1d(out_channels=8, kernel_size=5, stride=2, padding=2)(nn.Input((3, 100))).shape
    ('N', 8, 50)
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """Spread each pixel over a window, by learned kernels: what makes images larger.

    Parameters
    ----------
    out_channels : int
        Number of channels K of the result.
    kernel_size, stride, dilation : int or (height, width)
        A stride of 2 doubles the size.
    padding : int, (height, width), ((top, bottom), (left, right)) or (top, left, bottom, right)
        Rows and columns cut off the result.
    output_padding : int or (height, width)
        Rows and columns added at the bottom and right; each less than the stride plus the padding there.
    groups, bias, in_channels, init
        As of :class:`Conv2d`.
    name : str, optional
        ``name.weight`` (C, K / groups, R, S) and ``name.bias`` (K,) are its parameters.

    Notes
    -----
    The result has ``(H - 1) stride + dilation (R - 1) + 1 + output_padding - top - bottom`` rows.

    Examples
    --------
    >>> from convlens import nn
    >>> nn.ConvTranspose2d(out_channels=8, kernel_size=2, stride=2)(nn.Input((16, 10, 7))).shape
    ('N', 8, 20, 14)
    """

    axes = 2


class ConvTranspose1d(_ConvTranspose):
    """Spread each place of signals ``(N, C, L)`` over a window; parameters as of :class:`ConvTranspose2d`, of one axis.

    `padding` is an int or (left, right); ``name.weight`` has the shape (C, K / groups, S).
    """

    axes = 1
