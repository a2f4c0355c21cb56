"""Layers that pool windows of images and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..graph import LENGTH, GraphBuilder, TensorType, Window, one_row, window_attributes
from ._arguments import Padding, Pair, along, pads
from ._arguments import padding as check_padding
from ._layer import Layer, ParameterSpec, image_of

Sizes = int | Sequence[int]


class _Pool(Layer):
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        1: ("kernel_size",),
        2: ("kernel_size", "stride"),
        3: ("kernel_size", "stride", "padding"),
    }
    axes: ClassVar[int]
    operator: ClassVar[str]

    def __init__(
        self,
        *,
        kernel_size: Sizes,
        stride: Sizes | None,
        padding: Padding,
        dilation: Sizes,
        ceil_mode: bool,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        self.kernel_size = along("kernel_size", kernel_size, self.axes, at_least=1)
        self.stride = self.kernel_size if stride is None else along("stride", stride, self.axes, at_least=1)
        self.padding = check_padding("padding", padding, self.axes)
        self.dilation = along("dilation", dilation, self.axes, at_least=1)
        self.ceil_mode = bool(ceil_mode)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        image_of(self, inputs[0], self.axes)
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        _, *size = image_of(self, builder.types[inputs[0]], self.axes)
        window = fit(self, (size[0], size[1]), self.kernel_size, self.stride, self.padding, self.dilation)
        for axis in range(2):
            if max(window.pads[axis], window.pads[axis + 2]) >= window.extent[axis]:
                raise ValueError(
                    f"`padding` (={self.padding!r}) must be smaller than the window (={window.extent[axis]}): a window "
                    "that lies in the padding alone has no value; pad with nn.Pad first if that is meant"
                )
        attributes = {**window_attributes(window, self.axes), "ceil_mode": int(self.ceil_mode), **self._more()}
        builder.add(self.operator, inputs, attributes, name=name, outputs=[tensor])

    def _more(self) -> Mapping[str, Any]:
        return {}


class _MaxPool(_Pool):
    stem = "max_pool"
    operator = "MaxPool"

    def __init__(
        self,
        *,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, name=name
        )


class _AvgPool(_Pool):
    stem = "avg_pool"
    operator = "AveragePool"

    def __init__(
        self,
        *,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size, stride=stride, padding=padding, dilation=1, ceil_mode=ceil_mode, name=name
        )
        self.count_include_pad = bool(count_include_pad)

    def _more(self) -> Mapping[str, Any]:
        return {"count_include_pad": int(self.count_include_pad)}


class MaxPool2d(_MaxPool):
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

    axes = 2


class MaxPool1d(_MaxPool):
    """Take the maximum of each window of signals ``(N, C, L)``; parameters as of :class:`MaxPool2d`, of one axis."""

    axes = 1


class AvgPool2d(_AvgPool):
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

    axes = 2


class AvgPool1d(_AvgPool):
    """Take the mean of each window of signals ``(N, C, L)``; parameters as of :class:`AvgPool2d`, of one axis."""

    axes = 1


def fit(
    layer: Layer, size: Pair, kernel: Sequence[int], stride: Sequence[int], value: Padding, dilation: Sequence[int]
) -> Window:
    """The window over images of `size`, its padding resolved, checked to fit at least once."""
    sizes, strides, dilations = one_row(kernel), one_row(stride), one_row(dilation)
    window = Window(sizes, strides, pads(value, size, sizes, strides, dilations), dilations)
    for axis, side in enumerate(LENGTH if len(kernel) == 1 else ("height", "width")):
        room = size[axis] + window.pads[axis] + window.pads[axis + 2]
        if window.extent[axis] > room:
            raise ValueError(
                f"{type(layer).__name__}'s `kernel_size` (={kernel}, reaching {window.extent[axis]} with its dilation) "
                f"must fit the padded input's {side} (={room}): pad more, pool less, or take a smaller kernel"
            )
    return window
