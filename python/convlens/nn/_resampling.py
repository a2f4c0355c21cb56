"""Layers with a given output size: global and adaptive pools, upsampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..graph import GraphBuilder, TensorType
from ..transform import expand_adaptive_pool, resize_plan
from ._arguments import along
from ._layer import Layer, ParameterSpec, image_of, written
from ._windows import Sizes


class _Adaptive(Layer):
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("output_size",)}
    axes: ClassVar[int]
    maximum: ClassVar[bool]

    def __init__(self, *, output_size: Sizes, name: str | None = None) -> None:
        super().__init__(name=name)
        self.output_size = along("output_size", output_size, self.axes, at_least=1)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        image_of(self, inputs[0], self.axes)
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        expand_adaptive_pool(builder, inputs[0], self.output_size, maximum=self.maximum, name=name, tensor=tensor)


class AdaptiveAvgPool2d(_Adaptive):
    """Take the mean of as many windows as asked for, which cover the image.

    Parameters
    ----------
    output_size : int or (height, width)
        Window i of o over H rows is ``floor(i H / o)`` to ``ceil((i + 1) H / o)``, the end not included, as in PyTorch.
    name : str, optional

    Examples
    --------
    >>> from convlens import nn
    >>> nn.AdaptiveAvgPool2d(output_size=(3, 4))(nn.Input((16, 7, 9))).shape
    ('N', 16, 3, 4)
    """

    stem = "adaptive_avg_pool"
    axes = 2
    maximum = False


class AdaptiveMaxPool2d(_Adaptive):
    """Take the maximum of as many windows as asked for; parameters as of :class:`AdaptiveAvgPool2d`."""

    stem = "adaptive_max_pool"
    axes = 2
    maximum = True


class AdaptiveAvgPool1d(_Adaptive):
    """Take the mean of `output_size` windows that cover signals ``(N, C, L)``; see :class:`AdaptiveAvgPool2d`."""

    stem = "adaptive_avg_pool"
    axes = 1
    maximum = False


class AdaptiveMaxPool1d(_Adaptive):
    """Take the maximum of `output_size` windows that cover signals ``(N, C, L)``; see :class:`AdaptiveAvgPool2d`."""

    stem = "adaptive_max_pool"
    axes = 1
    maximum = True


class _Global(Layer):
    axes: ClassVar[int]
    operator: ClassVar[str]

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        image_of(self, inputs[0], self.axes)
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        builder.add(self.operator, inputs, name=name, outputs=[tensor])


class GlobalAvgPool2d(_Global):
    """Take the mean over height and width; the result is ``(N, C, 1, 1)``."""

    stem = "global_pool"
    axes = 2
    operator = "GlobalAveragePool"


class GlobalMaxPool2d(_Global):
    """Take the maximum over height and width; the result is ``(N, C, 1, 1)``, a tie goes to the first."""

    stem = "global_max_pool"
    axes = 2
    operator = "GlobalMaxPool"


class GlobalAvgPool1d(_Global):
    """Take the mean over the length of signals; the result is ``(N, C, 1)``."""

    stem = "global_pool"
    axes = 1
    operator = "GlobalAveragePool"


class GlobalMaxPool1d(_Global):
    """Take the maximum over the length of signals; the result is ``(N, C, 1)``, a tie goes to the first."""

    stem = "global_max_pool"
    axes = 1
    operator = "GlobalMaxPool"


class Upsample(Layer):
    """Resize images or signals, as :func:`convlens.ops.interpolate`.

    Parameters
    ----------
    size : int or one for each axis, optional
    scale_factor : float or one for each axis, optional
        Instead of `size`.
    mode : {"nearest", "nearest-exact", "bilinear", "bicubic", "linear", "area"}
    align_corners : bool
    name : str, optional

    Examples
    --------
    >>> from convlens import nn
    >>> nn.Upsample(scale_factor=2, mode="bilinear")(nn.Input((16, 7, 9))).shape
    ('N', 16, 14, 18)
    """

    stem = "upsample"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {
        1: ("size",),
        2: ("size", "scale_factor"),
        3: ("size", "scale_factor", "mode"),
    }

    def __init__(
        self,
        *,
        size: Sizes | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if (size is None) == (scale_factor is None):
            raise ValueError("one of `size` and `scale_factor` must be given, and not both")
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = bool(align_corners)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if len(inputs[0].shape) not in (3, 4):
            raise ValueError(f"Upsample needs images (N, C, H, W) or signals (N, C, L), not {written(inputs[0])}")
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        sizes = builder.types[inputs[0]].per_image[1:]
        plan = resize_plan(sizes, self.size, self.scale_factor, self.mode, self.align_corners)
        plan.emit(builder, inputs[0], name, tensor)
