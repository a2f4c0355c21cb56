"""Every gradient rule: central differences in float64 through the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convlens import reference
from convlens.graph import GraphBuilder
from convlens.transform import DECONVNET, GRADIENT, GUIDED, backward, expand_batch_norm_training, fold_constants

F = "float64"
N = "N"
CONV = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2), "group": 2}
POOL = {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 1, 0, 1), "ceil_mode": 1}


def ints(*values):
    return np.array(values, np.int64)


def labels(*shape):
    return np.arange(int(np.prod(shape))).reshape(shape) % 3


def positive(*shape):
    """Operands whose values are drawn away from 0."""
    return ("positive", *shape)


# operator, operands: a shape (differentiated), positive(shape), or a constant array; then attributes. The batch is 2.
X, S = (N, 4, 7, 6), (N, 4, 7)
CONV1 = {"strides": (2,), "pads": (1, 2), "dilations": (1,), "group": 2}
POOL1 = {"kernel_shape": (3,), "strides": (2,), "pads": (1, 0), "ceil_mode": 1}
UP, DOWN = (None, np.array([1.0, 1.0, 2.6, 1.5])), (None, None, ints(2, 3))
RESIZES = [
    ([(N, 2, 3, 4), None, np.array([1.0, 1.0, 2.0, 3.0])], {}),
    *[
        ([(N, 2, 5, 4), *to], {"mode": "linear", "coordinate_transformation_mode": how, **axes})
        for to, axes in ((UP, {}), (DOWN, {"axes": (2, 3)}))
        for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ],
    *[
        ([(N, 2, 5, 4), *to], {"mode": mode, **how, **axes})
        for to, axes in ((UP, {}), (DOWN, {"axes": (2, 3)}))
        for mode in ("linear", "cubic")
        for how in (
            {"antialias": 1},
            {"exclude_outside": 1},
            {"coordinate_transformation_mode": "half_pixel_symmetric"},
        )
    ],
    ([(N, 2, 5, 4), None, None, ints(7, 9)], {"keep_aspect_ratio_policy": "not_larger", "axes": (2, 3)}),
    *[
        ([(N, 2, 5, 4), *to], {"nearest_mode": which, "coordinate_transformation_mode": how, **axes})
        for to, axes in ((UP, {}), (DOWN, {"axes": (2, 3)}))
        for which in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for how in ("half_pixel", "asymmetric")
    ],
    ([(N, 2, 5), None, np.array([1.0, 1.0, 2.6])], {"mode": "linear"}),
    ([(N, 2, 5, 7), None, None, ints(3, 9)], {"mode": "area", "axes": (2, 3)}),
    ([(N, 2, 7, 5), None, None, ints(9, 6)], {"mode": "windows", "axes": (2, 3), "window_shape": (3, 3)}),
]
CASES = [
    ("Conv", [X, (6, 2, 3, 2), (6,)], CONV),
    ("Conv", [X, (4, 1, 3, 3)], {"group": 4}),
    ("ConvGradInput", [(N, 6, 4, 5), (6, 2, 3, 2)], {**CONV, "input_shape": (4, 7, 6)}),
    ("ConvGradWeight", [(N, 6, 4, 5), X], {**CONV, "weight_shape": (6, 2, 3, 2)}),
    ("ConvTranspose", [X, (4, 3, 3, 2), (6,)], {**CONV, "output_padding": (1, 0)}),
    (
        "ConvTranspose",
        [X, (4, 3, 3, 2), (6,)],
        {**CONV, "pads": (0, 1, 0, 0), "strides": (2, 3), "output_padding": (1, 2)},
    ),
    ("ConvTranspose", [X, (4, 1, 3, 3)], {"group": 4}),
    ("Conv", [S, (6, 2, 3), (6,)], CONV1),
    ("ConvTranspose", [S, (4, 3, 3), (6,)], {**CONV1, "output_padding": (1,)}),
    ("ConvGradInput", [(N, 6, 4), (6, 2, 3)], {**CONV1, "input_shape": (4, 7)}),
    ("ConvGradWeight", [(N, 6, 4), S], {**CONV1, "weight_shape": (6, 2, 3)}),
    ("MaxPool", [S], POOL1),
    ("AveragePool", [S], POOL1),
    ("AveragePoolGrad", [(N, 4, 4)], {**POOL1, "input_shape": (4, 7)}),
    ("GlobalAveragePool", [S], {}),
    ("GlobalMaxPool", [S], {}),
    ("GlobalMaxPool", [X], {}),
    ("GlobalMaxPool", [(N, 2, 17, 300)], {}),
    ("MaxPool", [X], POOL),
    ("AveragePool", [X], POOL),
    ("AveragePool", [X], {**POOL, "count_include_pad": 1}),
    ("AveragePoolGrad", [(N, 4, 4, 7)], {**POOL, "input_shape": (4, 7, 6)}),
    ("GlobalAveragePool", [X], {}),
    ("Gemm", [(N, 5), (5, 3), (3,)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", [(N, 5), (3, 5), (N, 1)], {"transB": 1}),
    ("Gemm", [(N, 5), (N, 3), (5, 3)], {"transA": 1}),
    ("Gemm", [(5, 2), (3, 5), ()], {"transA": 1, "transB": 1, "alpha": -1.5}),
    ("BatchNormalization", [X, (4,), (4,), (4,), positive(4)], {"epsilon": 1e-3}),
    ("BatchNormalization", [(N, 4), (4,), (4,), (4,), positive(4)], {}),
    *[(op, [X], {}) for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Sign", "Identity", "Round")],
    *[(op, [positive(N, 4)], {}) for op in ("Log", "Sqrt", "Reciprocal", "Log1p")],
    *[(op, [X], {}) for op in ("LeakyRelu", "Elu", "Selu", "Softplus", "Mish", "HardSwish", "HardSigmoid", "Gelu")],
    *[(op, [X], {}) for op in ("Erf", "Expm1")],
    ("LeakyRelu", [X], {"alpha": -0.5}),
    ("Elu", [X], {"alpha": 0.3}),
    ("HardSigmoid", [X], {"alpha": 0.7, "beta": 0.4}),
    ("Gelu", [X], {"approximate": "tanh"}),
    *[("PRelu", [X, slope], {}) for slope in ((), (1,), (4, 1, 1), (6,), (4, 7, 6))],
    ("Pow", [positive(N, 4, 3), (N, 4, 1)], {}),
    ("Pow", [X, np.array(3.0)], {}),
    ("Dequantize", [X, positive(4, 1, 1), (4, 1, 1)], {}),
    ("Dequantize", [X, (), ()], {}),
    ("Dropout", [X, np.array(0.5)], {}),
    ("LayerNormalization", [X, (4, 7, 6), (4, 7, 6)], {"axis": 1}),
    ("LayerNormalization", [X, (6,), (6,)], {"epsilon": 0.1}),
    ("LayerNormalization", [X, (7, 6)], {"axis": -2}),
    ("LayerNormalization", [(N, 5), None, (5,)], {}),
    ("LayerNormalization", [(4, 5), (4, 5), (4, 5)], {"axis": 0}),
    ("InstanceNormalization", [X, (4,), (4,)], {"epsilon": 0.1}),
    ("InstanceNormalization", [(N, 3, 5)], {}),
    ("GroupNormalization", [X, (4,), (4,)], {"num_groups": 2}),
    ("GroupNormalization", [(N, 6), (6,)], {"num_groups": 2}),
    ("GroupNormalization", [X], {"num_groups": 1}),
    ("Clip", [X, np.array(-0.5), np.array(0.5)], {}),
    ("Clip", [X, np.array(0.0), np.array(0.5)], {}),
    ("Clip", [X, None, np.array(0.5)], {}),
    ("Clip", [X], {}),
    *[(op, [X, X], {}) for op in ("Add", "Sub", "Mul", "Max", "Min")],
    *[(op, [X, (4, 1, 6)], {}) for op in ("Add", "Sub", "Mul", "Max", "Min")],
    *[(op, [(1, 7, 1), (N, 4, 1, 6)], {}) for op in ("Add", "Sub", "Mul", "Max", "Min")],
    ("Div", [X, positive(4, 1, 6)], {}),
    ("Div", [(7, 1), positive(N, 4, 1, 6)], {}),
    ("Mul", [X, ()], {}),
    ("Where", [np.arange(12).reshape(4, 3) % 2 == 0, (N, 1, 3), (4, 1)], {}),
    ("Softmax", [(N, 3, 5)], {"axis": 1}),
    ("LogSoftmax", [(N, 3, 5)], {}),
    *[("SoftmaxCrossEntropyLoss", [(N, 3), labels(2)], {"reduction": r}) for r in ("mean", "sum", "none")],
    ("SoftmaxCrossEntropyLoss", [(N, 3, 4), labels(2, 4)], {}),
    ("Flatten", [X], {}),
    ("Reshape", [X, ints(0, -1, 3)], {}),
    ("Reshape", [(4, 6), ints(2, 12)], {}),
    ("Pad", [X, ints(0, 0, 1, -2, 0, 1, 0, 3)], {}),
    ("Pad", [X, ints(2, 1), np.array(3.0), ints(-2)], {}),
    *[(op, [X, ints(1, 3)], {"keepdims": k}) for op in ("ReduceSum", "ReduceMean", "ReduceMax") for k in (0, 1)],
    *[(op, [X, ints(0, 2)], {"keepdims": k}) for op in ("ReduceSum", "ReduceMean", "ReduceMax") for k in (0, 1)],
    *[(op, [X], {"keepdims": 0}) for op in ("ReduceSum", "ReduceMean", "ReduceMax")],
    ("ReduceMax", [(N, 3)], {"noop_with_empty_axes": 1}),
    ("MatMul", [(N, 3, 4), (N, 4, 5)], {}),
    ("MatMul", [(N, 2, 3, 4, 2), (N, 2, 3, 2, 5)], {}),
    *[("Resize", *case) for case in RESIZES],
    *[
        ("ResizeGrad", [(N, 2, 7, 5)], {"input_shape": (2, 3, 4), **how})
        for how in (
            {"mode": "linear"},
            {"mode": "area"},
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            {"scales": (2.4, 1.3)},
        )
    ],
    ("ResizeGrad", [(N, 2, 7)], {"input_shape": (2, 3), "scales": (2.4,)}),
    *[("ReduceMin", [X, ints(1, 3)], {"keepdims": k}) for k in (0, 1)],
    *[("ReduceL2", [X, ints(0, 2)], {"keepdims": k}) for k in (0, 1)],
    ("Concat", [X, (N, 3, 7, 6), (N, 1, 7, 6)], {"axis": 1}),
    ("Concat", [(2, 3), (2, 1)], {"axis": -1}),
    ("Slice", [X, ints(1), ints(3), ints(1)], {}),
    ("Slice", [X, ints(-1, 1), ints(-99, 7), ints(3, 2), ints(-1, 2)], {}),
    ("Slice", [(4, 6), ints(3), ints(0), ints(0), ints(-1)], {}),
    ("Slice", [X, ints(0), ints(9), ints(1)], {}),
    ("SliceGrad", [(N, 2, 3)], {"axes": (1, 2), "starts": (1, 5), "steps": (1, -2), "input_shape": (4, 6)}),
    ("Split", [X, ints(1, 3)], {"axis": 1}),
    ("Transpose", [X], {"perm": (0, 3, 1, 2)}),
    ("Transpose", [(3, 4)], {}),
    ("Expand", [(N, 4, 1, 6), ints(1, 4, 7, 1)], {}),
    ("Expand", [(4, 1), ints(2, 4, 3)], {}),
    ("Squeeze", [(N, 1, 3, 1), ints(1)], {}),
    ("Unsqueeze", [(N, 3), ints(1, 3)], {}),
    ("Resize", [(N, 2, 3, 4), None, np.array([1.0, 1.0, 2.0, 3.0])], {}),
]


def built(op, operands, attributes, outputs=None):
    """The graph of one node, values for its inputs, and the inputs to differentiate."""
    rng = np.random.default_rng(0)
    b, names, values = GraphBuilder(), [], {}
    for i, operand in enumerate(operands):
        name = f"t{i}" if operand is not None else ""
        names.append(name)
        if isinstance(operand, np.ndarray) and op == "SoftmaxCrossEntropyLoss":
            b.input(name, "int64", (N, *operand.shape[1:]))
            values[name] = operand
        elif isinstance(operand, np.ndarray):
            b.constant(operand, name)
        elif operand is not None:
            shape = operand[1:] if operand[:1] == ("positive",) else operand
            b.input(name, F, shape)
            value = rng.normal(size=tuple(2 if dim == N else dim for dim in shape))
            values[name] = value if shape is operand else np.abs(value) + 0.5
    b.add(op, names, attributes, name="node", outputs=outputs or ["y"])
    return b.build(["y"]), values, [name for name in names if name in values and values[name].dtype == np.float64]


def check(graph, values, wrt, output="y", step=1e-6, rules=GRADIENT):
    """Directional derivatives through the oracle against the transformed graph."""
    full, gradients = backward(graph, output, wrt, rules)
    full.validate()
    rng = np.random.default_rng(1)
    seed = rng.normal(size=reference.run(graph, values, [output])[output].shape)
    found = reference.run(full, {**values, "seed": seed}, list(gradients.values()))
    for name in wrt:
        assert full.types[gradients[name]] == graph.types[name]
        for _ in range(3):
            direction = rng.normal(size=values[name].shape)

            def score(t, name=name, direction=direction):
                moved = {**values, name: values[name] + t * direction}
                return (reference.run(graph, moved, [output])[output] * seed).sum()

            expected = (score(step) - score(-step)) / (2 * step)
            ours = (found[gradients[name]] * direction).sum()
            scale = (np.abs(found[gradients[name]]) * np.abs(direction)).sum() + np.abs(seed).sum()
            assert abs(ours - expected) <= 1e-7 * scale, name
    return full


@pytest.mark.parametrize(("op", "operands", "attributes"), CASES)
def test_a_rule_is_the_slope_that_central_differences_see(op, operands, attributes):
    check(*built(op, operands, attributes))


# By convention no slope: their own tests are below.
CONVENTIONS = {"Quantize", "StopGradient"}


def test_every_row_has_a_case():
    assert {case[0] for case in CASES} == set(GRADIENT) - CONVENTIONS


def through(op, attributes, x, *constants, rules=GRADIENT):
    """The gradient of `x`, where that of the result is 1 at odd and -1 at even places."""
    b = GraphBuilder()
    b.add(op, [b.input("x", F, (N, len(x))), *map(b.constant, constants)], attributes, name="y")
    full, gradients = backward(b.build(["y"]), "y", ["x"], rules)
    seed = np.where(np.arange(len(x)) % 2, 1.0, -1.0)
    return reference.run(full, {"x": np.array([x]), "seed": seed[None]}, [gradients["x"]])[gradients["x"]][0]


# Steps of 0.5 from a zero point of 2: 0 to 7 are -1 to 2.5. What rounds to within the range passes, by the step.
GRID = {"low": 0, "high": 7, "activation": ""}
ON_GRID = [-1.3, -1.24, -1.0, -0.1, 0.0, 0.3, 2.5, 2.74, 2.76, np.inf]


def test_a_gradient_passes_straight_through_rounding_and_stops_at_saturation():
    got = through("Quantize", GRID, ON_GRID, np.array(0.5), np.array(2.0))
    np.testing.assert_array_equal(got, [0, 2, -2, 2, -2, 2, -2, 2, 0, 0])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [(GUIDED, [0, 2, 0, 2, 0, 2, 0, 2, 0, 0]), (DECONVNET, [0, 2, 0, 2, 0, 2, 0, 2, 0, 2])],
    ids=["guided", "deconvnet"],
)
def test_saturation_that_stands_for_a_relu_is_one(rules, expected):
    held = {**GRID, "activation": "relu"}
    np.testing.assert_array_equal(
        through("Quantize", held, ON_GRID, np.array(0.5), np.array(2.0), rules=rules), expected
    )
    plain = through("Quantize", GRID, ON_GRID, np.array(0.5), np.array(2.0), rules=rules)
    np.testing.assert_array_equal(plain, through("Quantize", GRID, ON_GRID, np.array(0.5), np.array(2.0)))


def test_nothing_passes_where_a_gradient_is_stopped():
    b = GraphBuilder()
    x = b.input("x", F, (N, 3))
    b.add("Mul", [x, b.add("StopGradient", [x])], name="y")
    full, gradients = backward(b.build(["y"]), "y", ["x"])
    values = {"x": np.array([[1.0, -2.0, 3.0]]), "seed": np.ones((1, 3))}
    np.testing.assert_array_equal(reference.run(full, values, [gradients["x"]])[gradients["x"]], values["x"])


@pytest.mark.parametrize(("op", "operands", "attributes"), [case for case in CASES if len(case[1]) > 1])
def test_only_what_is_asked_for_is_computed(op, operands, attributes):
    graph, _, wrt = built(op, operands, attributes)
    alone = [backward(graph, "y", [name])[0] for name in wrt]
    together = backward(graph, "y", wrt)[0]
    assert all(len(part.nodes) <= len(together.nodes) for part in alone)
    for part, name in zip(alone, wrt, strict=True):
        results = backward(graph, "y", [name])[1]
        pruned = part.subgraph([results[name]])
        extra = {node.op for node in part.nodes} - {node.op for node in pruned.nodes} - {op}
        assert extra <= {"Reshape", "Sqrt", "Div", "Add"}, "a gradient nobody asked for"  # batch norm's shared terms


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([1, 3]), max_size=3), st.lists(st.sampled_from([1, 3]), max_size=3), st.booleans())
def test_gradients_of_broadcast_operands_have_their_shapes(a, b, batched):
    left = (N, 3, *a) if batched else tuple(a)
    right = tuple(b[: len(left) - 1]) if batched else tuple(b)  # the batch must stay in front
    graph, values, wrt = built("Mul", [left, right], {})
    check(graph, values, wrt)


def test_the_gradient_of_log_probabilities_joins_that_of_the_loss():
    graph, values, wrt = built("SoftmaxCrossEntropyLoss", [(N, 3), labels(2)], {}, outputs=["y", "log_prob"])
    b = GraphBuilder(graph)
    total = b.add("Add", ["y", b.add("ReduceSum", [b.add("Tanh", ["log_prob"])], {"keepdims": 0})], name="total")
    full = check(b.build([total]), values, wrt, output="total")
    assert "LogSoftmax" not in {node.op for node in full.nodes}  # the loss's own log_prob is read


def test_a_mean_of_a_residual_block_with_a_reused_relu():
    """A gradient still to be broadcast (the mean's) meets Relu, Add and Conv, and two paths add up."""
    b = GraphBuilder()
    x = b.input("x", F, (N, 2, 5, 4))
    w = b.input("w", F, (2, 2, 3, 3))
    h = b.add("Conv", [b.add("Relu", [x]), w], {"pads": (1, 1, 1, 1)})
    y = b.add("Relu", [b.add("Add", [b.add("Relu", [h]), x])])
    b.add("ReduceMean", [y, b.constant(ints(2, 3))], {"keepdims": 0}, name="y")
    rng = np.random.default_rng(5)
    full = check(b.build(["y"]), {"x": rng.normal(size=(3, 2, 5, 4)), "w": rng.normal(size=(2, 2, 3, 3))}, ["x", "w"])
    # The mean's gradient is never spread out before a convolution asks for it: the masks do it.
    grads = [node for node in full.nodes if node.name.startswith("grad")]
    assert sum(node.op == "Greater" for node in grads) == 3


@pytest.mark.parametrize("mean", [{"axes": (2, 3), "keepdims": 0}, {"axes": (1,)}, {"keepdims": 0}])
def test_a_means_gradient_is_spread_out_for_rules_that_need_it_whole(mean):
    b = GraphBuilder()
    x, w = b.input("x", F, (N, 2, 5, 4)), b.input("w", F, (3, 2, 2, 2))
    bias, scale = b.input("bias", F, (3, 1, 1)), b.input("scale", F, (N, 1, 4, 1))
    y = b.add("MaxPool", [b.add("Conv", [x, w])], {"kernel_shape": (1, 2)})
    y = b.add("Mul", [b.add("Add", [y, bias]), scale])
    b.add("ReduceMean", [y], mean, name="y")
    rng = np.random.default_rng(7)
    shapes = {"x": (2, 2, 5, 4), "w": (3, 2, 2, 2), "bias": (3, 1, 1), "scale": (2, 1, 4, 1)}
    values = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    check(b.build(["y"]), values, ["x", "w", "bias", "scale"])
    b = GraphBuilder(b.build(["y"]))
    b.add("ReduceMean", [b.add("Add", ["conv", bias])], {**mean}, name="plain")
    check(b.build(["plain"]), values, ["x", "w", "bias"], output="plain")


def test_a_loss_as_a_mean_over_the_batch():
    b = GraphBuilder()
    x = b.input("x", F, (N, 3))
    b.add("ReduceMean", [b.add("Exp", [x])], {"keepdims": 0}, name="y")
    check(b.build(["y"]), {"x": np.random.default_rng(0).normal(size=(5, 3))}, ["x"])


def test_a_batch_of_nan_still_has_its_size():
    b = GraphBuilder()
    x = b.input("x", F, (N, 3))
    b.add("ReduceMean", [x, b.constant(ints(0))], {"keepdims": 0}, name="y")
    full, gradients = backward(b.build(["y"]), "y", ["x"])
    results = reference.run(full, {"x": np.full((4, 3), np.nan), "seed": np.ones(3)}, [gradients["x"]])
    np.testing.assert_array_equal(results[gradients["x"]], np.full((4, 3), 0.25))


def test_second_derivatives_of_convolutions():
    b = GraphBuilder()
    x = b.input("x", F, (N, 2, 5, 4))
    w = b.input("w", F, (3, 2, 2, 2))
    y = b.add("Conv", [x, w])
    b.add("ReduceSum", [b.add("Mul", [y, y])], {"keepdims": 0}, name="score")
    seed = b.constant(np.array(1.0), "one")
    first, gradients = backward(b.build(["score"]), "score", ["x"], seed=seed)
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=(2, 2, 5, 4)), "w": rng.normal(size=(3, 2, 2, 2))}
    check(first, values, ["x", "w"], output=gradients["x"])


@pytest.mark.parametrize("counted", [True, False])
def test_batch_norm_in_training_mode(counted):
    b = GraphBuilder()
    x = b.input("x", F, (N, 3, 2, 2))
    operands = [b.input(name, F, (3,)) for name in ("scale", "bias", "mean", "var")]
    correction = None if counted else b.constant(np.array(16 / 15))
    y, new_mean, new_var = expand_batch_norm_training(
        b, x, *operands, momentum=0.25, epsilon=1e-3, correction=correction, name="y"
    )
    graph = b.build([y, new_mean, new_var])
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=(4, 3, 2, 2)), **{n: rng.normal(size=3) for n in ("scale", "bias", "mean", "var")}}
    check(graph, values, ["x", "scale", "bias"])
    results = reference.run(graph, values)
    mean, var = values["x"].mean((0, 2, 3)), values["x"].var((0, 2, 3))
    expected = reference.batch_norm(values["x"], mean, var, values["scale"], values["bias"], eps=1e-3)
    np.testing.assert_allclose(results[y], expected, rtol=1e-12)
    np.testing.assert_allclose(results[new_mean], 0.75 * values["mean"] + 0.25 * mean, rtol=1e-12)
    unbiased = values["x"].var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(results[new_var], 0.75 * values["var"] + 0.25 * unbiased, rtol=1e-12)


def test_folding_before_or_after_changes_no_gradient():
    graph, values, wrt = built("BatchNormalization", [X, (4,), (4,), (4,), positive(4)], {})
    full, gradients = backward(graph, "y", wrt)
    seed = np.random.default_rng(2).normal(size=(2, 4, 7, 6))
    expected = reference.run(full, {**values, "seed": seed})
    folded = reference.run(fold_constants(full), {**values, "seed": seed})
    for name in gradients.values():
        np.testing.assert_array_equal(folded[name], expected[name])


def unary(op, x, attributes=None, operands=()):
    """The gradient of one node at `x`, by a seed of ones."""
    b = GraphBuilder()
    name = b.input("x", F, x.shape)
    b.add(op, [name, *(b.constant(operand) for operand in operands)], attributes or {}, name="y")
    full, gradients = backward(b.build(["y"]), "y", ["x"])
    seed = np.ones(tuple(int(d) for d in full.types["y"].shape))
    return reference.run(full, {"x": x, "seed": seed})[gradients["x"]]


def test_the_gradient_of_relu_at_zero_is_zero():
    np.testing.assert_array_equal(unary("Relu", np.array([-1.0, 0.0, -0.0, 2.0])), [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("low", "attributes", "expected"),
    [
        (0.0, {}, [0, 0, 1, 0, 0]),  # ReLU6 and hardtanh: 0 at the bounds
        (-1.0, {}, [1, 1, 1, 1, 0]),  # clamp: 1 at the bounds
        (0.0, {"gradient_at_bounds": 1}, [0, 1, 1, 1, 0]),
        (-1.0, {"gradient_at_bounds": 0}, [0, 1, 1, 0, 0]),
    ],
)
def test_the_gradient_of_clip_at_its_bounds_is_the_exporting_operators(low, attributes, expected):
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(unary("Clip", x, attributes, [np.array(low), np.array(1.0)]), expected)


def test_the_first_of_tied_maxima_takes_a_pools_gradient():
    x = np.array([[[[-2.0, -1.0], [-1.0, -1.0]]]])
    np.testing.assert_array_equal(unary("MaxPool", x, {"kernel_shape": (2, 2)})[0, 0], [[0, 1], [0, 0]])


def test_tied_operands_share_the_gradient():
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(unary("Max", x, operands=[np.full(3, 2.0)]), [0, 0.5, 1])
    np.testing.assert_array_equal(unary("Min", x, operands=[np.full(3, 2.0)]), [1, 0.5, 0])
    np.testing.assert_array_equal(unary("ReduceMax", np.array([3.0, 1.0, 3.0])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(unary("ReduceMin", np.array([3.0, 1.0, 1.0])), [0, 0.5, 0.5])


def test_the_gradient_of_a_norm_at_zero_is_zero():
    np.testing.assert_array_equal(unary("ReduceL2", np.zeros(3)), [0, 0, 0])


def test_a_part_of_a_split_that_nobody_reads_has_a_gradient_of_zeros():
    graph, values, wrt = built("Split", [X, ints(1, 3)], {"axis": 1}, outputs=["left", "y"])
    check(graph, values, wrt)


def test_an_all_zero_derivative_is_a_gradient_of_zeros():
    np.testing.assert_array_equal(unary("Sign", np.array([-1.0, 5.0])), [0, 0])
