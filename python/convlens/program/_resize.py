"""What one output pixel of an axis is made of, as the resize instruction reads it: a band of inputs and weights."""

from __future__ import annotations

import math

from ..graph import Resizing, adaptive_range

Band = tuple[int, list[float]]
MOST_ATTRIBUTES = 65535


def resize_attributes(resizing: Resizing, *, gradient: bool) -> list[int | float]:
    """The instruction's attributes; those of the gradient hold the transposed bands."""
    lerp = resizing.mode == "linear" and not (gradient or resizing.antialias or resizing.inside)
    values: list[int | float] = [int(lerp)]
    for axis in range(2):
        bands = [_band(resizing, axis, i) for i in range(resizing.new[axis])]
        for first, weights in _transposed(bands, resizing.old[axis]) if gradient else bands:
            values += [first, len(weights), *weights]
    return values


def _band(r: Resizing, axis: int, i: int) -> Band:
    old, new = r.old[axis], r.new[axis]
    if r.mode == "area":
        first, end = adaptive_range(i, old, new)
        return first, [1.0 / (end - first)] * (end - first)
    if r.mode == "windows":
        window, place = divmod(i, r.window[axis])
        first, end = adaptive_range(window, old, new // r.window[axis])
        return min(first + place, end - 1), [1.0]
    at = r.place(axis, i)
    if r.mode == "nearest":
        nearest = {
            "round_prefer_floor": math.ceil(at - 0.5),
            "round_prefer_ceil": math.floor(at + 0.5),
            "floor": math.floor(at),
            "ceil": math.ceil(at),
        }[r.nearest]
        return min(max(nearest, 0), old - 1), [1.0]
    if r.mode == "cubic" or r.antialias or r.inside:
        return _kernel_band(r, axis, at)
    if at <= 0 or at >= old - 1:
        return (0 if at <= 0 else old - 1), [1.0]
    low = math.floor(at)
    return low, [1.0] if at == low else [low + 1 - at, at - low]


def _kernel_band(r: Resizing, axis: int, at: float) -> Band:
    """Weights of a kernel around a place; one that shrinks with antialiasing is wider, and made to sum to one."""
    old, scale = r.old[axis], min(1.0, r.scale(axis)) if r.antialias else 1.0
    reach, low = (2 if r.mode == "cubic" else 1) / scale, math.floor(at)
    places = range(low - math.ceil(reach) + 1, low + math.ceil(reach) + 1)
    weights = [_kernel(r, abs(place - at) * scale) for place in places]
    if r.inside:
        weights = [weight if 0 <= place < old else 0.0 for place, weight in zip(places, weights, strict=True)]
    total = math.fsum(weights) if r.antialias or r.inside else 1.0
    first, last = (min(max(place, 0), old - 1) for place in (places[0], places[-1]))
    band = [0.0] * (last - first + 1)
    for place, weight in zip(places, weights, strict=True):
        band[min(max(place, 0), old - 1) - first] += weight / total
    return first, band


def _kernel(r: Resizing, x: float) -> float:
    """The kernel at a distance; Keys, "Cubic Convolution Interpolation", 1981, with a free coefficient."""
    if r.mode == "linear":
        return max(0.0, 1.0 - x)
    a = r.cubic
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def _transposed(bands: list[Band], size: int) -> list[Band]:
    """The bands of the transposed matrix; places move forwards, so what reads one input lies side by side."""
    columns: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for i, (first, weights) in enumerate(bands):
        for t, weight in enumerate(weights):
            columns[first + t].append((i, weight))
    out = []
    for column in columns:
        first = column[0][0] if column else 0
        weights = [0.0] * (column[-1][0] - first + 1 if column else 0)
        for i, weight in column:
            weights[i - first] = weight
        out.append((first, weights))
    return out
