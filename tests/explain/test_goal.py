from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn
from convlens.explain._goal import make_goal
from convlens.explain._output import Output, find_output
from explain.networks import images, small

CLASSES = Output("logits", (5,))
MAPS = Output("masks", (3, 4, 6))
LOGITS = np.array([[1.0, 2.0, 0.5, -1.0, 0.0], [0.0, 0.0, 3.0, 1.0, 1.0]])


def test_an_int_means_every_image():
    goal = make_goal(CLASSES, 2, 3, "output")
    assert goal.score(LOGITS).tolist() == [-1.0, 1.0]
    assert goal.seed(LOGITS).tolist() == [[0, 0, 0, 1, 0]] * 2
    assert goal.target().tolist() == [3, 3]


def test_an_array_means_one_class_per_image():
    goal = make_goal(CLASSES, 2, np.array([0, 2], np.uint8), "output")
    assert goal.score(LOGITS).tolist() == [1.0, 3.0]
    assert goal.take(slice(1, 2)).score(LOGITS[1:]).tolist() == [3.0]


def test_none_is_the_top_class_resolved_once():
    goal = make_goal(CLASSES, 2, None, "output")
    assert not goal.resolved
    resolved = goal.resolve(LOGITS)
    assert resolved.target().tolist() == [1, 2]
    assert resolved.resolve(-LOGITS).target().tolist() == [1, 2]


def test_floats_weight_the_outputs():
    goal = make_goal(CLASSES, 2, np.array([0, 1.0, -1.0, 0, 0]), "output")
    assert goal.score(LOGITS).tolist() == [1.5, -3.0]
    assert goal.seed(LOGITS.astype(np.float32)).dtype == np.float32
    each = make_goal(CLASSES, 2, np.eye(5)[[4, 3]], "output")
    assert each.score(LOGITS).tolist() == [0.0, 1.0]
    assert each.target().shape == (2, 5)


def test_a_tuple_is_a_place():
    goal = make_goal(MAPS, 2, (2, 1, 5), "output")
    output = np.arange(2 * 3 * 4 * 6, dtype=np.float64).reshape(2, 3, 4, 6)
    assert goal.score(output).tolist() == [output[0, 2, 1, 5], output[1, 2, 1, 5]]
    assert goal.target().tolist() == [[2, 1, 5]] * 2
    assert goal.seed(output).sum() == 2
    each = make_goal(MAPS, 2, [(0, 0, 0), (2, 3, 5)], "output")
    assert each.score(output).tolist() == [output[0, 0, 0, 0], output[1, 2, 3, 5]]


def test_the_loss_is_cross_entropy_and_its_gradient():
    goal = make_goal(CLASSES, 2, [1, 0], "loss")
    chances = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert np.allclose(goal.score(LOGITS), -np.log(chances[[0, 1], [1, 0]]))
    assert np.allclose(goal.seed(LOGITS), chances - np.eye(5)[[1, 0]])
    huge = goal.score(LOGITS * 1e4)
    assert np.isfinite(huge).all()


def test_one_value_per_image_is_that_value():
    goal = make_goal(Output("score", ()), 2, None, "output").resolve(np.array([3.0, -2.0]))
    assert goal.score(np.array([3.0, -2.0])).tolist() == [3.0, -2.0]
    assert make_goal(Output("score", (1, 1, 1)), 2, None, "output").shape == (1, 1, 1)


def test_classes_with_axes_of_one_are_classes():
    goal = make_goal(Output("logits", (5, 1, 1)), 2, [4, 2], "output")
    assert goal.score(LOGITS.reshape(2, 5, 1, 1)).tolist() == [0.0, 3.0]


@pytest.mark.parametrize(
    ("output", "target", "of", "error", "text"),
    [
        (
            MAPS,
            None,
            "output",
            ValueError,
            r"`target` \(=None\) has no top class: 'masks' has the shape \(N, 3, 4, 6\)",
        ),
        (MAPS, 2, "output", ValueError, r"`target` \(=2\) cannot be a class.*give a tuple index such as \(1, 2, 3\)"),
        (MAPS, (3, 0, 0), "output", ValueError, "is no place in 'masks'"),
        (MAPS, (1, 0.5, 0), "output", TypeError, "must be a tuple of int"),
        (MAPS, [(0, 0, 0)], "output", ValueError, "`target` has 1 places for 2 images"),
        (Output("tags", (4,), "p", "Sigmoid"), None, "output", ValueError, "each of the 4 outputs of 'tags'"),
        (Output("tags", (4,), "p", "Sigmoid"), 0, "loss", ValueError, "read through Sigmoid"),
        (CLASSES, None, "loss", ValueError, "must hold the labels"),
        (CLASSES, [0, 1, 2], "loss", ValueError, r"`target` has the shape \(3,\) for 2 images"),
        (CLASSES, 0, "probability", ValueError, r"`of` \(='probability'\) must be"),
        (CLASSES, np.ones(4), "output", ValueError, r"has the shape \(4,\); a float array weights the outputs"),
        (CLASSES, np.full(5, np.nan), "output", ValueError, "NaN or infinite weights"),
    ],
)
def test_what_cannot_be_explained_says_what_can(output, target, of, error, text):
    with pytest.raises(error, match=text):
        make_goal(output, 2, target, of)


@pytest.mark.parametrize("ending", [nn.Softmax, nn.LogSoftmax, nn.Sigmoid])
def test_probabilities_are_seen_through_a_reshape(ending):
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(out_features=6, name="head"), ending(), nn.Reshape(shape=(2, 3)), input_shape=(1, 4, 4)
    )
    found = find_output(net)
    assert found.name == "head"
    assert found.probability == net.output_name
    assert found.multi_label == (ending is nn.Sigmoid)


def test_an_inner_tensor_can_be_explained():
    net, x = small(), images(1)
    why = explain.saliency(net, x, (3, 4, 5), output="relu1")
    assert why.output == "relu1"
    assert why.score[0] == net.activations(x, ["relu1"])["relu1"][0, 3, 4, 5]
    # One place of the first layer sees its kernel's window only: rows 4 to 6, columns 4 and 5 (padding left is 1).
    rows, columns = np.nonzero(np.abs(why.values[0]).sum(axis=0))
    if rows.size:
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 6, 4, 5)
    assert rows.size or why.score[0] == 0
