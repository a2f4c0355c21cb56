"""fit: learning, reproducibility, resuming, interrupts, errors."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, train
from convlens.train._data import shuffled
from convlens.train._fit import _Run
from train.networks import data, residual


def _bits(net):
    return {name: array.tobytes() for name, array in net.parameters.items()}


def _fit(net, **changes):
    images, labels = data()
    arguments = {"epochs": 3, "batch_size": 8, "optimizer": train.Adam(1e-2), "progress": False, **changes}
    return train.fit(net, images, labels, **arguments)


def test_exclusive_or_is_learnt():
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(200, 2))
    images = (bits[:, :, None, None] * 2.0 - 1).astype(np.float32)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(out_features=8), nn.Tanh(), nn.Linear(out_features=2), input_shape=(2, 1, 1)
    )
    history = train.fit(net, images, bits[:, 0] ^ bits[:, 1], epochs=30, optimizer=train.Adam(0.03), progress=False)
    assert history.accuracy[-1] == 1.0
    assert history.loss[-1] < 0.05
    assert (net(images).argmax(1) == bits[:, 0] ^ bits[:, 1]).all()


def test_history_has_every_number_of_every_epoch():
    images, labels = data(20, seed=1)
    net = residual()
    history = _fit(net, validation=(images, labels), schedule=train.StepDecay(every=1, factor=0.5))
    assert history.epochs == 3
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy", "lr", "seconds"):
        assert len(getattr(history, name)) == 3, name
    np.testing.assert_allclose(history.lr, [1e-2, 5e-3, 2.5e-3])
    logits = net(images).astype(np.float64)
    assert history.validation_accuracy[-1] == (logits.argmax(1) == labels).mean()
    log_sum = np.log(np.exp(logits).sum(1))
    assert history.validation_loss[-1] == pytest.approx((log_sum - logits[np.arange(20), labels]).mean(), rel=1e-9)
    assert history.loss[-1] < history.loss[0]
    assert "3 epochs" in repr(history)


def test_same_seed_gives_the_same_bits_and_another_does_not():
    first, second, other = residual(norm=False), residual(norm=False), residual(norm=False)
    _fit(first, seed=1)
    _fit(second, seed=1)
    _fit(other, seed=2)
    assert _bits(first) == _bits(second)
    assert _bits(first) != _bits(other)


def test_fit_publishes_a_version_an_epoch():
    net = residual()
    _fit(net)
    assert net.version == 3


@pytest.mark.parametrize(
    "optimizer", [train.SGD(1e-2, momentum=0.9), train.Adam(1e-2), train.AdamW(1e-2)], ids=lambda o: type(o).__name__
)
def test_resuming_gives_the_bits_of_an_uninterrupted_run(tmp_path, optimizer):
    schedule = train.CosineDecay()
    whole = residual(norm=False)
    expected = _fit(whole, optimizer=optimizer, schedule=schedule, epochs=4)

    path = tmp_path / "training.npz"
    begun = residual(norm=False)
    calls = iter(range(1000))

    def stop_in_the_third_epoch(epoch, epochs):
        if next(calls) == 12:
            raise KeyboardInterrupt
        return schedule(epoch, epochs)

    interrupted = _fit(begun, optimizer=optimizer, schedule=stop_in_the_third_epoch, epochs=4, checkpoint=path)
    assert (interrupted.epochs, interrupted.stopped) == (2, "interrupted")

    resumed = residual(seed=99, norm=False)

    def same_schedule(epoch, epochs):
        return schedule(epoch, epochs)

    history = _fit(resumed, optimizer=optimizer, schedule=same_schedule, epochs=4, checkpoint=path)
    assert _bits(resumed) == _bits(whole)
    assert history.loss == expected.loss
    assert history.stopped == ""


def test_interrupt_keeps_what_was_learnt():
    net = residual()
    before = _bits(net)

    def interrupt(epoch, epochs):
        if epoch >= 0.5:
            raise KeyboardInterrupt
        return 1.0

    history = _fit(net, schedule=interrupt)
    assert (history.epochs, history.stopped) == (0, "interrupted")
    assert _bits(net) != before
    assert "no epoch completed" in repr(history)


def test_finished_checkpoint_is_not_trained_further(tmp_path):
    path = tmp_path / "training.npz"
    net = residual()
    _fit(net, checkpoint=path)
    again = residual(seed=7)
    history = _fit(again, checkpoint=path)
    assert history.epochs == 3
    assert _bits(again) == _bits(net)
    _fit(again, checkpoint=path, resume=False)
    assert _bits(again) != _bits(net)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 5}, "was written with seed=0, now it is 5.*pass resume=False"),
        ({"batch_size": 9}, "batch_size=8, now it is 9"),
        ({"optimizer": train.Adam(0.5)}, "optimizer="),
        ({"frozen": ["a"]}, "trainable="),
    ],
)
def test_checkpoint_of_another_training_is_refused(tmp_path, change, text):
    _fit(residual(), checkpoint=tmp_path / "training.npz", epochs=1)
    with pytest.raises(ValueError, match=text):
        _fit(residual(), checkpoint=tmp_path / "training.npz", **change)


def test_broken_checkpoint_is_refused(tmp_path):
    path = tmp_path / "training.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"training.npz"):
        _fit(residual(), checkpoint=path)
    residual().save(path)
    with pytest.raises(ValueError, match=r"not a checkpoint"):
        _fit(residual(), checkpoint=path)


def test_early_stopping_ends_and_restores_the_best():
    images, labels = data(12, seed=5)
    stopping = train.EarlyStopping(patience=1, monitor="validation_loss")
    net = residual()
    rates = iter([1e-2] * 10 + [10.0] * 1000)  # two epochs that help, then ruin
    history = _fit(
        net,
        epochs=50,
        optimizer=train.SGD(1.0),
        schedule=lambda epoch, epochs: next(rates),
        validation=(images, labels),
        early_stopping=stopping,
    )
    assert history.stopped == "early stopping"
    assert history.epochs == history.best_epoch + 3
    logits = net(images).astype(np.float64)
    loss = (np.log(np.exp(logits).sum(1)) - logits[np.arange(12), labels]).mean()
    assert loss == pytest.approx(min(history.validation_loss), rel=1e-9)


def test_early_stopping_counts_only_improvements_above_min_delta():
    stopping = train.EarlyStopping(monitor="accuracy", min_delta=0.05)
    assert stopping.best_epoch([0.5, 0.52, 0.56, 0.58]) == 2
    assert train.EarlyStopping(monitor="loss").best_epoch([3.0, 2.0, 2.0, float("nan")]) == 1


@pytest.mark.parametrize(
    ("frozen", "still"),
    [
        (["a"], {"a.weight", "a.bias"}),
        (["*.bias"], {"a.bias", "b.bias", "norm.bias", "head.bias"}),
        ("norm", {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}),
    ],
)
def test_frozen_names_keep_their_bits_and_the_others_do_not(frozen, still):
    net = residual()
    before = _bits(net)
    _fit(net, frozen=frozen)
    after = _bits(net)
    assert {name for name in before if after[name] == before[name]} == still


def test_network_that_ends_in_softmax_learns_as_without():
    images, labels = data()
    layers = lambda: (nn.Conv2d(out_channels=3, kernel_size=3), nn.Flatten(), nn.Linear(out_features=3))  # noqa: E731
    plain = nn.Sequential(*layers(), input_shape=(2, 9, 7))
    for end in (nn.Softmax(), nn.LogSoftmax()):
        ended = nn.Sequential(*layers(), end, input_shape=(2, 9, 7))
        for net in (plain, ended):
            train.fit(net, images, labels, epochs=2, progress=False, resume=False)
        assert _bits(plain) == _bits(ended)
        plain = nn.Sequential(*layers(), input_shape=(2, 9, 7))


def test_loss_that_is_not_a_number_stops_and_keeps_the_last_good_weights():
    net = residual(norm=False)
    rates = iter([1e-2] * 5 + [1e30] * 100)
    kept = residual(norm=False)
    _fit(kept, epochs=1, optimizer=train.SGD(1.0), schedule=lambda epoch, epochs: 1e-2)
    with pytest.raises(
        ValueError, match=r"loss became (nan|inf).*epoch 2, batch [1-5] of 5.*lower `lr`.*after epoch 1"
    ):
        _fit(net, optimizer=train.SGD(1.0), schedule=lambda epoch, epochs: next(rates))
    assert _bits(net) == _bits(kept)


def test_images_with_nan_say_before_training():
    images, labels = data()
    images[3] = np.nan
    net = residual(norm=False)
    before = _bits(net)
    with pytest.raises(ValueError, match=r"epoch 1.*look for NaN.*before training"):
        train.fit(net, images, labels, epochs=1, batch_size=64, progress=False)
    assert _bits(net) == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, r"`epochs` \(=0\)"),
        ({"batch_size": -1}, r"`batch_size` \(=-1\)"),
        ({"frozen": ["nothing*"]}, r"`frozen` holds 'nothing\*', which fits none of a.weight"),
        ({"frozen": ["*"]}, "leaves nothing to learn"),
        ({"early_stopping": train.EarlyStopping()}, "give `validation`"),
        ({"validation": (data()[0], data()[1][:3])}, r"`validation\[1\]` has shape \(3,\)"),
    ],
)
def test_wrong_argument_is_named_with_its_remedy(change, text):
    with pytest.raises(ValueError, match=text):
        _fit(residual(), **change)


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (np.zeros(36, int), ValueError, r"`labels` has shape \(36,\), it must be \(37,\)"),
        (np.full(37, 3), ValueError, "classes 0 to 2.*out_features=4"),
        (np.full(37, -1), ValueError, "`labels` holds -1"),
        (np.eye(3)[np.zeros(37, int)], ValueError, r"labels.argmax\(axis=1\)"),
        (np.zeros(37), TypeError, r"labels.astype\(np.int64\)"),
    ],
)
def test_wrong_labels_are_named_with_their_remedy(labels, error, text):
    with pytest.raises(error, match=text):
        train.fit(residual(), data()[0], labels, epochs=1)


def test_network_that_is_no_classifier_is_refused():
    images, labels = data()
    net = nn.Sequential(nn.Conv2d(out_channels=3, kernel_size=3), input_shape=(2, 9, 7))
    with pytest.raises(ValueError, match=r"a classifier ends in \(N, classes\)"):
        train.fit(net, images, labels, epochs=1)
    x = nn.Input((2, 9, 7))
    y = nn.Linear(out_features=3)(nn.Flatten()(x))
    with pytest.raises(ValueError, match="a classifier has one"):
        train.fit(nn.Network(inputs=x, outputs=[y, nn.ReLU()(y)]), images, labels, epochs=1)


def test_batch_of_one_value_a_channel_is_refused_before_training():
    net = nn.Sequential(
        nn.GlobalAvgPool2d(), nn.BatchNorm2d(), nn.Flatten(), nn.Linear(out_features=3), input_shape=(2, 9, 7)
    )
    with pytest.raises(ValueError, match=r"`batch_size` \(=36\).*'batch_norm1' has one value"):
        _fit(net, batch_size=36)


def test_progress_is_a_line_an_epoch_without_tqdm(capsys, monkeypatch):
    monkeypatch.setattr("convlens.train._progress._tqdm", lambda: None)
    _fit(residual(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3: loss ")


def test_silent_training_prints_nothing(capsys):
    _fit(residual())
    assert capsys.readouterr() == ("", "")


def test_history_is_drawn_with_a_caption_in_words():
    pytest.importorskip("matplotlib")
    images, labels = data(20, seed=1)
    picture = _fit(residual(), epochs=2, validation=(images, labels)).plot()
    assert "loss" in picture.alt_text


class _Recorder(train.SGD):
    """SGD that notes the steps and rates it is asked for."""

    def __init__(self):
        super().__init__(1e-3)

    def scalars(self, step, lr):
        _asked.append((step, lr))
        return super().scalars(step, lr)


_asked: list[tuple[int, float]] = []


def test_steps_are_counted_over_epochs_and_the_schedule_sees_fractions_of_them(tmp_path):
    _asked.clear()
    path = tmp_path / "training.npz"
    schedule = lambda epoch, epochs: 1 + epoch / epochs  # noqa: E731
    _fit(residual(), epochs=2, optimizer=_Recorder(), schedule=schedule, checkpoint=path)
    first = _asked[1:]  # the graph asks once for the names
    _asked.clear()
    _fit(residual(), epochs=3, optimizer=_Recorder(), schedule=schedule, checkpoint=path)
    steps, rates = zip(*first, *_asked[1:], strict=True)
    assert steps == tuple(range(1, 16))
    expected = [(1 + i / 5 / 2) * 1e-3 for i in range(10)] + [(1 + i / 5 / 3) * 1e-3 for i in range(10, 15)]
    np.testing.assert_allclose(rates, expected)


def test_order_is_a_permutation_of_its_seed_and_epoch():
    orders = {(s, e): shuffled(50, seed=s, epoch=e) for s in (0, 1) for e in (0, 1)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len({order.tobytes() for order in orders.values()}) == 4
    np.testing.assert_array_equal(orders[1, 1], shuffled(50, seed=1, epoch=1))


def test_last_batch_takes_what_is_left(monkeypatch):
    sizes = []
    step = _Run._step
    monkeypatch.setattr(_Run, "_step", lambda self, rows, *rest: sizes.append(len(rows)) or step(self, rows, *rest))
    _fit(residual(), epochs=1)
    assert sizes == [8, 8, 8, 8, 5]
