"""Sliding windows: the arithmetic that convolution and pooling share, once for every floor above."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import numpy as np

from ._ir import Node, TensorType
from ._registry import attribute

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Padding = int | Sequence[int] | Sequence[Sequence[int]] | str
SIDES = ("height", "width")
LENGTH = ("height", "length")


@dataclass(frozen=True)
class Window:
    """A window sliding over the rows and columns of an image.

    Output pixel ``i`` of an axis reads inputs ``i * stride + k * dilation - pad`` for ``k < kernel``. ``pads`` is
    ``(top, left, bottom, right)``, ONNX's order. A signal is an image of one row, whose errors call its axis length:
    ``sides``.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    sides: tuple[str, str] = SIDES

    def __post_init__(self) -> None:
        for name, value, least in (
            ("kernel_shape", self.kernel, 1),
            ("strides", self.stride, 1),
            ("pads", self.pads, 0),
            ("dilations", self.dilation, 1),
        ):
            if min(value) < least:
                raise ValueError(f"`{name}` (={value}) must be at least {least} everywhere")

    @property
    def extent(self) -> Pair:
        """Rows and columns that one window spans: ``dilation * (kernel - 1) + 1``."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))  # type: ignore[return-value]

    def output_size(self, size: Pair) -> Pair:
        """Rows and columns of the output for an input of `size`.

        Raises
        ------
        ValueError
            If the window is larger than the padded input.

        Notes
        -----
        ``floor((size + pads - extent) / stride) + 1``, or ``ceil`` with ``ceil_mode``; then the last window must start
        inside the input or its leading padding, as in ONNX and PyTorch, or it is dropped.
        """
        return self._axis_size(0, size[0]), self._axis_size(1, size[1])

    def _axis_size(self, axis: int, size: int) -> int:
        before, after = self.pads[axis], self.pads[axis + 2]
        extent, stride = self.extent[axis], self.stride[axis]
        room = size + before + after - extent
        if room < 0:
            side = self.sides[axis]
            dilated = f" (dilated by {self.dilation[axis]}: {extent})" if self.dilation[axis] > 1 else ""
            raise ValueError(
                f"a window of {side} {self.kernel[axis]}{dilated} is larger than the padded input "
                f"({before} + {size} + {after}); use a smaller `kernel_shape`, more `pads`, or a larger image"
            )
        if not self.ceil_mode:
            return room // stride + 1
        steps = -(-room // stride) + 1
        return steps - 1 if (steps - 1) * stride >= size + before else steps

    def check_covers(self, size: Pair) -> None:
        """Raise ValueError if some window lies in the padding alone: a pool of nothing has no value."""
        for axis, count in enumerate(self.output_size(size)):
            before, stride, dilation = self.pads[axis], self.stride[axis], self.dilation[axis]
            # Others start within the image.
            first = min(count, -(-before // stride))
            last = max(first, -(-(before + size[axis]) // stride))
            for i in itertools.chain(range(first), range(last, count)):
                start = i * stride - before
                skipped = max(0, -(start // dilation))
                place = start + skipped * dilation
                if skipped >= self.kernel[axis] or not 0 <= place < size[axis]:
                    raise ValueError(
                        f"window {i} along {self.sides[axis]} lies in the padding alone "
                        f"(`pads` = {self.pads}, `kernel_shape` = {self.kernel}); use smaller `pads`"
                    )


def window_of(node: Node, types: Mapping[str, TensorType]) -> Window:
    """The window of a convolution, a pool, or one of their gradients; missing attributes have ONNX's defaults.

    That of a signal (N, C, L) is the window of an image of one row. A transposed convolution's is that of the
    convolution it transposes: :func:`transposed_window`.
    """
    kernel = attribute(node, "kernel_shape")
    if node.op in GLOBAL_POOLS:
        kernel = types[node.inputs[0]].shape[2:]
    elif kernel is None and node.op == "ConvGradWeight":
        kernel = attribute(node, "weight_shape")[2:]
    elif kernel is None and node.op in ("Conv", "ConvGradInput", "ConvTranspose"):
        kernel = types[node.inputs[1]].shape[2:]
    if kernel is None:
        raise ValueError("`kernel_shape` is missing; give (height, width)")
    axes = len(kernel)
    return Window(
        one_row(_ints(kernel, axes, axes, "kernel_shape")),
        one_row(_ints(node.attributes.get("strides", (1,) * axes), axes, axes, "strides")),
        _one_row_pads(_ints(node.attributes.get("pads", (0,) * (2 * axes)), 2 * axes, axes, "pads")),
        one_row(_ints(node.attributes.get("dilations", (1,) * axes), axes, axes, "dilations")),
        node.op in POOLS and bool(attribute(node, "ceil_mode")),
        LENGTH if axes == 1 else SIDES,
    )


def transposed_window(node: Node, types: Mapping[str, TensorType]) -> tuple[Window, Pair]:
    """:func:`transpose` of a ConvTranspose."""
    sizes = types[node.inputs[0]].shape[2:]
    axes = len(sizes)
    given = attribute(node, "output_padding") or (0,) * axes
    extra = one_row(_ints(given, axes, axes, "output_padding"), 0)
    return transpose(window_of(node, types), one_row(sizes), extra)


def transpose(window: Window, size: Pair, output_padding: Pair) -> tuple[Window, Pair]:
    """The convolution that a transposed one transposes, and the size of its input, the transposed one's output.

    Parameters
    ----------
    window : Window
        As the transposed convolution is given it.
    size, output_padding : (height, width)
        The size of its input, and what is added to its output at the end.

    Raises
    ------
    ValueError
        If nothing is left of an axis, or `output_padding` reaches a whole stride beyond what the windows cover.

    Notes
    -----
    ``output = stride * (size - 1) + output_padding + extent - pads``. What `output_padding` adds at the end, less
    padding there takes away: the convolution pads by ``pads - output_padding`` where that is not negative.
    """
    out, ends = [], []
    for axis, side in enumerate(window.sides):
        before, after, stride = window.pads[axis], window.pads[axis + 2], window.stride[axis]
        extra = output_padding[axis]
        if extra < 0 or extra - after >= stride:
            raise ValueError(
                f"`output_padding` (={extra} of {side}) must be 0 or more, and less than `strides` (={stride}) "
                f"plus the padding at the end (={after})"
            )
        out.append(stride * (size[axis] - 1) + extra + window.extent[axis] - before - after)
        ends.append(max(0, after - extra))
        if out[axis] < 1:
            raise ValueError(
                f"`pads` ({before}, {after}) leave nothing of {side} {out[axis] + before + after}; use smaller `pads`"
            )
    pads = (window.pads[0], window.pads[1], ends[0], ends[1])
    return replace(window, pads=pads), (out[0], out[1])


GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
POOLS = frozenset({"MaxPool", "AveragePool", "MaxPoolOffset", "MaxPoolGrad", "AveragePoolGrad"})


def one_row(sizes: Sequence[int | str], fill: int = 1) -> Pair:
    """The numbers of one axis or two as (height, width): a signal is an image of one row.

    >>> one_row((9,)), one_row((3, 4))
    ((1, 9), (3, 4))
    """
    numbers = tuple(int(size) for size in sizes)
    return (fill, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def of_row(sizes: Sequence[int], axes: int) -> tuple[int, ...]:
    """(height, width) as the numbers of so many axes: the inverse of :func:`one_row`."""
    return tuple(sizes[2 - axes :])


def window_attributes(window: Window, axes: int = 2) -> dict[str, Any]:
    """A window as a node's attributes, of images (2 axes) or signals (1)."""
    return {
        "kernel_shape": of_row(window.kernel, axes),
        "strides": of_row(window.stride, axes),
        "pads": of_row(window.pads[:2], axes) + of_row(window.pads[2:], axes),
        "dilations": of_row(window.dilation, axes),
    }


def pair(value: int | Sequence[int], name: str) -> Pair:
    """An int or two of them as (height, width)."""
    try:
        height, width = value if isinstance(value, (Sequence, np.ndarray)) else (value, value)
        return index(height), index(width)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` (={value!r}) must be an int or (height, width)") from None


def resolve_padding(padding: Padding, size: Pair, kernel: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Pads:
    """Padding as a user writes it, as (top, left, bottom, right).

    Parameters
    ----------
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        ``"same"`` gives ``ceil(size / stride)`` outputs, the odd row or column at the bottom or right (PyTorch at
        stride 1, TensorFlow and ONNX's SAME_UPPER at any).
    size : (int, int)
        Rows and columns of the image.

    Raises
    ------
    ValueError
        If `padding` has none of these forms or is negative.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        if padding != "same":
            raise ValueError(f"`padding` (={padding!r}) must be 'same', 'valid', an int, a pair, or a pair of pairs")
        before, after = [], []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            before.append(total // 2)
            after.append(total - total // 2)
        return before[0], before[1], after[0], after[1]
    if isinstance(padding, np.ndarray):
        padding = padding.tolist()
    if not isinstance(padding, Sequence):
        sides = [pair(padding, "padding")] * 2
    elif len(padding) == 2:
        sides = [pair(side, "padding") for side in padding if not isinstance(side, str)]
    else:
        raise ValueError(
            f"`padding` (={padding!r}) must be an int, (height, width), ((top, bottom), (left, right)), "
            f"'same' or 'valid'"
        )
    (top, bottom), (left, right) = sides
    if min(top, bottom, left, right) < 0:
        raise ValueError(f"`padding` (={padding!r}) must not be negative")
    return top, left, bottom, right


def _one_row_pads(pads: Sequence[int]) -> Pads:
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else (pads[0], pads[1], pads[2], pads[3])


def _ints(value: Sequence[int], length: int, axes: int, name: str) -> tuple[int, ...]:
    out = tuple(int(v) for v in value)
    if len(out) != length or axes not in (1, 2):
        kind = "signals have one axis" if axes == 1 else "images have two axes"
        raise ValueError(f"`{name}` (={out}) must have {length if axes < 3 else 2} numbers, as {kind}")
    return out
