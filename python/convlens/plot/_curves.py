"""The course of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ._colours import FIRST, INK, QUIET, RULE, SECOND
from ._picture import Picture


def loss_curves(history: Mapping[str, Any], *, title: str = "") -> Picture:
    """Draw loss and accuracy over the epochs.

    Parameters
    ----------
    history : mapping of str to sequence of float
        One number an epoch in ``loss`` and, if there are any, ``accuracy``, ``validation_loss`` and
        ``validation_accuracy``; what :func:`convlens.train.fit` returns has them (``history.plot()``).
    title : str

    Returns
    -------
    Picture
        Training is a solid line, validation a dashed one with dots.
    """
    loss = _numbers(history, "loss")
    if not loss:
        raise ValueError("`history` has no `loss`: train for an epoch first")
    accuracy = _numbers(history, "accuracy")
    picture = Picture(6.4 if accuracy else 3.6, 2.9)
    axes = picture.subplots(1, 2 if accuracy else 1, squeeze=False)[0]
    words = [_panel(axes[0], "loss", loss, _numbers(history, "validation_loss"))]
    if accuracy:
        words.append(_panel(axes[1], "accuracy", accuracy, _numbers(history, "validation_accuracy")))
    if title:
        picture.suptitle(title, fontsize=9, color=INK)
    caption = (
        "Solid: training, as it went. Dashed: validation, after the epoch." if any("valid" in w for w in words) else ""
    )
    return picture.describe(caption, f"{title + ': ' if title else ''}{len(loss)} epochs; {'; '.join(words)}.")


def _numbers(history: Mapping[str, Any], name: str) -> list[float]:
    given = history.get(name)
    return [] if given is None else [float(number) for number in given]


def _panel(axes: Axes, name: str, training: Sequence[float], validation: Sequence[float]) -> str:
    epochs = range(1, len(training) + 1)
    axes.plot(epochs, training, color=FIRST, linewidth=1.8, solid_capstyle="round", label="training")
    words = f"{name} {training[0]:.3g} at first, {training[-1]:.3g} at last"
    if validation:
        at = range(1, len(validation) + 1)
        axes.plot(
            at, validation, color=SECOND, linewidth=1.4, linestyle=(0, (4, 2)), marker="o", ms=3, label="validation"
        )
        words += f", validation {validation[0]:.3g} and {validation[-1]:.3g}"
        axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    elif len(training) == 1:
        axes.plot(epochs, training, "o", color=FIRST, ms=3)
    axes.set_title(name, fontsize=8, color=INK, loc="left")
    axes.set_xlabel("epoch", fontsize=7, color=QUIET)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=7, labelcolor=QUIET, length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    return words
