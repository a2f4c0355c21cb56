from __future__ import annotations

import numpy as np
import pytest
from check import check, random_inputs, run_program

from convlens.graph import GraphBuilder
from convlens.program import Entry, Weights, _phases, compile
from convlens.program._elementwise import group
from convlens.program._layout import Layouter
from convlens.program._normalise import normalise
from convlens.program._select import select
from convlens.program._target import Target
from convlens.transform import DECONVNET, GRADIENT, GUIDED, backward


class Net:
    """Short hands for building graphs with random constants."""

    def __init__(self, shape, seed=0):
        self.b = GraphBuilder()
        self.x = self.b.input("images", "float32", ("N", *shape))
        self.rng = np.random.default_rng(seed)

    def constant(self, *shape, low=-1.0):
        value = self.rng.uniform(low, 1, shape) / np.sqrt(max(1, np.prod(shape[1:])))
        return self.b.constant(value.astype(np.float32))

    def conv(self, x, k, size, *, stride=1, pad=0, groups=1, dilation=1, bias=True):
        c = int(self.b.types[x].shape[1])
        operands = [x, self.constant(k, c // groups, size, size)] + ([self.constant(k)] if bias else [])
        attributes = {"strides": (stride,) * 2, "pads": (pad,) * 4, "group": groups, "dilations": (dilation,) * 2}
        return self.b.add("Conv", operands, {"kernel_shape": (size, size), **attributes})

    def norm(self, x):
        c = int(self.b.types[x].shape[1])
        return self.b.add("BatchNormalization", [x, *(self.constant(c, low=0.5) for _ in range(4))])

    def add(self, op, *inputs, **attributes):
        return self.b.add(op, inputs, attributes)

    def linear(self, x, k):
        flat = self.add("Flatten", x)
        return self.add("Gemm", flat, self.constant(k, int(self.b.types[flat].shape[1])), self.constant(k), transB=1)


def residual(net):
    """Two branches with batch normalisation, strides, a reused ReLU's tensor, a shortcut by convolution."""
    h = net.add("Relu", net.norm(net.conv(net.x, 18, 3, stride=2, pad=1, bias=False)))
    h = net.add("MaxPool", h, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    left = net.add("Relu", net.norm(net.conv(h, 20, 1, stride=2)))
    left = net.norm(net.conv(left, 24, 3, pad=1))
    right = net.norm(net.conv(h, 24, 1, stride=2))
    h = net.add("Relu", net.add("Add", left, right))
    again = net.add("Add", net.norm(net.conv(h, 24, 3, pad=1)), h)
    h = net.add("Relu", again)
    return net.linear(net.add("GlobalAveragePool", h), 7)


def mobile(net):
    """Depthwise and grouped convolutions, clipped activations, average pooling."""

    def clip(x):
        return net.add("Clip", x, net.b.constant(np.float32(0)), net.b.constant(np.float32(6)))

    h = clip(net.norm(net.conv(net.x, 16, 3, stride=2, pad=1)))
    h = clip(net.norm(net.conv(h, 16, 3, pad=1, groups=16)))
    h = net.conv(h, 40, 1)
    h = clip(net.conv(h, 40, 3, stride=2, pad=1, groups=4))
    h = net.add("AveragePool", h, kernel_shape=(2, 2), strides=(1, 1), pads=(0, 0, 1, 1))
    return net.linear(h, 5)


def dilated(net):
    """Dilation, sigmoid gates, a squeeze-and-excite branch, a head that is a map."""
    h = net.add("Tanh", net.conv(net.x, 17, 3, pad=2, dilation=2))
    gate = net.add("Sigmoid", net.conv(net.add("Relu", net.conv(net.add("GlobalAveragePool", h), 5, 1)), 17, 1))
    h = net.add("Mul", h, gate)
    return net.conv(net.add("Relu", h), 4, 3, pad=1)


NETS = {"residual": (residual, (3, 21, 30)), "mobile": (mobile, (3, 16, 18)), "dilated": (dilated, (2, 9, 12))}


def build(name, rules=GRADIENT):
    make, shape = NETS[name]
    net = Net(shape)
    y = make(net)
    graph, grads = backward(net.b.build([y]), y, [net.x], rules)
    gradient = grads[net.x]
    entries = {"forward": Entry(("images",), (y,)), "backward": Entry(("seed",), (gradient,))}
    return graph.subgraph((y, gradient)), entries


@pytest.mark.parametrize("rules", [GRADIENT, GUIDED, DECONVNET], ids=lambda r: r.name)
@pytest.mark.parametrize("name", NETS)
def test_forward_and_backward_agree_with_the_oracle(name, rules):
    check(*build(name, rules))


@pytest.mark.parametrize("name", NETS)
def test_activations_and_gradients_inside_agree_with_the_oracle(name):
    """Every tensor that was asked for ends a run; all of them at once leave nothing to fuse."""
    graph, _ = build(name)
    forward, backward_part = [], []
    seen = {"seed"}
    for node in graph.nodes:
        late = any(i in seen for i in node.inputs)
        seen |= set(node.outputs) if late else set()
        kind = graph.types[node.outputs[0]]
        if kind.batched and kind.dtype in ("float32", "bool", "uint8"):
            (backward_part if late else forward).append(node.outputs[0])
    entries = {"forward": Entry(("images",), tuple(forward)), "backward": Entry(("seed",), tuple(backward_part))}
    check(graph, entries, n=2, dtypes=("float64",))


@pytest.mark.parametrize("name", NETS)
def test_later_entries_run_any_number_of_times(name):
    graph, entries = build(name)
    program = compile(graph, entries)
    weights = Weights(graph.constants)
    inputs = random_inputs(graph, 2, "float32")
    gradient = entries["backward"].outputs[0]
    with program.workspace(2) as workspace:
        workspace.run("forward", {"images": inputs["images"]}, weights)
        first = workspace.run("backward", {"seed": inputs["seed"]}, weights)[gradient]
        workspace.run("backward", {"seed": inputs["seed"] * 3}, weights)
        again = workspace.run("backward", {"seed": inputs["seed"]}, weights)[gradient]
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", NETS)
def test_threads_and_batch_do_not_change_a_bit(name):
    graph, entries = build(name)
    program = compile(graph, entries)
    weights = Weights(graph.constants)
    inputs = random_inputs(graph, 8, "float32")
    whole = run_program(program, entries, inputs, weights, 8, threads=1)
    for key, value in run_program(program, entries, inputs, weights, 8, threads=2).items():
        assert np.array_equal(value, whole[key])
    for i in range(8):
        one = run_program(program, entries, {k: v[i : i + 1] for k, v in inputs.items()}, weights, 1)
        for key, value in one.items():
            assert np.array_equal(value[0], whole[key][i])


def test_a_gradient_is_the_slope_by_central_differences():
    graph, entries = build("dilated")
    program = compile(graph, entries, dtype="float64")
    weights = Weights(graph.constants)
    inputs = random_inputs(graph, 1, "float64")
    results = run_program(program, entries, inputs, weights, 1)
    gradient, (y,) = results[entries["backward"].outputs[0]], entries["forward"].outputs
    direction = np.random.default_rng(4).standard_normal(inputs["images"].shape)
    h = 1e-6

    def output(step):
        return program.run("forward", {"images": inputs["images"] + step * direction}, weights)[y]

    slope = np.sum((output(h) - output(-h)) / (2 * h) * inputs["seed"])
    assert abs(slope - np.sum(gradient * direction)) <= 1e-7 * max(1.0, abs(slope))


def test_masks_and_winners_are_what_is_kept_for_the_backward_pass():
    graph, entries = build("residual")
    target = Target("float32")
    flow = normalise(graph, entries, {})
    code = Layouter(flow, group(flow, *select(flow)), target).run().entries
    crossing = {t for i in code[1] for t in i.inputs if t is not None and t.place == "arena" and t.entry == 0}
    assert {t.dtype for t in crossing} == {"mask", "uint8"}
    assert len(crossing) == 5


def test_folded_weights_are_packed_once_for_both_directions_where_memory_is_low(monkeypatch):
    monkeypatch.setattr(_phases, "MOST_CHANNELS", 0)  # but for those of an image's channels
    graph, entries = build("residual")
    weights = Weights(graph.constants)
    forward = compile(graph, {"forward": entries["forward"]}, memory="low")
    forward.run("forward", {"images": random_inputs(graph, 1, "float32")["images"]}, weights)
    before = weights.nbytes
    both = compile(graph, entries, memory="low")
    run_program(both, entries, random_inputs(graph, 1, "float32"), weights, 1)
    assert weights.nbytes == before
