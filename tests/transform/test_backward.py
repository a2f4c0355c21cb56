"""The engine of backward: which nodes, which rules, which errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convlens import UnsupportedError, reference
from convlens.graph import OPERATORS, GraphBuilder
from convlens.transform import DECONVNET, GRADIENT, GUIDED, Composite, RuleTable, backward, rule_notes, rule_table

F = "float64"


def chain():
    """x -> a (Tanh) -> b (Relu) -> c (Mul by weight) and a branch that the output does not read."""
    b = GraphBuilder()
    x = b.input("x", F, ("N", 4))
    weight = b.constant(np.array([1.0, -2.0, 3.0, -4.0]), "weight")
    a = b.add("Tanh", [x], name="a")
    r = b.add("Relu", [a], name="b")
    c = b.add("Mul", [r, weight], name="c")
    d = b.add("Exp", [a], name="d")
    return b.build([c, d])


X = np.array([[1.0, 1.0, -1.0, -1.0]])


def run(full, names, seed, x=X):
    results = reference.run(full, {"x": x, "seed": np.asarray(seed, np.float64)}, list(names.values()))
    return {name: results[tensor] for name, tensor in names.items()}


def test_inner_tensors_inputs_and_constants_are_served_together():
    full, names = backward(chain(), "c", ["x", "b", "weight"])
    found = run(full, names, [[1, 1, 1, 1]])
    np.testing.assert_array_equal(found["b"], [[1, -2, 3, -4]])
    slope = 1 - np.tanh(1) ** 2
    np.testing.assert_allclose(found["x"], [[slope, -2 * slope, 0, 0]], rtol=1e-15)
    np.testing.assert_allclose(found["weight"], [np.tanh(1), np.tanh(1), 0, 0], rtol=1e-15)


def test_the_forward_outputs_stay_and_the_gradients_follow():
    full, names = backward(chain(), "c", ["x"])
    assert full.outputs == ("c", "d", names["x"])
    assert full.nodes[:4] == chain().nodes


def test_nodes_off_the_path_get_no_gradient():
    full, names = backward(chain(), "c", ["b"])
    added = full.nodes[len(chain().nodes) :]
    assert [node.op for node in added] == ["Mul"]
    assert names["b"] == added[0].outputs[0]


def test_the_seed_is_an_input_of_the_outputs_type():
    full, _ = backward(chain(), "c", ["x"], seed="grad_c")
    assert full.inputs["grad_c"] == full.types["c"]


def test_a_constant_seed_is_broadcast():
    b = GraphBuilder(chain())
    one = b.constant(np.array(1.0), "one")
    graph = b.build(["c"])
    full, names = backward(graph, "c", ["x", "weight"], seed=one)
    assert list(full.inputs) == ["x"]
    expected = run(*backward(graph, "c", ["x", "weight"]), np.ones((1, 4)))
    found = reference.run(full, {"x": X}, list(names.values()))
    for name, tensor in names.items():
        np.testing.assert_array_equal(found[tensor], expected[name])


def test_a_seed_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"`seed` 'weight' is float64\(4\); it must broadcast to 'c', float64\(N, 4\)"):
        backward(chain(), "c", ["x"], seed="weight")


def test_two_outputs_can_be_taken_one_after_the_other():
    full, first = backward(chain(), "c", ["x"], seed="seed_c")
    full, second = backward(full, "d", ["x"], seed="seed_d")
    results = reference.run(full, {"x": X, "seed_c": np.ones((1, 4)), "seed_d": np.ones((1, 4))})
    slope = 1 - np.tanh(X) ** 2
    np.testing.assert_allclose(results[first["x"]], np.where(X > 0, slope * [1, -2, 3, -4], 0), rtol=1e-15)
    np.testing.assert_allclose(results[second["x"]], slope * np.exp(np.tanh(X)), rtol=1e-15)


def test_the_gradient_of_a_tensor_by_itself_is_the_seed():
    full, names = backward(chain(), "c", ["c"])
    np.testing.assert_array_equal(run(full, names, [[1, 2, 3, 4]])["c"], [[1, 2, 3, 4]])


def test_a_tensor_read_twice_gets_the_sum():
    b = GraphBuilder()
    x = b.input("x", F, ("N", 4))
    graph = b.build([b.add("Mul", [x, x], name="y")])
    full, names = backward(graph, "y", ["x"])
    np.testing.assert_array_equal(run(full, names, np.ones((1, 4)))["x"], 2 * X)


def test_no_influence_is_an_error():
    with pytest.raises(ValueError, match="'d' does not depend on 'weight'"):
        backward(chain(), "d", ["weight"])


def test_unknown_and_integer_tensors_are_errors():
    with pytest.raises(ValueError, match="'nothing' is not a tensor of the graph"):
        backward(chain(), "c", ["nothing"])
    b = GraphBuilder()
    x, labels = b.input("x", F, ("N", 4)), b.input("labels", "int64", ("N",))
    graph = b.build([b.add("SoftmaxCrossEntropyLoss", [x, labels], name="loss")])
    with pytest.raises(ValueError, match=r"'labels' is int64\(N\); only floating-point tensors have gradients"):
        backward(graph, "loss", ["labels"])


def test_an_operator_without_a_rule_is_named_with_what_has_one():
    rules = RuleTable("small", {op: GRADIENT[op] for op in ("Mul", "Tanh")})
    with pytest.raises(UnsupportedError) as caught:
        backward(chain(), "c", ["x"], rules)
    assert str(caught.value) == (
        "node 'b' (Relu): the rules 'small' have no rule for this operator; they have rules for Mul, Tanh"
    )


def test_a_node_off_the_path_needs_no_rule():
    rules = RuleTable("small", {op: GRADIENT[op] for op in ("Mul", "Tanh", "Relu")})
    backward(chain(), "c", ["x"], rules)  # d is an Exp


def test_a_composite_takes_the_first_row_that_holds():
    def blocked(ctx, node, grads):
        return (ctx.times(grads[0], 0.0),)

    def doubled(ctx, node, grads):
        return (ctx.times(grads[0], 2.0),)

    rows = [(lambda node: node.name == "b", doubled), (lambda node: node.op == "Relu", blocked)]
    found = run(*backward(chain(), "c", ["a"], Composite("mine", rows, GRADIENT)), np.ones((1, 4)))
    np.testing.assert_array_equal(found["a"], [[2, -4, 6, -8]])


def test_masks_are_comparisons_with_a_scalar_zero_that_feed_where():
    full, _ = backward(chain(), "c", ["x"])
    greater = next(node for node in full.nodes if node.op == "Greater")
    where = next(node for node in full.nodes if node.op == "Where")
    assert greater.inputs[0] == "b"
    assert where.inputs[0] == greater.outputs[0]
    for zero in (greater.inputs[1], where.inputs[2]):
        value = full.constants[zero]
        assert (value.shape, value.dtype, float(value)) == ((), np.float64, 0.0)


SEED = [[5.0, 5.0, 5.0, -5.0]]  # times weight: 5, -10, 15, 20; active: yes, yes, no, no


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (GRADIENT, [[5, -10, 0, 0]]),
        (GUIDED, [[5, 0, 0, 0]]),  # active and positive
        (DECONVNET, [[5, 0, 15, 20]]),  # positive
    ],
)
def test_relu_rows_by_hand(rules, expected):
    found = run(*backward(chain(), "c", ["a"], rules), SEED)
    np.testing.assert_array_equal(found["a"], expected)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [(GRADIENT, [[0, 5, -10, 0]]), (GUIDED, [[0, 5, 0, 0]]), (DECONVNET, [[5, 5, 0, 5]])],
)
def test_clip_rows_by_hand(rules, expected):
    b = GraphBuilder()
    x = b.input("x", F, ("N", 4))
    graph = b.build([b.add("Clip", [x, b.constant(np.array(0.0)), b.constant(np.array(6.0))], name="relu6")])
    full, names = backward(graph, "relu6", ["x"], rules)
    x = np.array([[-1.0, 1.0, 2.0, 7.0]])
    np.testing.assert_array_equal(run(full, names, [[5, 5, -10, 5]], x)["x"], expected)
    assert bool(rule_notes(graph, rules)) == (rules is not GRADIENT)


def test_guided_and_deconvnet_differ_from_the_gradient_in_the_relu_rows_alone():
    for table in (GUIDED, DECONVNET):
        assert {op for op in GRADIENT if table[op] is not GRADIENT[op]} == {"Relu", "Clip", "Quantize"}
        assert set(table) == set(GRADIENT)


def test_the_rule_table_has_a_line_for_every_operator():
    lines = [line.split(" | ") for line in rule_table().splitlines() if line.startswith("| ")]
    assert {line[0].strip("| ") for line in lines} == {"operator", *OPERATORS}
    assert ["| Relu", "gradient", "guided", "deconvnet |"] in lines
    assert ["| Greater", "-", "-", "- |"] in lines


def test_the_same_call_gives_the_same_graph():
    first, second = (backward(chain(), "c", ["x", "weight"])[0] for _ in range(2))
    assert first.nodes == second.nodes


def test_the_documented_table_is_the_one_in_force():
    page = Path(__file__).parents[2] / "docs" / "rules.md"
    assert page.read_text().endswith("\n\n" + rule_table()), "replace the table in docs/rules.md by rule_table()"
