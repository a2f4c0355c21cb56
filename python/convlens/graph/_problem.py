"""The problem string: one spelling of a convolution's shape for errors, tests, benchmarks and logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._ir import Node, TensorType
from ._registry import attribute
from ._window import Pads, Pair, Window, one_row, window_of

DIRECTIONS = ("fwd", "grad_input", "grad_weight")
_OF_NODE = dict(zip(("Conv", "ConvGradInput", "ConvGradWeight"), DIRECTIONS, strict=True))
_DTYPES = {"f32": "float32", "f64": "float64"}
_EXAMPLE = "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd"


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


def problem_string(problem: ConvProblem) -> str:
    """Write a problem: pairs as ``2x1`` (height x width) and pads as ``0,1,2,1`` where one number does not do.

    >>> problem_string(ConvProblem(n=1, c=64, h=56, w=56, k=64, r=3, s=3, pads=(1, 1, 1, 1)))
    'n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd'
    """
    p = problem
    sizes = " ".join(f"{name}{getattr(p, name)}" for name in ("n", "c", "h", "w", "k", "r", "s"))
    dtype = next(short for short, name in _DTYPES.items() if name == p.dtype)
    return f"{sizes} st{_pair(p.stride)} p{_pads(p.pads)} d{_pair(p.dilation)} g{p.groups} {dtype} {p.direction}"


def parse_problem(text: str) -> ConvProblem:
    """Read a problem string back.

    Raises
    ------
    ValueError
        If a field is missing, out of order or malformed; the text names it.

    Examples
    --------
    >>> parse_problem("n1 c8 h9 w7 k4 r3 s1 st2x1 p1,0,2,0 d1 g4 f64 grad_input").pads
    (1, 0, 2, 0)
    """
    words = text.split()
    names = ("n", "c", "h", "w", "k", "r", "s", "st", "p", "d", "g")
    if len(words) != len(names) + 2:
        raise ValueError(f"problem {text!r} must have {len(names) + 2} fields, as in {_EXAMPLE!r}")
    values = {}
    for name, word in zip(names, words, strict=False):
        if not word.startswith(name):
            raise ValueError(f"problem {text!r}: {word!r} should be {name!r} and a number, as in {_EXAMPLE!r}")
        try:
            values[name] = [int(part) for part in word[len(name) :].replace("x", ",").split(",")]
        except ValueError:
            raise ValueError(f"problem {text!r}: {word!r} should be {name!r} and a number") from None
    dtype, direction = words[-2:]
    if dtype not in _DTYPES or direction not in DIRECTIONS:
        raise ValueError(
            f"problem {text!r} must end with one of {', '.join(_DTYPES)} and one of {', '.join(DIRECTIONS)}"
        )
    lengths = {"st": (1, 2), "d": (1, 2), "p": (1, 2, 4)}
    for name, numbers in values.items():
        if len(numbers) not in lengths.get(name, (1,)):
            raise ValueError(f"problem {text!r}: {name!r} has {len(numbers)} numbers")
    pads = (values["p"] * 4)[:4]
    return ConvProblem(
        **{name: values[name][0] for name in ("n", "c", "h", "w", "k", "r", "s")},
        stride=_two(values["st"]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        dilation=_two(values["d"]),
        groups=values["g"][0],
        dtype=_DTYPES[dtype],
        direction=direction,
    )


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


def _two(numbers: list[int]) -> Pair:
    return numbers[0], numbers[-1]
