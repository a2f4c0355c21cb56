"""Optimizers: what each appends to the training graph for one parameter."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..graph import GraphBuilder


class Optimizer(ABC):
    """Builds the update of one parameter from its gradient, as nodes of the training graph.

    Parameters
    ----------
    lr : float
        Learning rate, which a schedule multiplies.
    weight_decay : float
        How strongly parameters are drawn to zero; what that means is the subclass's.
    """

    #: Arrays kept beside each parameter, zero at first; they are State.
    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, lr: float, *, weight_decay: float) -> None:
        self.lr = _not_negative("lr", lr)
        self.weight_decay = _not_negative("weight_decay", weight_decay)

    @abstractmethod
    def scalars(self, step: int, lr: float) -> dict[str, float]:
        """The numbers that change from step to step (counted from 1), computed in double and given to the graph."""

    @abstractmethod
    def update(
        self, builder: GraphBuilder, parameter: str, gradient: str, slots: Mapping[str, str], scalars: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Append the update; return the tensors of the parameter's and the slots' new values."""

    def describe(self) -> dict[str, float | str | bool]:
        """Everything that decides its arithmetic, for checkpoints."""
        return {"optimizer": type(self).__name__, **vars(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


class SGD(Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD``.

    Parameters
    ----------
    lr : float
    momentum : float
        Share of the last step that goes on.
    nesterov : bool
        Look ahead along the momentum; needs one.
    weight_decay : float
        Added to the gradient times the parameter.

    Notes
    -----
    ``g += weight_decay * p``; ``v = momentum * v + g``; ``p -= lr * v``, or with Nesterov
    ``p -= lr * (g + momentum * v)``.
    """

    def __init__(
        self, lr: float = 1e-3, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay)
        self.momentum = _not_negative("momentum", momentum)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"`nesterov` needs a `momentum` (={momentum}) above 0, such as 0.9")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        return {"lr": lr}

    def update(
        self, builder: GraphBuilder, parameter: str, gradient: str, slots: Mapping[str, str], scalars: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        e = _Expressions(builder, parameter)
        direction = e.decayed(gradient, self.weight_decay)
        news = {}
        if self.momentum:
            velocity = e("Add", e("Mul", slots["velocity"], self.momentum), direction)
            news["velocity"] = velocity
            direction = e("Add", direction, e("Mul", velocity, self.momentum)) if self.nesterov else velocity
        return e("Sub", parameter, e("Mul", direction, scalars["lr"])), news


class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam``.

    Parameters
    ----------
    lr : float
    betas : tuple of float
        How slowly the mean of the gradient and of its square follow.
    eps : float
        Added to the denominator.
    weight_decay : float
        Added to the gradient times the parameter.

    Notes
    -----
    ``m += (1 - b1) (g - m)``; ``v = b2 v + (1 - b2) g^2``;
    ``p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)``.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980.
    """

    slots = ("mean", "square")

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay=weight_decay)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"`betas` (={betas!r}) must be two numbers of at least 0 and below 1")
        self.betas = (float(betas[0]), float(betas[1]))
        self.eps = _not_negative("eps", eps)

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        return {
            "step_size": lr / (1 - self.betas[0] ** step),
            "root_correction": math.sqrt(1 - self.betas[1] ** step),
        }

    def update(
        self, builder: GraphBuilder, parameter: str, gradient: str, slots: Mapping[str, str], scalars: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        e = _Expressions(builder, parameter)
        return self._adam(e, parameter, e.decayed(gradient, self.weight_decay), slots, scalars)

    def _adam(
        self, e: _Expressions, parameter: str, gradient: str, slots: Mapping[str, str], scalars: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        slow, slower = self.betas
        mean = e("Add", slots["mean"], e("Mul", e("Sub", gradient, slots["mean"]), 1 - slow))
        square = e("Add", e("Mul", slots["square"], slower), e("Mul", e("Mul", gradient, gradient), 1 - slower))
        denominator = e("Add", e("Div", e("Sqrt", square), scalars["root_correction"]), self.eps)
        step = e("Mul", e("Div", mean, denominator), scalars["step_size"])
        return e("Sub", parameter, step), {"mean": mean, "square": square}


class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``.

    Parameters
    ----------
    lr : float
    betas : tuple of float
    eps : float
    weight_decay : float
        ``p *= 1 - lr * weight_decay`` before the step.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def scalars(self, step: int, lr: float) -> dict[str, float]:
        return {**super().scalars(step, lr), "decay": 1 - lr * self.weight_decay}

    def update(
        self, builder: GraphBuilder, parameter: str, gradient: str, slots: Mapping[str, str], scalars: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        e = _Expressions(builder, parameter)
        return self._adam(e, e("Mul", parameter, scalars["decay"]), gradient, slots, scalars)


class _Expressions:
    """Appends element-wise nodes named after a parameter; numbers become scalar constants."""

    def __init__(self, builder: GraphBuilder, parameter: str) -> None:
        self._builder = builder
        self._stem = f"update/{parameter}"
        self._dtype = builder.types[parameter].dtype

    def __call__(self, op: str, *operands: str | float) -> str:
        names = [
            operand if isinstance(operand, str) else self._builder.constant(np.array(operand, self._dtype))
            for operand in operands
        ]
        return self._builder.add(op, names, name=self._builder.fresh(f"{self._stem}/{op.lower()}"))

    def decayed(self, gradient: str, weight_decay: float) -> str:
        parameter = self._stem.removeprefix("update/")
        return self("Add", gradient, self("Mul", parameter, weight_decay)) if weight_decay else gradient


def _not_negative(name: str, value: float) -> float:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
        raise ValueError(f"`{name}` (={value!r}) must be a finite number of at least 0")
    return float(value)
