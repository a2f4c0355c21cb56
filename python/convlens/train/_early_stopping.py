"""When to stop, and which weights to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

_FALLING = ("loss", "validation_loss")
_RISING = ("accuracy", "validation_accuracy")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a number of the history has not improved for some epochs.

    Attributes
    ----------
    patience : int
        Epochs without improvement that are borne.
    monitor : str
        ``validation_loss`` (default), ``validation_accuracy``, ``loss`` or ``accuracy``.
    min_delta : float
        What counts as an improvement.
    restore_best : bool
        Whether the network ends with the weights of the best epoch, also when training runs to its end.
    """

    patience: int = 5
    monitor: str = "validation_loss"
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise ValueError(f"`patience` (={self.patience}) must be at least 0 epochs")
        if self.monitor not in (*_FALLING, *_RISING):
            raise ValueError(f"`monitor` (={self.monitor!r}) must be one of {', '.join((*_FALLING, *_RISING))}")

    def best_epoch(self, values: list[float]) -> int:
        """The last epoch that improved on all before it by more than `min_delta`, counted from 0."""
        sign = 1.0 if self.monitor in _FALLING else -1.0
        best, best_value = 0, math.inf
        for epoch, value in enumerate(values):
            if sign * value < best_value - self.min_delta:
                best, best_value = epoch, sign * value
        return best
