"""Schedules: factors of the learning rate over the course of training.

A schedule is any callable ``(epoch, epochs) -> factor``: `epoch` counts from 0 and is fractional (2.5 is the middle of
the third epoch), `epochs` is the number asked for, the result multiplies the optimizer's ``lr``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[float, int], float]


@dataclass(frozen=True)
class Constant:
    """Keep the learning rate."""

    def __call__(self, epoch: float, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """Multiply by `factor` after every `every` epochs."""

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"`every` (={self.every}) must be at least 1 epoch")

    def __call__(self, epoch: float, epochs: int) -> float:
        return self.factor ** int(epoch // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """Multiply by `factor` an epoch, a little at every step."""

    factor: float = 0.9

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise ValueError(f"`factor` (={self.factor}) must be above 0")

    def __call__(self, epoch: float, epochs: int) -> float:
        return float(self.factor**epoch)


@dataclass(frozen=True)
class CosineDecay:
    """Fall from 1 to `final` along half a cosine.

    References
    ----------
    Loshchilov and Hutter, "SGDR", arXiv:1608.03983.
    """

    final: float = 0.0

    def __call__(self, epoch: float, epochs: int) -> float:
        return self.final + (1 - self.final) * _falling(epoch / max(epochs, 1))


@dataclass(frozen=True)
class OneCycle:
    """Rise to 1 over the first `warmup` of training and fall to almost nothing, both along half a cosine.

    Attributes
    ----------
    warmup : float
        Share of training spent rising.
    start : float
        Factor at the beginning.
    final : float
        Factor at the end.

    References
    ----------
    Smith and Topin, "Super-Convergence", arXiv:1708.07120.
    """

    warmup: float = 0.3
    start: float = 1 / 25
    final: float = 1 / 250_000

    def __post_init__(self) -> None:
        if not 0 < self.warmup < 1:
            raise ValueError(f"`warmup` (={self.warmup}) must be a share of training, between 0 and 1")

    def __call__(self, epoch: float, epochs: int) -> float:
        done = epoch / max(epochs, 1)
        if done < self.warmup:
            return 1 - (1 - self.start) * _falling(done / self.warmup)
        return self.final + (1 - self.final) * _falling((done - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class LinearWarmup:
    """Rise from 0 over `warmup_epochs`, then follow `then` over the epochs that are left."""

    warmup_epochs: float = 1.0
    then: Schedule = Constant()

    def __post_init__(self) -> None:
        if not self.warmup_epochs > 0:
            raise ValueError(f"`warmup_epochs` (={self.warmup_epochs}) must be above 0")

    def __call__(self, epoch: float, epochs: int) -> float:
        left = max(epochs - self.warmup_epochs, 1e-9)
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs * self.then(0.0, math.ceil(left))
        return self.then(epoch - self.warmup_epochs, math.ceil(left))


def _falling(share: float) -> float:
    """From 1 at 0 to 0 at 1."""
    return (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
