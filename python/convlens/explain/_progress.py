"""A bar for long loops, drawn only when asked for."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """Counts units of work; with ``show=True`` as a tqdm bar (extra ``[progress]``), else silently.

    >>> with Progress("samples", 3, show=False) as progress:
    ...     for _ in range(3):
    ...         progress.step()
    >>> progress.done
    3
    """

    def __init__(self, label: str, total: int | None, *, show: bool) -> None:
        self.done = 0
        self._bar: Any = None
        if show:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                raise ImportError(
                    '`progress` (=True) needs tqdm: pip install "convlens[progress]", or pass progress=False'
                ) from None
            self._bar = tqdm(total=total, desc=label, leave=False)

    def step(self, count: int = 1) -> None:
        """Count `count` units as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
