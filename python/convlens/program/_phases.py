"""The gradient of an input of few channels, such as an image's: several of its pixels side by side as channels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ..graph import TensorType, window_of
from ._expression import Expression, apply, integers
from ._flow import Flow, Op
from ._move import Axis, copy, crop, pointwise_grad_input, whole

LANES = 16  # of a block; one of float64 holds half of them
MOST_LANES = 64  # that phases of an image's channels take
MOST_CHANNELS = 7  # more leave little of a block to padding
#: Of the products of the plain gradient, phases must leave out this share: they bring a copy with them.
LEAST_SHARE = 0.2
_FIRST = -(1 << 31)  # a slice that ends before the first element


@dataclass(frozen=True)
class _Side:
    """One axis: of `phases` neighbouring pixels, how they read the gradient.

    Pixel ``phases i + p`` sums, over the taps t, ``dy[stride i + t - pad]`` times the kernel's element
    ``start(p) - step t``.
    """

    size: int
    kernel: int
    step: int
    before: int
    phases: int

    @property
    def stride(self) -> int:
        return self.phases // self.step

    @property
    def pad(self) -> int:
        return (self.kernel - 1 - self.before) // self.step

    @property
    def taps(self) -> int:
        return (self.phases - 1 + self.before) // self.step + self.pad + 1

    @property
    def groups(self) -> int:
        return -(-self.size // self.phases)

    def start(self, phase: int) -> int:
        return phase + self.before + self.step * self.pad

    def pad_end(self, rows: int) -> int:
        return (self.groups - 1) * self.stride + self.taps - self.pad - rows


def conv_grad_input(flow: Flow, op: Op) -> None:
    """By phases, by the transposed weight, or as it is."""
    if not _phased(flow, op):
        pointwise_grad_input(flow, op)


def _phased(flow: Flow, op: Op) -> bool:
    """Append the gradient as a convolution of dy whose channels are pixels and channels of dx, and their copy apart.

    Lanes are channels, of which an image has three: five of six products would be of padding. A row of `phases` pixels
    reads dy with one kernel each, some of whose elements are zeros. (AVX-512, float32, one thread, of c3 h224 w224:
    k64 r7 st2 11.7 to 3.8 ms; k32 r3 st2 1.24 to 0.58.)

    Returns
    -------
    bool
        False where that does not pay, or is not defined; nothing was appended then.
    """
    (dy, w), out, kind = op.inputs[:2], op.outputs[0], flow.types[op.outputs[0]]
    if len(op.inputs) > 2 or len(kind.shape) != 4 or w not in flow.constants or op.attributes.get("group", 1) != 1:
        return False
    if flow.root_of(dy) in flow.graph.inputs and flow.root_of(out) in flow.requested:
        return False  # on a caller's arrays as they lie the plain kernel is faster (c3 k64 r3 224 x 224: 0.73)
    window, (channels, *size) = window_of(flow.node(op), flow.types), kind.per_image
    before = window.pads[:2]
    if window.dilation != (1, 1) or any(b >= k for b, k in zip(before, window.kernel, strict=True)):
        return False
    sides = _best(channels, size, window.kernel, window.stride, before)
    if sides is None:
        return False
    ends = [side.pad_end(rows) for side, rows in zip(sides, flow.types[dy].per_image[1:], strict=True)]
    if min(ends) < 0:
        return False  # rows of dy that no pixel reads
    dy, weight = _unscaled(flow, dy, flow.constants[w])
    turned, small = f"{out}/weight", f"{out}/phases"
    flow.constants[turned] = _turned(weight, sides)
    flow.types[turned] = TensorType(kind.dtype, flow.constants[turned].shape)
    (height, width), (ky, kx) = (s.groups for s in sides), (s.phases for s in sides)
    flow.types[small] = TensorType(kind.dtype, (kind.shape[0], ky * kx * channels, height, width))
    attributes = {
        "kernel_shape": tuple(s.taps for s in sides),
        "strides": tuple(s.stride for s in sides),
        "pads": (*(s.pad for s in sides), *ends),
    }
    flow.ops.append(Op("Conv", [dy, turned], [small], attributes, op.name))
    plane = height * width
    axes = [whole(channels, plane), whole(height, width), whole(ky, kx * channels * plane)]
    axes += [whole(width, 1), whole(kx, channels * plane)]
    _apart(flow, op, small, axes, [height * ky, width * kx])
    return True


def _apart(flow: Flow, op: Op, small: str, axes: list[Axis], made: list[int]) -> None:
    """Copy phases to their places, and cut off what lies beyond the last pixel."""
    out = op.outputs[0]
    kind = flow.types[out]
    if list(kind.per_image[1:]) == made:
        copy(flow, op, small, out, kind, axes)
        return
    grown = f"{out}/grown"
    copy(flow, op, small, grown, TensorType(kind.dtype, (*kind.shape[:2], *made)), axes)
    crop(flow, op, grown, out, kind, [0, 0])


def _best(
    channels: int, size: list[int], kernel: tuple[int, int], stride: tuple[int, int], before: tuple[int, ...]
) -> list[_Side] | None:
    """The phases of rows and columns that leave the fewest products; None where they leave out too few."""
    if channels > MOST_CHANNELS:
        return None
    plain = LANES * kernel[0] * kernel[1] / (stride[0] * stride[1])
    best: tuple[float, list[_Side]] | None = None
    for counts in itertools.product(*(range(s, MOST_LANES + 1, s) for s in stride)):
        lanes = -(-channels * counts[0] * counts[1] // LANES) * LANES
        if lanes > MOST_LANES:
            continue
        sides = [_Side(size[i], kernel[i], stride[i], before[i], counts[i]) for i in (0, 1)]
        pixels = size[0] * size[1] / (sides[0].groups * sides[1].groups)
        products = lanes * sides[0].taps * sides[1].taps / pixels
        if best is None or products < best[0]:
            best = products, sides
    if best is None or best[0] > (1 - LEAST_SHARE) * plain:
        return None
    return best[1]


def _unscaled(flow: Flow, dy: str, weight: Expression) -> tuple[str, Expression]:
    """The gradient before a batch-norm's scale, which the weight takes up, where nobody else reads the product."""
    source = next((op for op in flow.ops if dy in op.outputs), None)
    alone = dy not in flow.requested and sum(node.inputs.count(dy) for node in flow.graph.nodes) == 1
    if source is None or source.op != "Mul" or not alone:
        return dy, weight
    a, b = source.inputs
    g, vector = (a, b) if b in flow.constants else (b, a)
    if vector not in flow.constants or not flow.is_channel_vector(vector, dy) or not flow.native(g):
        return dy, weight
    flow.ops.remove(source)
    return g, apply("Mul", weight, flow.constants[vector].reshape((weight.shape[0], 1, 1, 1)))


def _turned(weight: Expression, sides: list[_Side]) -> Expression:
    """The kernels of all phases, (row phase, column phase, channel) by channels of dy."""
    k, channels = weight.shape[:2]
    # A phase's elements may begin beyond the kernel's end, or end before its beginning: zeros.
    last = [min(side.start(p) - side.step * (side.taps - 1) for p in range(side.phases)) for side in sides]
    low = [max(0, -end) for end in last]
    high = [max(0, side.start(side.phases - 1) - side.kernel + 1) for side in sides]
    shape = (k, channels, *(low[i] + sides[i].kernel + high[i] for i in (0, 1)))
    padded = Expression(shape, "Pad", (weight, integers(0, 0, *low, 0, 0, *high)))
    cuts, taps = [], tuple(side.taps for side in sides)
    for phases in itertools.product(*(range(side.phases) for side in sides)):
        starts = [low[i] + sides[i].start(phases[i]) for i in (0, 1)]
        stops = [s - side.step * side.taps for s, side in zip(starts, sides, strict=True)]
        ends = [stop if stop >= 0 else _FIRST for stop in stops]
        steps = [-side.step for side in sides]
        inputs = (padded, integers(*starts), integers(*ends), integers(2, 3), integers(*steps))
        cuts.append(Expression((k, channels, *taps), "Slice", inputs))
    joined = Expression((k, channels * len(cuts), *taps), "Concat", tuple(cuts), (("axis", 1),))
    return Expression((channels * len(cuts), k, *taps), "Transpose", (joined,), (("perm", (1, 0, 2, 3)),))
