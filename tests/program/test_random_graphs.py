from __future__ import annotations

import numpy as np
import pytest
from check import check

from convlens import UnsupportedError
from convlens.graph import GraphBuilder
from convlens.program import Entry
from convlens.transform import backward

MOVES = ("concat", "slice", "turn", "expand", "reduce", "shuffle", "spread", "softmax")
_ACTIVATIONS = (
    *("Tanh", "Sigmoid", "Neg", "Abs"),
    *("LeakyRelu", "Elu", "Selu", "Gelu", "Mish", "HardSwish", "HardSigmoid", "Softplus", "Erf"),
)


class Maker:
    """Appends random nodes; every tensor is one that was made before."""

    def __init__(self, seed, moves):
        self.rng = np.random.default_rng(seed)
        self.moves = moves
        self.b = GraphBuilder()
        c, h, w = (int(v) for v in self.rng.integers((1, 3, 3), (20, 9, 9)))
        self.images = self.b.input("images", "float64", ("N", c, h, w))
        self.made = [self.images]

    def pick(self, rank=4):
        return str(self.rng.choice([t for t in self.made if len(self.b.types[t].shape) == rank] or [self.images]))

    def like(self, tensor):
        kind = self.b.types[tensor]
        return str(self.rng.choice([t for t in self.made if self.b.types[t].shape == kind.shape]))

    def constant(self, *shape):
        return self.b.constant(self.rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def step(self):
        b, rng, x = self.b, self.rng, self.pick()
        _, c, h, w = b.types[x].shape
        kinds = ["conv", "conv", "act", "act", "binary", "binary", "norm", "pool", "mean", "gate", "clip", "where"]
        kinds += [*MOVES] if self.moves else []
        kind = rng.choice(kinds)
        if kind == "conv":
            k, r, groups = int(rng.integers(1, 20)), int(rng.choice([1, 2, 3])), 1
            if rng.random() < 0.3:
                k = groups = c
            pads, strides = tuple(int(p) for p in rng.integers(0, 2, 4)), tuple(int(s) for s in rng.integers(1, 3, 2))
            if min(h + pads[0] + pads[2], w + pads[1] + pads[3]) < r:
                return x
            operands = [x, self.constant(k, c // groups, r, r)] + ([self.constant(k)] if rng.random() < 0.5 else [])
            return b.add("Conv", operands, {"kernel_shape": (r, r), "pads": pads, "strides": strides, "group": groups})
        if kind == "act":
            return b.add(str(rng.choice(["Relu", "Relu", *_ACTIVATIONS])), [x])
        if kind == "binary":
            return b.add(str(rng.choice(["Add", "Add", "Mul", "Sub", "Max"])), [x, self.like(x)])
        if kind == "norm" and rng.random() < 0.5:
            p = [self.constant(c) for _ in range(2)]
            if h * w > 1 and rng.random() < 0.5:
                return b.add("InstanceNormalization", [x, *p])
            return b.add("GroupNormalization", [x, *p], {"num_groups": 1 if c % 2 else 2, "epsilon": 0.1})
        if kind == "norm":
            p = [self.constant(c) for _ in range(3)] + [b.constant(rng.random(c) + 0.5)]
            return b.add("BatchNormalization", [x, *p])
        if kind == "pool" and min(h, w) > 1:
            op = str(rng.choice(["MaxPool", "AveragePool"]))
            return b.add(op, [x], {"kernel_shape": (2, 2), "strides": (int(rng.integers(1, 3)),) * 2})
        if kind == "mean":
            mean = b.add(str(rng.choice(["ReduceMean", "ReduceSum"])), [x, b.constant(np.array([2, 3]))])
            return b.add("Sub", [x, mean])
        if kind == "gate":
            gate = b.add("Sigmoid", [b.add("GlobalAveragePool", [x])])
            return b.add("Mul", [x, gate])
        if kind == "clip":
            return b.add("Clip", [x, b.constant(np.float64(-0.3)), b.constant(np.float64(0.8))])
        if kind in MOVES:
            return getattr(self, kind)(x)
        mask = b.add("Greater", [x, b.constant(np.float64(0.1))])
        return b.add("Where", [mask, self.like(x), b.constant(np.float64(0))])

    def ints(self, *values):
        return self.b.constant(np.array(values, np.int64))

    def concat(self, x):
        """Along any axis, of tensors alike but along it."""
        axis, shape = int(self.rng.integers(1, 4)), self.b.types[x].shape
        alike = [t for t in self.made if [d for i, d in enumerate(self.b.types[t].shape) if i != axis]
                 == [d for i, d in enumerate(shape) if i != axis] and len(self.b.types[t].shape) == 4]  # fmt: skip
        parts = [str(t) for t in self.rng.choice(alike, int(self.rng.integers(1, 4)))]
        return self.b.add("Concat", [x, *parts], {"axis": axis})

    def slice(self, x):
        axis, size = (a := int(self.rng.integers(1, 4))), int(self.b.types[x].shape[a])
        start, step = int(self.rng.integers(0, size)), int(self.rng.choice([1, 1, 1, 2, -1, -2]))
        stop = size if step > 0 else -(2**31)
        return self.b.add("Slice", [x, *(self.ints(v) for v in (start, stop, axis, step))])

    def turn(self, x):
        return self.b.add("Transpose", [x], {"perm": (0, *(int(a) + 1 for a in self.rng.permutation(3)))})

    def expand(self, x):
        axis = int(self.rng.integers(1, 4))
        one = self.b.add("ReduceMean", [x, self.ints(axis)])
        sizes = [int(d) for d in self.b.types[x].per_image]
        sizes[axis - 1] = int(self.rng.integers(1, 7))
        return self.b.add("Expand", [one, self.ints(1, *sizes)])

    def reduce(self, x):
        """Subtracted again, so that what is left stays an image."""
        op = str(self.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"]))
        axes = sorted(int(a) for a in self.rng.choice([1, 2, 3], int(self.rng.integers(1, 4)), replace=False))
        return self.b.add("Sub", [x, self.b.add(op, [x, self.ints(*axes)])])

    def shuffle(self, x):
        c, h, w = (int(d) for d in self.b.types[x].per_image)
        groups = int(self.rng.choice([g for g in range(1, c + 1) if c % g == 0]))
        y = self.b.add("Reshape", [x, self.ints(0, groups, c // groups, h, w)])
        perm = [(0, 2, 1, 3, 4), (0, 1, 2, 4, 3), (0, 4, 2, 3, 1)][int(self.rng.integers(3))]
        y = self.b.add("Tanh", [self.b.add("Transpose", [y], {"perm": perm})])
        a, b, *rest = (int(d) for d in self.b.types[y].per_image)
        return self.b.add("Reshape", [y, self.ints(0, a * b, *rest)])

    def spread(self, x):
        """An operand of any shape that broadcasts, computed or constant."""
        dims = [int(d) if self.rng.random() < 0.5 else 1 for d in self.b.types[x].per_image]
        if self.rng.random() < 0.5:
            return self.b.add("Mul", [x, self.constant(1, *dims)])
        axes = [i + 1 for i, d in enumerate(dims) if d == 1]
        return self.b.add("Mul", [x, self.b.add("ReduceMean", [x, self.ints(*axes)]) if axes else x])

    def softmax(self, x):
        return self.b.add("Softmax", [x], {"axis": int(self.rng.integers(1, 4))})

    def head(self, x):
        flat = self.b.add("Flatten", [x])
        if self.rng.random() < 0.3:
            flat = self.b.add("Tanh", [flat])
        w = self.constant(5, int(self.b.types[flat].shape[1]))
        return self.b.add("Gemm", [flat, w, self.constant(5)], {"transB": 1})


@pytest.mark.parametrize("moves", [False, True], ids=["", "moves"])
@pytest.mark.parametrize("seed", range(80))
def test_random_graphs_agree_forward_and_backward(seed, moves):
    """Random nodes, random tensors asked for, in one entry or in several."""
    make = Maker(seed, moves)
    for _ in range(int(make.rng.integers(3, 16))):
        make.made.append(make.step())
    y = make.head(make.made[-1])
    b, rng = make.b, make.rng
    asked = [t for t in dict.fromkeys(make.made[1:]) if t != "images" and rng.random() < 0.2]
    graph, grads = backward(b.build([y]), y, ["images"])
    forward, late = (y, *asked), (grads["images"],)
    if rng.random() < 0.5:
        entries = {"forward": Entry(("images",), forward), "backward": Entry(("seed",), late)}
    else:
        entries = {"all": Entry(("images", "seed"), (*forward, *late))}
    try:
        check(graph, entries, n=int(rng.integers(0, 4)), dtypes=("float64",))
    except UnsupportedError as error:
        pytest.fail(str(error))
