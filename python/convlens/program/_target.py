"""What lowering asks of the core: sizes, opcodes, and the rectangle of its input that an instruction reads."""

from __future__ import annotations

import struct

from .. import _core
from .._errors import UnsupportedError
from ._elementwise import Operation
from ._flow import Chw, Geometry, Step
from ._tensors import (
    ARENA,
    BLOCKED,
    EXTERNAL,
    INT64,
    MASK,
    PACKED,
    PLAIN,
    REAL,
    STATE,
    UINT8,
    WEIGHT,
    Instruction,
    Tensor,
)

_DTYPES = {REAL: 0, INT64: 1, UINT8: 2, MASK: 3}
_LAYOUTS = {PLAIN: 0, BLOCKED: 1, PACKED: 2}
_PLACES = {ARENA: 0, WEIGHT: 1, STATE: 2, EXTERNAL: 3}
_RECORD = struct.Struct("<4B3i4Hi4x4q")
ABSENT = bytes(_RECORD.size)
_MANY_CHANNELS = 128
_FEW_TRANSPOSED, _MOST_TRANSPOSED = 1 << 13, 1 << 16  # numbers of a weight that is transposed at every call


def bits(value: int | float) -> int:
    """An attribute as int64: integers as they are, real numbers as the bits of a double."""
    return struct.unpack("<q", struct.pack("<d", value))[0] if isinstance(value, float) else int(value)


def tiles_have_few_rows() -> bool:
    """Whether the kernels in use have AVX2's register tile: docs/decisions/0012-avx2-tile.md."""
    return _core.info()["few_rows"]


def spreads_its_products(c: int, k: int) -> bool:
    """Whether a strided 1 x 1 gradient from `k` channels to `c` is best written where it goes at once.

    Its weight is transposed at every call then, which must be cheap. Tiles of few rows gain more by weights that are
    laid out beforehand. (Stride 2, Zen 3, of the time at once: c64 k128 56 x 56 1.03, c128 k256 28 x 28 0.89, c256 k512
    56 x 56 0.96.)
    """
    return c * k <= (_FEW_TRANSPOSED if tiles_have_few_rows() else _MOST_TRANSPOSED)


class Target:
    """A type to compute in, with the core's answers for it.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.float64 = dtype == "float64"
        self.itemsize = 8 if self.float64 else 4
        self.lanes: int = _core.lanes(self.float64)
        self.opcodes: dict[str, int] = _core.op_codes()
        self._codes: dict[str, int] = _core.elementwise_codes()

    def packed_elements(self, geometry: Geometry) -> int:
        """Numbers a packed weight holds, padding included."""
        if geometry.winograd:
            positions = (geometry.winograd + 2) ** 2
            return positions * int(_core.packed_elements(geometry.K, geometry.C, 1, 1, 1, self.float64))
        return int(_core.packed_elements(*geometry.attributes, self.float64))

    def word(self, operation: Operation) -> int:
        """An element-wise operation as the instruction's attribute."""
        o = operation
        return self._codes[o.op] | o.dst << 8 | o.a << 16 | o.b << 24 | o.c << 32

    def copy_words(self) -> list[int]:
        """The element-wise program that loads its input and stores it."""
        return [self.word(Operation("load", 0, 0)), self.word(Operation("store", 0, 0))]

    def image_layout(self, step: Step, shape: Chw, out: Chw) -> tuple[str, bool]:
        """Layout of a convolution's input, and whether the caller's own memory will do: when no window looks outside.

        One of less than a block of channels (an image) reads them plain: a block would be mostly padding. (c3 224x224
        to k32 r3 st2, four images, AVX-512: 0.10 + 0.79 ms; blocked 0.83 + 0.81 ms. Slower for no c below 16.) So does
        a 1 x 1 convolution, which reads a pixel once for many products. (c1024 k256 14 x 14: 0.98 ms; blocked 1.06.)
        Not by tiles of few rows, which go faster through what lies together. (Zen 3, many channels both ways, blocked:
        0.73 to 0.99 of the time, 8 images 0.40 to 0.90; of 96 channels 0.98 and 1.05.)
        """
        r, s, stride_h, stride_w, top, left, dilation_h, dilation_w, groups = (int(a) for a in step.attributes[:9])
        whole_pages = shape[1] * shape[2] * self.itemsize % 4096 == 0  # all planes in one place of the cache
        in_blocks = tiles_have_few_rows() and min(shape[0], out[0]) >= _MANY_CHANNELS
        pixels = step.op == "conv2d" and r == s == 1 and not whole_pages and not in_blocks
        plain = (shape[0] < self.lanes or pixels) and groups == 1
        bottom = (out[1] - 1) * stride_h - top + (r - 1) * dilation_h + 1
        right = (out[2] - 1) * stride_w - left + (s - 1) * dilation_w + 1
        inside = top == 0 and left == 0 and bottom <= shape[1] and right <= shape[2]
        return (PLAIN if plain else BLOCKED), inside

    def record(self, tensor: Tensor, whole: int = -1) -> bytes:
        """A tensor as 64 bytes; of a part, `whole` is the number of what it is a part of."""
        t = tensor
        for what, value, limit in (("halo", max(t.halo), 1 << 16), ("channels", max(t.shape), 1 << 31)):
            if value >= limit:
                raise UnsupportedError(f"tensor {t.name!r}: {what} (={value}) must be below {limit}")
        numbers = (_DTYPES[t.dtype], _LAYOUTS[t.layout], _PLACES[t.place], int(t.batched))
        within = (0, 0) if t.part is None else (t.part[1] * t.block_bytes, t.part[0].bytes(self.itemsize))
        slot = t.slot if t.part is None else whole
        return _RECORD.pack(*numbers, *t.shape, *t.halo, slot, t.offset, t.bytes(self.itemsize), *within)

    def reach(self, instruction: Instruction, index: int) -> tuple[int, int, int, int]:
        """How far an instruction reads beyond an input's top, left, bottom and right edge."""
        tensor, out = instruction.inputs[index], instruction.outputs[0]
        assert tensor is not None
        assert out is not None
        _, height, width = tensor.shape
        rectangle = _core.input_rectangle(
            self.opcodes[instruction.op],
            b"".join(ABSENT if t is None else self.record(t) for t in instruction.inputs),
            b"".join(ABSENT if t is None else self.record(t) for t in instruction.outputs),
            [bits(a) for a in instruction.attributes],
            index,
            (0, 0, out.shape[1], out.shape[2]),
            self.float64,
        )
        if rectangle is None:
            return (0, 0, 0, 0)
        y0, x0, y1, x1 = rectangle
        return (max(0, -y0), max(0, -x0), max(0, y1 - height), max(0, x1 - width))


def most_reach(i: Instruction) -> list[int]:
    """A halo that no window of an instruction reads beyond."""
    r, s, stride_h, stride_w, top, left, dilation_h, dilation_w = (int(a) for a in i.attributes[:8])
    high, wide = (r - 1) * dilation_h + abs(top) + 1, (s - 1) * dilation_w + abs(left) + 1
    x, y = i.inputs[0], i.outputs[0]
    if i.op.startswith("conv2d_grad_weight"):
        x, y = i.inputs[1], x
    below = right = 0  # what windows stand on there alone; those of a gradient stand on pixels
    if not i.op.startswith("conv2d_grad_input"):
        assert x is not None
        assert y is not None
        below = max(0, (y.shape[1] - 1) * stride_h - x.shape[1])
        right = max(0, (y.shape[2] - 1) * stride_w - x.shape[2])
    return [high, wide, high + below, wide + right]
