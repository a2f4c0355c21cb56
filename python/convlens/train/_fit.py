"""`fit`: the loop over epochs and batches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ..nn import Network
from ..program import Entry, Program, State, Weights
from ..program import compile as compile_program
from ._checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ._data import check_labels, cross_entropy, shuffled
from ._early_stopping import EarlyStopping
from ._graph import TrainingGraph, training_graph
from ._history import History
from ._optimizers import Adam, Optimizer
from ._progress import Progress
from ._schedules import Constant, Schedule

Array = npt.NDArray[Any]


def fit(
    net: Network,
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    epochs: int,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    seed: int = 0,
    early_stopping: EarlyStopping | None = None,
    frozen: Iterable[str] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> History:
    """Train a classifier in place by the cross-entropy of its logits.

    After every epoch the network gets a new version of its weights; ``net(x)`` stays inference throughout. A network
    that ends in Softmax or LogSoftmax is trained on the tensor before it.

    Parameters
    ----------
    net : Network
        Its output, or what comes before its softmax, is (N, classes).
    images : ndarray of shape (N, C, H, W)
    labels : ndarray of shape (N,), integers
        Classes from 0.
    epochs : int
        Passes over the images; with `resume`, those of the checkpoint count.
    batch_size : int
        Images a step; the last step of an epoch takes what is left.
    optimizer : Optimizer
        Default ``Adam()``.
    schedule : callable, optional
        ``(epoch, epochs) -> factor`` of the learning rate; see :mod:`convlens.train`.
    validation : tuple of ndarray, optional
        (images, labels) held out and measured after every epoch.
    seed : int
        Of the order of the images, which in an epoch depends on (seed, epoch) alone, and of what Dropout drops.
    early_stopping : EarlyStopping, optional
    frozen : iterable of str
        Globs over names of parameters or layers that stay as they are: ``"conv1"``, ``"*.bias"``. A batch normalisation
        whose running statistics are frozen runs as in inference.
    checkpoint : path-like, optional
        An .npz written after every epoch, in one piece.
    resume : bool
        Go on where `checkpoint` ends, to the same bits as without the break; where there is none, begin.
    progress : bool
        Show a bar (extra ``[progress]``) or a line an epoch, on stderr.

    Returns
    -------
    History
        An interrupt (Ctrl-C) ends training and keeps what was learnt; ``history.stopped`` says so.

    Raises
    ------
    TypeError, ValueError
        An argument does not fit; the message says what to do. Or the loss became NaN or infinite: the network keeps the
        weights of the last whole epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import nn, train
    >>> x = np.random.default_rng(0).normal(size=(64, 1, 4, 4)).astype(np.float32)
    >>> y = (x[:, 0, 0, 0] > 0).astype(int)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 4, 4))
    >>> history = train.fit(net, x, y, epochs=20, optimizer=train.Adam(0.05), progress=False)
    >>> history.accuracy[-1] > 0.9
    True
    """
    optimizer = Adam() if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"`optimizer` (={optimizer!r}) must be an Optimizer, such as train.Adam(1e-3)")
    schedule = Constant() if schedule is None else schedule
    _at_least_one("epochs", epochs)
    _at_least_one("batch_size", batch_size)
    logits = _logits(net)
    data = _checked(net, logits, "images", "labels", images, labels)
    held_out = None
    if validation is not None:
        held_out = _checked(net, logits, "validation[0]", "validation[1]", *validation)
    if early_stopping is not None and early_stopping.monitor.startswith("validation") and held_out is None:
        raise ValueError(f"`early_stopping` watches {early_stopping.monitor}: give `validation`=(images, labels)")
    patterns = [frozen] if isinstance(frozen, str) else list(frozen)
    trainable, followed = _learned(net, patterns)
    plan = training_graph(net.graph, logits, trainable, followed, optimizer)
    _check_statistics(plan, len(data.labels), batch_size)
    settings = {
        "optimizer": optimizer.describe(),
        "schedule": _description(schedule),
        "batch_size": batch_size,
        "seed": seed,
        "images": len(data.labels),
        "trainable": sorted(trainable),
        "dtype": net.dtype,
    }
    run = _Run(net, plan, optimizer, schedule, data, held_out, epochs, batch_size, seed, early_stopping)
    return run.loop(None if checkpoint is None else Path(checkpoint), settings, resume=resume, progress=progress)


@dataclass(frozen=True)
class _Data:
    images: Array
    labels: npt.NDArray[np.int64]


class _Run:
    """One call of `fit`: the Program of a step, its State, and the history so far."""

    def __init__(
        self,
        net: Network,
        plan: TrainingGraph,
        optimizer: Optimizer,
        schedule: Schedule,
        data: _Data,
        held_out: _Data | None,
        epochs: int,
        batch_size: int,
        seed: int,
        early_stopping: EarlyStopping | None,
    ) -> None:
        self.net = net
        self.plan = plan
        self.optimizer = optimizer
        self.schedule = schedule
        self.data = data
        self.held_out = held_out
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self.early_stopping = early_stopping
        self.steps = -(-len(data.labels) // batch_size)
        self.history = History()
        self.best: Mapping[str, Array] = {}
        self.weights = Weights(plan.graph.constants)
        self.program = _compile(plan, net.dtype)
        self.state = State(dict(plan.state))

    def loop(self, path: Path | None, settings: Mapping[str, Any], *, resume: bool, progress: bool) -> History:
        if path is not None and resume and path.exists():
            self._restore(read_checkpoint(path, settings, self.plan.state))
        bar = Progress(epochs=self.epochs, steps=self.steps, show=progress)
        try:
            while self.history.epochs < self.epochs and self.history.stopped != "early stopping":
                self._epoch(bar)
                if path is not None:
                    write_checkpoint(path, Checkpoint(settings, self.history, self.state.arrays(), self.best))
        except KeyboardInterrupt:
            self._publish()
            self.history.stopped = "interrupted"
        finally:
            bar.close()
        if self.best and self.early_stopping is not None and self.early_stopping.restore_best:
            self.net.set_parameters(self.best)
        return self.history

    def _epoch(self, bar: Progress) -> None:
        epoch = self.history.epochs
        begun = time.perf_counter()
        order = shuffled(len(self.data.labels), seed=self.seed, epoch=epoch)
        bar.begin(epoch)
        loss, correct, lr = 0.0, 0, self.optimizer.lr
        for index, start in enumerate(range(0, len(order), self.batch_size)):
            lr = self.optimizer.lr * float(self.schedule(epoch + index / self.steps, self.epochs))
            batch_loss, batch_correct = self._step(order[start : start + self.batch_size], epoch, index, lr)
            loss += batch_loss
            correct += batch_correct
            bar.step()
        self._publish()
        numbers = {"loss": loss / len(order), "accuracy": correct / len(order)}
        if self.held_out is not None:
            logits = self.net.activations(self.held_out.images, [self.plan.logits])[self.plan.logits]
            measured = cross_entropy(logits, self.held_out.labels)
            numbers |= {"validation_loss": measured[0], "validation_accuracy": measured[1]}
        seconds = time.perf_counter() - begun
        history = self.history
        for name, value in {**numbers, "lr": lr, "seconds": seconds}.items():
            getattr(history, name).append(value)
        bar.end(epoch, numbers, seconds)
        if self.early_stopping is not None:
            history.best_epoch = self.early_stopping.best_epoch(getattr(history, self.early_stopping.monitor))
            if history.best_epoch == epoch and self.early_stopping.restore_best:
                self.best = dict(self.net.parameters)
            if epoch - history.best_epoch > self.early_stopping.patience:
                history.stopped = "early stopping"

    def _step(self, rows: npt.NDArray[np.int64], epoch: int, index: int, lr: float) -> tuple[float, int]:
        """Learn from one batch; return the sum of its losses and how many it got right."""
        plan, dtype = self.plan, self.net.dtype
        count = len(rows)
        labels = self.data.labels[rows]
        inputs = {
            plan.images: self.data.images[rows],
            plan.labels: labels,
            plan.loss_gradient: np.full(count, 1.0 / count, dtype),
        }
        numbers = self.optimizer.scalars(epoch * self.steps + index + 1, lr)
        inputs |= {tensor: np.array(numbers[name], dtype) for name, tensor in plan.scalars.items()}
        for tensor, size in plan.corrections.items():
            inputs[tensor] = np.array(count * size / (count * size - 1), dtype)
        if plan.dropout_key:
            key = np.array([self.seed % 2**64, epoch * self.steps + index], np.uint64)
            inputs[plan.dropout_key] = key.view(np.int64)
        workspace = self.program.workspace(count)
        try:
            results = workspace.run("step", inputs, self.weights, state=self.state)
        finally:
            workspace.release()
        loss = float(results[plan.loss].sum(dtype=np.float64))
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss became {loss / count} in epoch {epoch + 1}, batch {index + 1} of {self.steps}, at a "
                f"learning rate of {lr:g}: lower `lr`, or look for NaN and unscaled values in `images`; the network "
                f"keeps the weights it had {f'after epoch {epoch}' if epoch else 'before training'}"
            )
        return loss, int((results[plan.logits].argmax(axis=1) == labels).sum())

    def _publish(self) -> None:
        """Give the network what State has learnt."""
        parameters = self.net.parameters
        self.net.set_parameters({name: a for name, a in self.state.arrays().items() if name in parameters})

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.state = State(dict(checkpoint.state))
        self.best = dict(checkpoint.best)
        self.history = replace(checkpoint.history)
        self._publish()


def _compile(plan: TrainingGraph, dtype: str) -> Program:
    given = (plan.images, plan.labels, plan.loss_gradient, *plan.scalars.values(), *plan.corrections)
    given += (plan.dropout_key,) if plan.dropout_key else ()
    entries = {"step": Entry(inputs=given, outputs=(plan.loss, plan.logits))}
    return compile_program(plan.graph, entries, dtype=dtype, updates=dict(plan.updates), winograd=False)


def _logits(net: Network) -> str:
    """The tensor that is trained."""
    if not isinstance(net, Network):
        raise TypeError(f"`net` (={net!r}) must be a Network")
    if len(net.graph.outputs) > 1:
        raise ValueError(
            f"`net` has the outputs {', '.join(net.graph.outputs)}, a classifier has one: build an nn.Network with one"
        )
    producer = net.graph.producers().get(net.output_name)
    name = net.output_name if producer is not None and producer.op == "Sigmoid" else net.logits_name
    shape = net.graph.types[name].shape
    if len(shape) != 2:
        raise ValueError(
            f"`net` ends in {name!r} of shape ({', '.join(map(str, shape))}), a classifier ends in (N, classes): end "
            "it with Flatten() and Linear(out_features=classes)"
        )
    return name


def _checked(
    net: Network, logits: str, images_name: str, labels_name: str, images: npt.ArrayLike, labels: npt.ArrayLike
) -> _Data:
    if len(net.graph.inputs) > 1:
        raise UnsupportedError(
            f"`net` takes {', '.join(map(repr, net.graph.inputs))}; training is of networks of one input: train "
            "the part that reads it"
        )
    array = net.check_images(images, name=images_name)
    if not len(array):
        raise ValueError(f"`{images_name}` holds no image")
    classes = int(net.graph.types[logits].shape[1])
    return _Data(array, check_labels(labels_name, labels, images=len(array), classes=classes))


def _learned(net: Network, frozen: list[str]) -> tuple[set[str], set[str]]:
    """Parameters to learn and statistics to follow: all but what `frozen` names."""
    still: set[str] = set()
    for pattern in frozen:
        found = {
            name
            for name in net.parameters
            if fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)
        }
        if not found:
            raise ValueError(f"`frozen` holds {pattern!r}, which fits none of {', '.join(net.parameters)}")
        still |= found
    trainable = set(net.trainable) - still
    if not trainable:
        quantised = "" if net.trainable else "; what is quantised is not learned: train the network it was made of"
        raise ValueError(f"`frozen` (={frozen!r}) leaves nothing to learn{quantised}")
    norms: list[tuple[str, str]] = [
        (node.inputs[3], node.inputs[4]) for node in net.graph.nodes if node.op == "BatchNormalization"
    ]
    return trainable, {name for pair in norms if not still & set(pair) for name in pair}


def _check_statistics(plan: TrainingGraph, images: int, batch_size: int) -> None:
    smallest = images % batch_size or batch_size
    for tensor, size in plan.corrections.items():
        if smallest * size < 2:
            raise ValueError(
                f"`batch_size` (={batch_size}) gives a batch of one image, and {tensor.rpartition('/')[0]!r} has "
                "one value a channel of it, which has no variance: take another batch size, or freeze the layer's "
                "statistics"
            )


def _at_least_one(name: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` (={value!r}) must be an int of at least 1")


def _description(schedule: Schedule) -> str:
    """What checkpoints compare; a function of the user's cannot be."""
    text = repr(schedule)
    return text if type(schedule).__module__.startswith(__package__) and "<" not in text else "custom"
