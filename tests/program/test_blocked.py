"""Tensors that one Program hands to the next in blocks of channels."""

from __future__ import annotations

import numpy as np
import pytest

from convlens.graph import GraphBuilder
from convlens.program import Entry, State, Weights, aligned_room, compile

CHANNELS = 20  # a block and a part of one


def _weight(b, k, c, side):
    dtype = b.types["x"].dtype
    return b.constant(np.random.default_rng(k).standard_normal((k, c, side, side)).astype(dtype), f"w{k}{c}{side}")


CONSUMERS = {
    "relu": lambda b, x: b.add("Relu", [x]),
    "sum": lambda b, x: b.add("Add", [x, b.add("Sigmoid", [x])]),
    "padded conv": lambda b, x: b.add("Conv", [x, _weight(b, 18, CHANNELS, 3)], {"pads": (1, 1, 1, 1)}),
    "conv": lambda b, x: b.add("Relu", [b.add("Conv", [x, _weight(b, 18, CHANNELS, 3)])]),
    "pixel conv": lambda b, x: b.add("Conv", [x, _weight(b, 18, CHANNELS, 1)]),
    "residual": lambda b, x: b.add("Add", [x, b.add("Conv", [x, _weight(b, CHANNELS, CHANNELS, 1)])]),
    "depthwise": lambda b, x: b.add("Conv", [x, _weight(b, CHANNELS, 1, 3)], {"group": CHANNELS, "strides": (2, 2)}),
    "pool": lambda b, x: b.add("MaxPool", [x], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
    "concat": lambda b, x: b.add("Concat", [x, x], {"axis": 1}),
    "pad": lambda b, x: b.add("Pad", [x, b.constant(np.array([0, 0, 1, 0, 0, 0, 2, 0]), "widths")]),
    "itself": lambda b, x: b.add("Identity", [x]),
}


def _blocks(array):
    """As a Program holds it."""
    n, c, h, w = array.shape
    lanes = 64 // array.itemsize
    padded = np.zeros((n, -(-c // lanes) * lanes, h, w), array.dtype)
    padded[:, :c] = array
    made = aligned_room((n, padded.shape[1] // lanes, h, w, lanes), array.dtype)
    made[:] = padded.reshape(n, -1, lanes, h, w).transpose(0, 1, 3, 4, 2)
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_blocks_have_the_bits_of_planes(consumer, dtype):
    b = GraphBuilder()
    b.input("x", dtype, ("N", CHANNELS, 9, 8))
    y = CONSUMERS[consumer](b, "x")
    graph = b.build([y])
    entries, weights = {"forward": Entry(("x",), (y,))}, Weights(graph.constants)
    x = np.random.default_rng(0).standard_normal((3, CHANNELS, 9, 8)).astype(dtype)
    # Parts of a larger graph, so that both take the instructions of blocks.
    planes = compile(graph, entries, dtype=dtype, inside=("x",)).run("forward", {"x": x}, weights)[y]
    program = compile(graph, entries, dtype=dtype, inside=("x",), blocked=("x", y))
    blocks = program.run("forward", {"x": _blocks(x)}, weights)[y]
    assert np.array_equal(blocks, _blocks(planes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("height", [1, 9])
def test_blocks_that_all_images_share_have_the_bits_of_planes(height, dtype):
    b, shape = GraphBuilder(), (CHANNELS, height, 8)
    b.input("x", dtype, ("N", *shape))
    b.input("all", dtype, shape)
    y = b.add("Relu", [b.add("Add", ["x", b.add("Mul", ["x", "all"])])])
    entries = {"forward": Entry(("x", "all"), (y,))}
    rng = np.random.default_rng(0)
    x, shared = (rng.standard_normal(dims).astype(dtype) for dims in ((3, *shape), shape))
    graph = b.build([y])
    planes = compile(graph, entries, dtype=dtype).run("forward", {"x": x, "all": shared})[y]
    program = compile(graph, entries, dtype=dtype, blocked=("x", "all", y))
    assert program.inputs("forward")["all"] == _blocks(shared[None]).shape[1:]
    blocks = program.run("forward", {"x": _blocks(x), "all": _blocks(shared[None])[0]})[y]
    assert np.array_equal(blocks, _blocks(planes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_in_blocks_is_what_images_add_up_to(dtype):
    b, shape = GraphBuilder(), (CHANNELS, 5, 8)
    b.input("x", dtype, ("N", *shape))
    b.input("total", dtype, shape)
    summed = b.add("ReduceSum", [b.add("Relu", ["x"]), b.constant(np.zeros(1, np.int64))], {"keepdims": 0})
    after = b.add("Add", ["total", summed])
    graph, entries, updates = b.build([after]), {"add": Entry(("x",), ())}, {"total": after}
    x = np.random.default_rng(0).standard_normal((7, *shape)).astype(dtype)
    begin = np.full(shape, 0.1, dtype)
    planes, blocks = State({"total": begin}), State({"total": _blocks(begin[None])[0]})
    compile(graph, entries, updates=updates).run("add", {"x": x}, state=planes)
    program = compile(graph, entries, updates=updates, blocked=("total",))
    for part in (x[:3], x[3:]):
        program.run("add", {"x": part}, state=blocks)
    assert np.array_equal(blocks["total"], _blocks(planes["total"][None])[0])


def test_a_lone_convolution_hands_on_blocks():
    b = GraphBuilder()
    b.input("x", "float32", ("N", 3, 9, 8))
    y = b.add("Conv", ["x", _weight(b, CHANNELS, 3, 3)])
    graph, x = b.build([y]), np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    entries, weights = {"forward": Entry(("x",), (y,))}, Weights(graph.constants)
    planes = compile(graph, entries).run("forward", {"x": x}, weights)[y]
    blocks = compile(graph, entries, blocked=(y,)).run("forward", {"x": x}, weights)[y]
    assert np.allclose(blocks, _blocks(planes), rtol=0, atol=1e-5)
    assert not blocks[:, 1, :, :, CHANNELS - 16 :].any()


def test_blocks_off_a_cache_line_are_refused():
    b = GraphBuilder()
    b.input("x", "float32", ("N", 16, 2, 2))
    y = b.add("Relu", ["x"])
    program = compile(b.build([y]), {"forward": Entry(("x",), (y,))}, blocked=("x",))
    off = aligned_room((1, 1, 2, 3, 16), np.float32).reshape(-1)[1:65].reshape(1, 1, 2, 2, 16)
    with pytest.raises(ValueError, match=r"`x`.*must be memory aligned to 64 bytes"):
        program.run("forward", {"x": off})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"blocked": ("z",)},
            r"`blocked`: 'z' is neither a state nor an input or output of an entry; those are 'x', 'flat'",
        ),
        ({"blocked": ("relu",)}, r"`blocked`: 'relu' is neither a state nor an input"),
        (
            {"blocked": ("x", "flat")},
            r"`blocked`: 'flat' is float32.*; only float tensors \(N, C, H, W\) or \(C, H, W\) cross",
        ),
        ({"tiled": ("z",)}, r"`tiled`: 'z' is not the result of a Conv; those of the graph are 'conv'"),
        ({"tiled": ("conv", "relu")}, r"`tiled`: 'relu' is not the result of a Conv"),
    ],
)
def test_what_cannot_cross_or_go_in_tiles_is_named(given, text):
    b = GraphBuilder()
    b.input("x", "float32", ("N", 16, 8, 8))
    conv = b.add("Conv", ["x", _weight(b, 16, 16, 3)], outputs=("conv",))
    relu = b.add("Relu", [conv], outputs=("relu",))
    flat = b.add("Flatten", [relu], outputs=("flat",))
    with pytest.raises(ValueError, match=text):
        compile(b.build([flat]), {"forward": Entry(("x",), (flat,))}, **given)


@pytest.mark.parametrize("tiled", [(), ("second",)])
def test_winograds_tiles_are_taken_where_they_were_asked_for(tiled):
    b = GraphBuilder()
    b.input("x", "float32", ("N", 16, 16, 16))
    w = _weight(b, 16, 16, 3)
    first = b.add("Conv", ["x", w], {"pads": (1, 1, 1, 1)}, outputs=("first",))
    second = b.add("Conv", [first, w], {"pads": (1, 1, 1, 1)}, name="later", outputs=("second",))
    program = compile(b.build([second]), {"forward": Entry(("x",), (second,))}, tiled=tiled)
    assert [choice.node for choice in program.convolutions if "Winograd" in choice.algorithm] == ["later"] * len(tiled)
