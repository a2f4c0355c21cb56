from __future__ import annotations

import numpy as np
import pytest

from convlens import diagnose, nn

LABELS = [0, 0, 1, 1, 2, 2, 2]
PREDICTED = [0, 1, 1, 1, 0, 2, 0]


def softmax_of(labels, predicted, confidence):
    """Probabilities that put `confidence` on the prediction and the rest on the label."""
    chances = np.zeros((len(labels), 3))
    for i, (true, taken, sure) in enumerate(zip(labels, predicted, confidence, strict=True)):
        chances[i] = (1 - sure) / 4
        chances[i, true] += 1 - chances[i].sum() - sure + chances[i, taken]
        chances[i, taken] = sure
        chances[i] /= chances[i].sum()
    return chances


def identity(ending=None, classes=3):
    """A network whose logits are its pixels."""
    layers = [nn.Flatten(), nn.Linear(out_features=classes, bias=False), *([ending] if ending else [])]
    net = nn.Sequential(*layers, input_shape=(1, 1, classes))
    net.set_parameters({"linear1.weight": np.eye(classes)})
    return net


def test_counts_by_hand():
    assert diagnose.accuracy(PREDICTED, LABELS) == 4 / 7
    assert diagnose.confusion_matrix(PREDICTED, LABELS).tolist() == [[1, 1, 0], [0, 2, 0], [2, 0, 1]]
    assert diagnose.misclassification_rate(PREDICTED, LABELS).tolist() == [0.5, 0.0, 2 / 3]


def test_a_class_without_images_has_no_rate():
    rate = diagnose.misclassification_rate(PREDICTED, LABELS, n_classes=4)
    assert np.isnan(rate[3])
    assert diagnose.confusion_matrix(PREDICTED, LABELS, n_classes=4).shape == (4, 4)


def test_logits_and_probabilities_give_the_same():
    logits = np.random.default_rng(0).standard_normal((50, 3)) * 3
    labels = np.random.default_rng(1).integers(0, 3, 50)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for outputs in (logits, chances):
        assert np.array_equal(
            diagnose.confusion_matrix(outputs, labels), diagnose.confusion_matrix(logits.argmax(axis=1), labels)
        )
    ours = [(one.index, round(one.confidence, 12)) for one in diagnose.worst_mistakes(logits, labels)]
    assert ours == [(one.index, round(one.confidence, 12)) for one in diagnose.worst_mistakes(chances, labels)]


def test_the_surest_mistakes_come_first_and_ties_in_order():
    labels, predicted = [0, 1, 2, 0, 1], [1, 1, 0, 2, 2]
    found = diagnose.worst_mistakes(softmax_of(labels, predicted, [0.7, 0.9, 0.95, 0.7, 0.6]), labels, count=3)
    assert [one.index for one in found] == [2, 0, 3]
    assert (found[0].label, found[0].predicted) == (2, 0)
    assert found[0].confidence == pytest.approx(0.95)
    assert found[0].doubt < 0.05
    assert repr(found[:1]) == "2 taken for 0 with 95%, image 2"
    assert len(found[1:]) == 2


def test_no_mistakes():
    assert repr(diagnose.worst_mistakes(np.eye(3), [0, 1, 2])) == "no mistakes"


@pytest.mark.parametrize("ending", [None, nn.Softmax, nn.LogSoftmax])
def test_probabilities_whatever_the_network_ends_in(ending):
    x = np.random.default_rng(0).standard_normal((6, 1, 1, 3)).astype(np.float32)
    chances = diagnose.predict(identity(ending and ending()), x)
    logits = x.reshape(6, 3).astype(np.float64)
    assert np.allclose(chances, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)


def test_a_report_prints_rates_confusions_and_mistakes():
    x = 4 * np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]].reshape(5, 1, 1, 3)
    found = diagnose.report(identity(), x, [0, 1, 1, 2, 0], names=["cat", "dog", "owl"])
    assert found.accuracy == 0.6
    text = repr(found)
    assert text.startswith("accuracy 0.6000 (3 of 5 right)")
    assert "cat         2      1   50.0%  owl (1)" in text
    assert "owl         1      0    0.0%" in text
    assert "dog taken for cat with 96%, image 1" in text


def test_a_report_draws_itself():
    pytest.importorskip("matplotlib")
    x = 4 * np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]].reshape(5, 1, 1, 3)
    found = diagnose.report(identity(), x, [0, 1, 1, 2, 0])
    assert "3 of 5 right" in found.plot_confusion().alt_text
    assert "taken for 2" in found.plot_mistakes(x).alt_text


@pytest.mark.parametrize("ending", [nn.Sigmoid])
def test_a_network_of_several_answers_is_refused(ending):
    with pytest.raises(ValueError, match=r"must choose one of several classes.*several sigmoids"):
        diagnose.predict(identity(ending()), np.zeros((1, 1, 1, 3), np.float32))


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (np.eye(3)[[0, 1]], ValueError, r"one-hot labels become numbers with labels.argmax\(axis=1\)"),
        ([[0], [1]], ValueError, r"labels\[:, 0\]"),
        ([0, 1, 2], ValueError, r"has the shape \(3,\) for 2 images"),
        ([0.0, 1.0], TypeError, r"labels.astype\(int\)"),
        (["a", "b"], TypeError, "classes are integers from 0"),
        ([0, 3], ValueError, "holds 3; it must be below the 3 classes"),
        ([1, 3], ValueError, "subtract 1"),
        ([-1, 0], ValueError, "holds -1; it must be 0 or more"),
    ],
)
def test_wrong_labels_say_what_to_do(labels, error, text):
    with pytest.raises(error, match=text):
        diagnose.check_labels(labels, 2, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: diagnose.accuracy(np.zeros((2, 3, 4)), [0, 1]), "floats .N, K."),
        (lambda: diagnose.accuracy([[np.nan, 1.0]], [0]), "first in row 0"),
        (lambda: diagnose.worst_mistakes([0, 1], [0, 1]), r"must be \(N, K\)"),
        (lambda: diagnose.worst_mistakes(np.eye(2), [0, 1], count=0), "`count`"),
        (
            lambda: diagnose.report(identity(), np.zeros((1, 1, 1, 3), np.float32), [0], names=["a"]),
            "1 names for the 3",
        ),
        (lambda: diagnose.confusion_matrix([0, 5], [0, 1], n_classes=3), "`outputs` holds 5"),
    ],
)
def test_wrong_outputs_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_accuracy_of_nothing_is_nan():
    assert np.isnan(diagnose.accuracy([], []))
