"""Concatenations and slices of channels in place: the same bits as copies, and no more memory."""

from __future__ import annotations

import numpy as np
import pytest
from check import check, instructions, random_inputs, run_program
from test_move import conv, dense_block, fire, ints

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, compile
from convlens.program._parts import _Parts
from convlens.program._plan import plan
from convlens.transform import backward


def inception(b, x):
    """Blocks of channels but for the last branch; the pool's halo is another's."""
    pool = b.add("MaxPool", [x], {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)})
    branches = [conv(b, x, 32), conv(b, conv(b, x, 96), 48, 3), pool, b.add("Relu", [conv(b, x, 9, 5)])]
    return b.add("Concat", branches, {"axis": 1})


def listed(b, x):
    """As exporters write dense blocks: each layer joins all before it, of 17 and more in two instructions."""
    parts = [x]
    for i in range(18):
        y = b.add("Concat", parts, {"axis": 1}) if i else x
        parts.append(b.add("Relu", [conv(b, b.add("Relu", [y]), 16, 3, seed=i)]))
    return b.add("Concat", parts, {"axis": 1})


def hourglass(b, x):
    """A part that is made long before the rest of its whole, and read by a smaller map too."""
    early = b.add("Relu", [conv(b, x, 32, 3)])
    small = conv(b, b.add("MaxPool", [early], {"kernel_shape": (2, 2), "strides": (2, 2)}), 48, 3)
    scales = b.constant(np.array([1, 1, 2, 2], np.float32))
    large = b.add("Resize", [small, "", scales], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"})
    return conv(b, b.add("Concat", [early, conv(b, large, 32)], {"axis": 1}), 32, 3)


def ragged(b, x):
    """Some of them are copied: what begins or ends within a block, is joined twice, or is a part of another."""
    y, z = conv(b, x, 32, 3), conv(b, x, 13, seed=1)
    first = b.add("Concat", [y, z, z, conv(b, x, 6), conv(b, x, 16, 3)], {"axis": 1})
    half = b.add("Slice", [first, ints(b, 16), ints(b, 32), ints(b, 1)])
    return b.add("Concat", [conv(b, first, 16), y, half, z, conv(b, first, 5)], {"axis": 1})


BLOCKS = [fire, inception, dense_block, listed, hourglass, ragged]


def network(block, size, wide=640):
    """Two blocks, after maps that take more memory than they do."""
    b = GraphBuilder()
    x = b.input("images", "float32", ("N", 3, *size))
    for k in (wide, wide, 32):
        x = conv(b, x, k)
    for _ in range(2):
        x = conv(b, block(b, x), 32)
    return b.build([b.add("GlobalAveragePool", [x])])


def gradient(graph):
    made, found = backward(graph, graph.outputs[0], ["images"])
    return made.subgraph([*graph.outputs, found["images"]])


def copying(entries, target):
    parts = _Parts(entries, target.lanes, {i for code in entries for i in code})
    return entries, plan(entries, target.itemsize), tuple(parts.moves)


def in_one(graph):
    return {"run": Entry(tuple(graph.inputs), graph.outputs)}


def in_two(graph):
    return {
        "forward": Entry(("images",), graph.outputs[:1]),
        "backward": Entry(("seed",), graph.outputs[1:]),
    }


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
@pytest.mark.parametrize("entries", [in_one, in_two], ids=["one entry", "two"])
def test_in_place_has_the_bits_and_no_more_than_the_memory_of_copies(block, entries, monkeypatch):
    graph = gradient(network(block, (8, 6)))
    inputs, weights, runs = random_inputs(graph, 3, "float32"), Weights(graph.constants), []
    entries = entries(graph)
    for _ in range(2):
        program = compile(graph, entries)
        runs.append((program, run_program(program, entries, inputs, weights, 3, threads=2)))
        monkeypatch.setattr("convlens.program._compile.arrange", copying)
    (placed, found), (copied, expected) = runs
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert placed.arena_bytes(3, 2) <= copied.arena_bytes(3, 2)
    assert placed.n_instructions < copied.n_instructions
    assert {c.algorithm for c in copied.concatenations} == {"copied"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_in_place_agrees_with_the_oracle_and_has_the_same_bits_for_threads_and_batches(block):
    """Of large maps too, through which images go one by one."""
    graph = network(block, (8, 6))
    check(graph)
    if block is not listed:
        check(gradient(graph), dtypes=("float64",))  # in float32 a mask may differ
    graph = network(block, (48, 64), 192) if block is not listed else graph
    program, weights = compile(graph, in_one(graph)), Weights(graph.constants)
    inputs = random_inputs(graph, 3, "float32")
    together = run_program(program, in_one(graph), inputs, weights, 3, threads=1)
    for threads in (2, 3):
        again = run_program(program, in_one(graph), inputs, weights, 3, threads=threads)
        assert all(np.array_equal(together[name], again[name]) for name in together)
    for i in range(3):
        alone = run_program(program, in_one(graph), {"images": inputs["images"][i : i + 1]}, weights, 1)
        assert all(np.array_equal(together[name][i : i + 1], alone[name]) for name in together)


@pytest.mark.parametrize("block", [fire, inception, dense_block, listed], ids=lambda block: block.__name__)
def test_blocks_of_channels_are_not_copied(block):
    graph = network(block, (8, 6))
    program = compile(graph, in_one(graph))
    assert "concat" not in instructions(program, graph)
    assert {c.algorithm for c in program.concatenations} == {"in place"}


def test_what_is_copied_is_copied_into_the_whole():
    graph = network(ragged, (8, 6))
    how = [c.algorithm for c in compile(graph, in_one(graph)).concatenations]
    assert how == ["2 of 5 in place", "in place", "1 of 5 in place"] * 2


def test_a_part_that_would_take_more_memory_is_copied():
    """Two branches of a chain of large maps, of which the first would hold the place of the second."""
    b = GraphBuilder()
    x = conv(b, b.input("images", "float32", ("N", 3, 8, 8)), 16)
    early = conv(b, x, 16, seed=1)
    wide = conv(b, conv(b, early, 160, 3), 160, 3)
    late = b.add("Concat", [early, conv(b, wide, 96)], {"axis": 1})
    graph = b.build([b.add("GlobalAveragePool", [conv(b, late, 8)])])
    (move,) = check(graph).concatenations
    assert move.algorithm == "copied"
    assert move.problem == "channels 16 + 96, 8 x 8"


def test_a_compiled_file_keeps_parts():
    graph = network(fire, (8, 6))
    program, weights = compile(graph, in_one(graph)), Weights(graph.constants)
    again, packed = type(program).from_bytes(program.to_bytes(weights))
    inputs = random_inputs(graph, 2, "float32")
    found, expected = (run_program(p, in_one(graph), inputs, w, 2) for p, w in ((again, packed), (program, weights)))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
