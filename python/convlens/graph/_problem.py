"""The problem string: one spelling of a convolution's or a pool's shape for errors, tests, benchmarks and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._ir import Node, TensorType
from ._registry import attribute
from ._window import Pads, Pair, Window, one_row, window_of

DIRECTIONS = ("fwd", "grad_input", "grad_weight")
_OF_NODE = dict(zip(("Conv", "ConvGradInput", "ConvGradWeight"), DIRECTIONS, strict=True))
_DTYPES = {"f32": "float32", "f64": "float64"}
POOL_KINDS = ("max", "avg")
POOL_DIRECTIONS = ("fwd", "grad_input")
_EXAMPLE = "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd"
_POOL_EXAMPLE = "n8 c64 h56 w56 r2 s2 st2 p0 max f32 fwd"
_FIELDS = ("n", "c", "h", "w", "k", "r", "s", "st", "p", "d", "g")
_POOL_FIELDS = ("n", "c", "h", "w", "r", "s", "st", "p")
#: How many numbers a field may have, where it is not one.
_LENGTHS = {"st": (1, 2), "d": (1, 2), "p": (1, 2, 4)}


@dataclass(frozen=True)
class ConvProblem:
    """A convolution's shape.

    ``n`` images of ``c`` channels, ``h`` rows and ``w`` columns; ``k`` output channels; ``r x s`` windows. ``pads`` is
    (top, left, bottom, right), ``direction`` one of ``fwd``, ``grad_input``, ``grad_weight``.
    """

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    dtype: str = "float32"
    direction: str = "fwd"

    @property
    def window(self) -> Window:
        """The sliding window."""
        return Window((self.r, self.s), self.stride, self.pads, self.dilation)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(n, k, rows, columns) of the forward output."""
        return (self.n, self.k, *self.window.output_size((self.h, self.w)))

    @property
    def flops(self) -> int:
        """Multiplications and additions, padding included: ``2 n k rows columns (c / groups) r s``."""
        n, k, rows, columns = self.output_shape
        return 2 * n * k * rows * columns * (self.c // self.groups) * self.r * self.s

    def __str__(self) -> str:
        return problem_string(self)


@dataclass(frozen=True)
class PoolProblem:
    """A pool's shape.

    ``n`` images of ``c`` channels, ``h`` rows and ``w`` columns; ``r x s`` windows. ``pads`` is (top, left, bottom,
    right), ``kind`` one of ``max``, ``avg`` (padding counted), ``direction`` one of ``fwd``, ``grad_input``.
    """

    n: int
    c: int
    h: int
    w: int
    r: int
    s: int
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    kind: str = "max"
    dtype: str = "float32"
    direction: str = "fwd"

    @property
    def window(self) -> Window:
        """The sliding window."""
        return Window((self.r, self.s), self.stride, self.pads)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(n, c, rows, columns) of the forward output."""
        return (self.n, self.c, *self.window.output_size((self.h, self.w)))

    @property
    def nbytes(self) -> int:
        """Bytes of input and output, each counted once."""
        n, c, rows, columns = self.output_shape
        return n * c * (self.h * self.w + rows * columns) * {"float32": 4, "float64": 8}[self.dtype]

    def __str__(self) -> str:
        return problem_string(self)


def problem_string(problem: ConvProblem | PoolProblem) -> str:
    """Write a problem: pairs as ``2x1`` (height x width) and pads as ``0,1,2,1`` where one number does not do.

    >>> problem_string(ConvProblem(n=1, c=64, h=56, w=56, k=64, r=3, s=3, pads=(1, 1, 1, 1)))
    'n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd'
    >>> problem_string(PoolProblem(n=8, c=64, h=56, w=56, r=2, s=2, stride=(2, 2)))
    'n8 c64 h56 w56 r2 s2 st2 p0 max f32 fwd'
    """
    p = problem
    sizes = ("n", "c", "h", "w", "k", "r", "s") if isinstance(p, ConvProblem) else ("n", "c", "h", "w", "r", "s")
    words = [*(f"{name}{getattr(p, name)}" for name in sizes), f"st{_pair(p.stride)}", f"p{_pads(p.pads)}"]
    words += [f"d{_pair(p.dilation)}", f"g{p.groups}"] if isinstance(p, ConvProblem) else [p.kind]
    dtype = next(short for short, name in _DTYPES.items() if name == p.dtype)
    return " ".join([*words, dtype, p.direction])


def parse_problem(text: str) -> ConvProblem | PoolProblem:
    """Read a problem string back: a convolution's, or a pool's, which says ``max`` or ``avg``.

    Raises
    ------
    ValueError
        If a field is missing, out of order or malformed; the text names it.

    Examples
    --------
    >>> parse_problem("n1 c8 h9 w7 k4 r3 s1 st2x1 p1,0,2,0 d1 g4 f64 grad_input").pads
    (1, 0, 2, 0)
    >>> parse_problem("n8 c64 h56 w56 r3 s3 st2 p1 avg f32 fwd").output_shape
    (8, 64, 28, 28)
    """
    words = text.split()
    if not set(words) & set(POOL_KINDS):
        values = _values(text, words, _FIELDS, (tuple(_DTYPES), DIRECTIONS), _EXAMPLE)
        return ConvProblem(
            **_sizes(values),
            k=values["k"][0],
            stride=_two(values["st"]),
            pads=_four(values["p"]),
            dilation=_two(values["d"]),
            groups=values["g"][0],
            dtype=_DTYPES[words[-2]],
            direction=words[-1],
        )
    values = _values(text, words, _POOL_FIELDS, (POOL_KINDS, tuple(_DTYPES), POOL_DIRECTIONS), _POOL_EXAMPLE)
    return PoolProblem(
        **_sizes(values),
        stride=_two(values["st"]),
        pads=_four(values["p"]),
        kind=words[-3],
        dtype=_DTYPES[words[-2]],
        direction=words[-1],
    )


def _values(
    text: str, words: Sequence[str], fields: Sequence[str], endings: Sequence[Sequence[str]], example: str
) -> dict[str, list[int]]:
    """The numbers of `fields`, in their order; then one word out of each of `endings`."""
    if len(words) != len(fields) + len(endings):
        raise ValueError(f"problem {text!r} must have {len(fields) + len(endings)} fields, as in {example!r}")
    values = {}
    for name, word in zip(fields, words, strict=False):
        if not word.startswith(name):
            raise ValueError(f"problem {text!r}: {word!r} should be {name!r} and a number, as in {example!r}")
        try:
            numbers = [int(part) for part in word[len(name) :].replace("x", ",").split(",")]
        except ValueError:
            raise ValueError(f"problem {text!r}: {word!r} should be {name!r} and a number") from None
        if len(numbers) not in _LENGTHS.get(name, (1,)):
            raise ValueError(f"problem {text!r}: {name!r} has {len(numbers)} numbers")
        values[name] = numbers
    if any(word not in allowed for word, allowed in zip(words[len(fields) :], endings, strict=True)):
        raise ValueError(
            f"problem {text!r} must end with one of {' and one of '.join(', '.join(allowed) for allowed in endings)}"
        )
    return values


def problem_of(node: Node, types: Mapping[str, TensorType], n: int = 1) -> ConvProblem:
    """The problem of a Conv, ConvGradInput or ConvGradWeight node, for `n` images if its batch is symbolic."""
    window = window_of(node, types)
    first = types[node.inputs[0]]
    if node.op == "ConvGradInput":
        channels, *size = (int(v) for v in attribute(node, "input_shape"))
        out_channels = int(first.shape[1])
    else:
        image = first if node.op == "Conv" else types[node.inputs[1]]
        channels, *size = (int(d) for d in image.shape[1:])
        out_channels = int(types[node.inputs[1]].shape[0]) if node.op == "Conv" else int(first.shape[1])
    height, width = one_row(size)
    return ConvProblem(
        n=n if first.batched else int(first.shape[0]),
        c=channels,
        h=height,
        w=width,
        k=out_channels,
        r=window.kernel[0],
        s=window.kernel[1],
        stride=window.stride,
        pads=window.pads,
        dilation=window.dilation,
        groups=int(attribute(node, "group")),
        dtype=first.dtype,
        direction=_OF_NODE[node.op],
    )


def _pair(value: Pair) -> str:
    return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"


def _pads(value: Pads) -> str:
    top, left, bottom, right = value
    if (top, left) != (bottom, right):
        return ",".join(map(str, value))
    return str(top) if top == left else f"{top},{left}"


def _sizes(values: Mapping[str, list[int]]) -> dict[str, int]:
    return {name: values[name][0] for name in ("n", "c", "h", "w", "r", "s")}


def _two(numbers: list[int]) -> Pair:
    return numbers[0], numbers[-1]


def _four(numbers: list[int]) -> Pads:
    top, left, bottom, right = (numbers * 4)[:4]
    return top, left, bottom, right
