"""Operators whose windows slide: convolutions, pools, normalisation across channels; resampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import UnsupportedError
from ._batch import Batch
from ._quantised import on_values
from ._registry import handles
from ._site import Site

_LARGEST = 1 << 24  # of a kernel, stride, padding or dilation


def _window(site: Site, kernel: list[int] | None, *, pads: bool = True) -> dict[str, Any]:
    """The attributes of a sliding window; ``auto_pad`` becomes pads."""
    sizes = site.sizes(0)[1:]
    if len(sizes) not in (1, 2):
        raise UnsupportedError(f"its input has {len(sizes)} axes behind the channels; supported: 1 (signals) and 2")
    kernel = site.ints("kernel_shape") or kernel
    if kernel is None:
        raise ValueError("`kernel_shape` is missing")
    axes = len(kernel)
    found = {
        "kernel_shape": kernel,
        "strides": site.ints("strides") or [1] * axes,
        "dilations": site.ints("dilations") or [1] * axes,
    }
    if pads:
        found["pads"] = _pads(site, sizes, found)
    for name, values in found.items():
        if max(values, default=0) > _LARGEST:
            raise UnsupportedError(f"`{name}` (={values}) must be at most {_LARGEST}")
    return {name: tuple(values) for name, values in found.items()}


def _pads(site: Site, sizes: tuple[int, ...], window: dict[str, list[int]]) -> list[int]:
    how = site.attribute("auto_pad", "NOTSET")
    if how == "NOTSET":
        return site.ints("pads") or [0] * (2 * len(sizes))
    if how == "VALID":
        return [0] * (2 * len(sizes))
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"`auto_pad` (={how!r}) must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    if min(window["strides"]) < 1:
        raise ValueError(f"`strides` (={window['strides']}) must be at least 1")
    keys = ("kernel_shape", "strides", "dilations")
    before, after = [], []
    for size, kernel, stride, dilation in zip(sizes, *(window[key] for key in keys), strict=True):
        total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        before.append(less if how == "SAME_UPPER" else more)
        after.append(more if how == "SAME_UPPER" else less)
    return before + after


def _kernel_of_weight(site: Site) -> list[int]:
    if site.type(1).batched:
        raise UnsupportedError(f"its weight {site.inputs[1]!r} is given for each image; supported: weights of the file")
    return [int(size) for size in site.shape(1)[2:]]


@handles("Conv")
def _conv(site: Site) -> str:
    window = _window(site, _kernel_of_weight(site))
    inputs = [site.tensor(i) for i in range(len(site.inputs))]
    return site.finish("Conv", inputs, **window, group=int(site.attribute("group", 1)))


@handles("ConvTranspose")
def _conv_transpose(site: Site) -> str:
    window = _window(site, _kernel_of_weight(site), pads=False)
    sizes, axes = site.sizes(0)[1:], site.rank(0) - 2
    extra = site.ints("output_padding") or [0] * axes
    pads = site.ints("pads") or [0] * (2 * axes)
    how, wanted = site.attribute("auto_pad", "NOTSET"), site.ints("output_shape")
    if wanted is not None and len(wanted) == axes + 2:
        wanted = wanted[2:]
    if how == "VALID":
        pads = [0] * (2 * axes)
    elif how in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = [size * stride for size, stride in zip(sizes, window["strides"], strict=True)]
    if wanted is not None:
        columns = (window[key] for key in ("kernel_shape", "strides", "dilations"))
        pads = [0] * (2 * axes)
        for axis, (out, kernel, stride, dilation) in enumerate(zip(wanted, *columns, strict=True)):
            total = stride * (sizes[axis] - 1) + extra[axis] + dilation * (kernel - 1) + 1 - out
            if total < 0:
                extra[axis] -= total
                continue
            small = total // 2 if how == "SAME_UPPER" else total - total // 2
            pads[axis], pads[axis + axes] = small, total - small
    window |= {"pads": tuple(pads), "output_padding": tuple(extra)}
    inputs = [site.tensor(i) for i in range(len(site.inputs))]
    return site.finish("ConvTranspose", inputs, **window, group=int(site.attribute("group", 1)))


@handles("MaxPool")
@on_values
def _max_pool(site: Site) -> str:
    window = _window(site, None)
    return site.finish("MaxPool", [site.tensor(0)], **window, ceil_mode=_ceil_mode(site, window))


@handles("AveragePool")
def _average_pool(site: Site) -> str:
    window = _window(site, None)
    counts = {"ceil_mode": _ceil_mode(site, window), "count_include_pad": int(site.attribute("count_include_pad", 0))}
    return site.finish("AveragePool", [site.tensor(0)], **window, **counts)


def _ceil_mode(site: Site, window: dict[str, Any]) -> int:
    """Whether rounding up makes a window that rounding down does not: one that would begin beyond the image is none."""
    sizes, axes = site.sizes(0)[1:], len(window["kernel_shape"])
    if not int(site.attribute("ceil_mode", 0)) or len(sizes) != axes or min(window["strides"]) < 1:
        return int(site.attribute("ceil_mode", 0))
    columns = (window[key] for key in ("kernel_shape", "strides", "dilations"))
    for axis, (size, kernel, stride, dilation) in enumerate(zip(sizes, *columns, strict=True)):
        before, after = window["pads"][axis], window["pads"][axis + axes]
        room = size + before + after - dilation * (kernel - 1) - 1
        if room % stride and (room // stride + 1) * stride < size + before:
            return 1
    return 0


@handles("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(site: Site) -> str:
    return site.finish(site.op, [site.tensor(0)])


@handles("LpPool", "GlobalLpPool")
def _lp_pool(site: Site) -> str:
    """(sum of |x|^p)^(1/p): the mean times the number of places."""
    power, x = float(site.attribute("p", 2)), site.tensor(0)
    whole = list(site.sizes(0)[1:])
    window = _window(site, whole)
    raised = site.emit("Pow", [site.emit("Abs", [x]), site.scalar(power, x)])
    ceil = int(site.attribute("ceil_mode", 0))
    mean = site.emit("AveragePool", [raised], **window, ceil_mode=ceil, count_include_pad=1)
    if ceil:
        raise UnsupportedError("`ceil_mode` must be 0")
    total = site.emit("Mul", [mean, site.scalar(float(np.prod(window["kernel_shape"])), x)])
    return site.finish("Pow", [total, site.scalar(1 / power, x)])


@handles("LRN")
def _lrn(site: Site) -> str:
    """Compute x / (bias + alpha * mean)^beta, the mean that of x^2 over neighbouring channels: rows of (C, H W)."""
    size, x, sizes = int(site.attribute("size", 0)), site.tensor(0), site.sizes(0)
    if not 1 <= size <= _LARGEST:
        raise ValueError(f"`size` (={size}) must be at least 1")
    image = site.reshape(site.emit("Mul", [x, x]), (1, sizes[0], int(np.prod(sizes[1:]))))
    before = (size - 1) // 2
    window = {"kernel_shape": (size, 1), "strides": (1, 1), "pads": (before, 0, size - 1 - before, 0)}
    mean = site.reshape(site.emit("AveragePool", [image], **window, count_include_pad=1), sizes)
    scaled = site.emit("Mul", [mean, site.scalar(float(site.attribute("alpha", 1e-4)), x)])
    base = site.emit("Add", [scaled, site.scalar(float(site.attribute("bias", 1.0)), x)])
    power = site.emit("Pow", [base, site.scalar(float(site.attribute("beta", 0.75)), x)])
    return site.finish("Div", [x, power])


# -- resampling --------------------------------------------------------------------------------------------------------


@handles("Resize")
@on_values
def _resize(site: Site) -> str:
    if site.opset < 11:
        return _resampled(site, 1, None, asymmetric=True)
    return _resampled(site, 2, 3, asymmetric=False)


@handles("Upsample")
def _upsample(site: Site) -> str:
    return _resampled(site, 1, None, asymmetric=True)


def _resampled(site: Site, scales: int, sizes: int | None, *, asymmetric: bool) -> str:
    """A Resize along what lies behind the channels."""
    x, rank = site.tensor(0), site.rank(0)
    axes = [site.axis(axis, rank, "axes") for axis in site.ints("axes") or range(rank)]
    by_size = sizes is not None and site.has(sizes) and site.known(sizes, "sizes").size > 0
    if by_size and sizes is not None:
        given = site.known(sizes, "sizes").reshape(-1)
    elif "scales" in site.attributes:
        given = np.array(site.attribute("scales"), np.float32).reshape(-1)
    else:
        given = site.known(scales, "scales").reshape(-1)
    if len(given) != len(axes):
        raise ValueError(f"{len(given)} {'sizes' if by_size else 'scales'} are given for {len(axes)} axes")
    kept: dict[int, Any] = {}
    for axis, value in zip(axes, given, strict=True):
        if axis >= 2:
            kept[axis] = value
        elif not _stays(site, axis, value, by_size):
            raise UnsupportedError(f"axis {axis} is resized by {value}; supported: what lies behind the channels")
    array = np.array(list(kept.values()), np.int64 if by_size else np.float32)
    mode = {"bilinear": "linear"}.get(site.attribute("mode", "nearest"), site.attribute("mode", "nearest"))
    attributes: dict[str, Any] = {"mode": mode, "axes": tuple(kept)}
    if asymmetric:
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        if site.has(1) and site.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
            raise UnsupportedError("`coordinate_transformation_mode` (='tf_crop_and_resize') is not supported")
        names: tuple[str, ...] = ("coordinate_transformation_mode", "nearest_mode", "antialias", "exclude_outside")
        names += ("cubic_coeff_a", "keep_aspect_ratio_policy")
        attributes |= {name: site.attribute(name) for name in names if name in site.attributes}
        if mode != "cubic" and not attributes.get("antialias"):  # of two neighbours the edge repeats, which is the same
            attributes.pop("exclude_outside", None)
    what = site.constant(array, f"{site.name}.{'sizes' if by_size else 'scales'}")
    return site.finish("Resize", [x, "", "", what] if by_size else [x, "", what], **attributes)


def _stays(site: Site, axis: int, value: Any, by_size: bool) -> bool:
    size = site.shape(0)[axis]
    if not by_size:
        return bool(value == 1)
    return value == Batch() or value in (1, site.batch_size) if size == "N" else bool(value == size)


@handles("DepthToSpace")
def _depth_to_space(site: Site) -> str:
    block, (channels, height, width) = _block(site)
    if channels % (block * block):
        raise ValueError(f"the {channels} channels must be divisible by `blocksize` (={block}) squared")
    deep = channels // (block * block)
    if site.attribute("mode", "DCR") == "DCR":
        split, perm = (block, block, deep, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (deep, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = site.emit("Transpose", [site.reshape(site.tensor(0), split)], perm=perm)
    return site.reshape(moved, (deep, height * block, width * block), last=True)


@handles("SpaceToDepth")
def _space_to_depth(site: Site) -> str:
    block, (channels, height, width) = _block(site)
    if height % block or width % block:
        raise ValueError(f"height and width ({height}, {width}) must be divisible by `blocksize` (={block})")
    split = (channels, height // block, block, width // block, block)
    perm = (0, 3, 5, 1, 2, 4) if site.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = site.emit("Transpose", [site.reshape(site.tensor(0), split)], perm=perm)
    return site.reshape(moved, (channels * block * block, height // block, width // block), last=True)


def _block(site: Site) -> tuple[int, tuple[int, int, int]]:
    block, sizes = int(site.attribute("blocksize", 0)), site.sizes(0)
    if block < 1:
        raise ValueError(f"`blocksize` (={block}) must be at least 1")
    if len(sizes) != 3:
        raise UnsupportedError(f"its input has {site.rank(0)} axes; supported: (N, C, H, W)")
    return block, (sizes[0], sizes[1], sizes[2])
