from __future__ import annotations

import pickle

import numpy as np
import pytest
from check import check, instructions, random_inputs, run_program

import convlens as cl
from convlens.graph import GraphBuilder, parse_problem
from convlens.program import Entry, Program, Weights, compile
from convlens.program._winograd import MEASURED, best_unit
from convlens.transform import backward

TILES = ("F(2,3)", "F(4,3)")


def residual_block(c=18, h=9, w=13, dtype="float32", **attributes):
    """Two convolutions with all that an epilogue takes, and the gradient to the image."""
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input("x", dtype, ("N", c, h, w))
    attributes = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), **attributes}
    weights = [
        b.constant((rng.standard_normal((c, c, 3, 3)) / np.sqrt(9 * c)).astype(dtype), f"w{i}") for i in range(2)
    ]
    bias = b.constant(rng.standard_normal(c).astype(dtype), "bias")
    hidden = b.add("Relu", [b.add("Conv", [x, weights[0], bias], attributes, name="first")])
    y = b.add("Conv", [hidden, weights[1]], attributes, name="second")
    if b.types[y].shape == b.types[x].shape:
        y = b.add("Add", [y, x])
    y = b.add("Relu", [y])
    graph, gradients = backward(b.build([y]), y, ["x"])
    return graph, {"forward": Entry(("x",), (y,)), "gradient": Entry(("seed",), (gradients["x"],))}


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("tile", TILES)
def test_forward_and_gradient_equal_the_interpreter_and_share_their_weights_where_memory_is_low(tile, memory):
    graph, entries = residual_block()
    program = check(graph, entries, winograd=tile, memory=memory)
    ops = instructions(program, graph)
    assert ops.count("conv2d_winograd") == ops.count("conv2d_grad_input_winograd") == 2
    # Of so few channels F(4,3) transforms weights when it reads them, and so does a gradient F(2,3).
    kept = " F(2,3)" if tile == "F(2,3)" and memory == "fast" else ""
    wanted = {f"w{i} as k18 c18 r3 s3 g1{kept}" for i in range(2)}
    if memory == "fast":
        wanted |= {f"w{i} as k18 c18 r3 s3 g1 exchanged" for i in range(2)}
    assert {str(key) for key in program.weight_keys if " as " in str(key)} == wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tile", TILES)
def test_weights_transformed_beforehand_or_for_every_call_give_the_same_bits(tile, dtype):
    graph, entries = residual_block(c=70, h=13, w=9, dtype=dtype)
    weights = {memory: Weights(graph.constants) for memory in ("fast", "low")}
    inputs = random_inputs(graph, 3, dtype)
    results = {
        memory: run_program(compile(graph, entries, winograd=tile, memory=memory), entries, inputs, weights[memory], 3)
        for memory in weights
    }
    for name, value in results["fast"].items():
        np.testing.assert_array_equal(results["low"][name], value)
    assert weights["fast"].nbytes > 1.7 * weights["low"].nbytes


@pytest.mark.parametrize("tile", TILES)
def test_an_image_has_the_same_bits_on_any_threads_in_any_batch_and_from_a_file(tile):
    graph, entries = residual_block(c=70, h=10)
    weights = Weights(graph.constants)
    program = compile(graph, entries, winograd=tile)
    inputs = random_inputs(graph, 5, "float32")
    one = run_program(program, entries, inputs, weights, 5, threads=1)
    for threads in (2, 3):
        for name, value in run_program(program, entries, inputs, weights, 5, threads=threads).items():
            np.testing.assert_array_equal(value, one[name])
    alone = run_program(program, entries, {name: value[3:4] for name, value in inputs.items()}, weights, 1)
    read, packed = Program.from_bytes(program.to_bytes(weights))
    again = run_program(read, entries, inputs, packed, 5)
    for name, value in one.items():
        np.testing.assert_array_equal(alone[name], value[3:4])
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize(
    "attributes",
    [{"strides": (2, 2), "pads": (1, 1, 1, 1)}, {"dilations": (2, 2), "pads": (2, 2, 2, 2)}],
    ids=["strided", "dilated"],
)
def test_it_is_not_taken_where_it_is_not_defined(attributes):
    graph, entries = residual_block(**attributes)
    program = compile(graph, entries, winograd="F(4,3)")
    assert not any("Winograd" in each.algorithm for each in program.convolutions)


def test_weights_that_are_given_or_learnt_or_quantised_stay_as_they_are():
    b = GraphBuilder()
    x, w = b.input("x", "float32", ("N", 16, 8, 8)), b.input("w", "float32", (16, 16, 3, 3))
    stored = b.constant(np.ones((16, 16, 3, 3), np.int8), "stored")
    whole = b.add("Dequantize", [stored, b.constant(np.float32(0.5), "scale"), b.constant(np.float32(0), "zero")])
    y = [b.add("Conv", [x, weight], {"kernel_shape": (3, 3)}) for weight in (w, whole)]
    graph = b.build(y)
    program = compile(graph, {"run": Entry(("x", "w"), tuple(y))}, winograd="F(4,3)")
    assert [each.algorithm for each in program.convolutions if "Winograd" in each.algorithm] == []


def test_only_float32_takes_it_by_itself():
    for dtype, takes in (("float32", True), ("float64", False)):
        graph, entries = residual_block(c=64, h=28, w=28, dtype=dtype)
        for option in (True, False):
            program = compile(graph, entries, winograd=option)
            taken = {each.algorithm for each in program.convolutions}
            assert taken == ({"Winograd F(4,3)"} if takes and option else {"direct"})


@pytest.mark.parametrize("problem", MEASURED)
def test_the_choice_is_the_fastest_that_was_measured(problem):
    p, times = parse_problem(problem), MEASURED[problem]
    unit = best_unit(p.c, p.k, p.h, p.w)
    assert times[(0, 2, 4).index(unit)] <= 1.08 * min(times)


def test_a_wrong_choice_is_named():
    graph, entries = residual_block()
    with pytest.raises(ValueError, match=r"`winograd` \(='F\(6,3\)'\) must be True \(where it pays\), False, or 'F"):
        compile(graph, entries, winograd="F(6,3)")


def test_each_choice_is_printed_when_asked_for(monkeypatch, capsys):
    graph, entries = residual_block()
    monkeypatch.setenv("CONVLENS_VERBOSE", "dispatch")
    compile(graph, entries, winograd="F(2,3)")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "convlens: forward first: n1 c18 h9 w13 k18 r3 s3 st1 p1 d1 g1 f32 fwd: Winograd F(2,3)"
    assert len(lines) == 4
    assert lines[3].endswith("f32 grad_input: Winograd F(2,3)")


def test_a_network_keeps_its_choice_and_its_programs_go_by_it():
    layers = [cl.nn.Conv2d(out_channels=16, kernel_size=3, padding=1), cl.nn.Conv2d(out_channels=16, kernel_size=3)]
    net = cl.nn.Sequential(*layers, input_shape=(16, 12, 12), winograd="F(4,3)")
    again = pickle.loads(pickle.dumps(net))
    assert net.astype("float64").winograd == again.winograd == "F(4,3)"
    images = np.random.default_rng(0).standard_normal((2, 16, 12, 12)).astype(np.float32)
    direct = cl.nn.Sequential(*layers, input_shape=(16, 12, 12), winograd=False)
    assert 0 < np.abs(net(images) - direct(images)).max() < 1e-5 * np.abs(direct(images)).max()
    np.testing.assert_array_equal(net(images), again(images))
