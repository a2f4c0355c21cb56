"""What a training run left behind: its numbers by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..plot import Picture


@dataclass
class History:
    """The course of training, one number an epoch in each list.

    Attributes
    ----------
    loss, accuracy : list of float
        Mean over the epoch's images, each measured before the step that learned from it.
    validation_loss, validation_accuracy : list of float
        After the epoch, over the images held out; empty without any.
    lr : list of float
        Learning rate of the epoch's last step.
    seconds : list of float
        Wall time, validation included.
    best_epoch : int or None
        Counted from 0, where early stopping looked for it.
    stopped : str
        Why training ended before its last epoch: "", "early stopping" or "interrupted".
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = ""

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self.loss)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain lists and numbers."""
        return asdict(self)

    def plot(self) -> Picture:
        """Draw loss and accuracy over the epochs (extra ``[plot]``)."""
        from ..plot import loss_curves

        return loss_curves(self.as_dict())

    def __repr__(self) -> str:
        if not self.loss:
            return "History(no epoch completed)"
        parts = [f"{self.epochs} epochs", f"loss {self.loss[-1]:.4f}", f"accuracy {self.accuracy[-1]:.4f}"]
        if self.validation_loss:
            parts.append(f"validation {self.validation_loss[-1]:.4f}, {self.validation_accuracy[-1]:.4f}")
        parts.append(f"{sum(self.seconds):.1f} s")
        return f"History({'; '.join(parts)}{f'; {self.stopped}' if self.stopped else ''})"
