"""A bar of tqdm's where it is installed, else a line an epoch; on stderr, so that results can be piped."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """Shows one epoch after the other."""

    def __init__(self, *, epochs: int, steps: int, show: bool) -> None:
        self._epochs = epochs
        self._steps = steps
        self._show = show
        self._bar: Any = None

    def begin(self, epoch: int) -> None:
        """Open the line of an epoch, counted from 0."""
        if self._show and (tqdm := _tqdm()) is not None:
            self._bar = tqdm(total=self._steps, desc=self._label(epoch), file=sys.stderr, unit="batch", leave=True)

    def step(self) -> None:
        """Count a batch."""
        if self._bar is not None:
            self._bar.update()

    def end(self, epoch: int, numbers: dict[str, float], seconds: float) -> None:
        """Close the line of an epoch with its numbers."""
        if not self._show:
            return
        text = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            self.close()
        else:
            print(f"{self._label(epoch)}: {text} ({seconds:.1f} s)", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _label(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self._epochs}"


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
