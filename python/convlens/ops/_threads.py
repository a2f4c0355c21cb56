"""How many threads kernels take."""

from __future__ import annotations

from .. import _core


def get_num_threads() -> int:
    """Return the number of threads a lone call may use."""
    return int(_core.get_num_threads())


def set_num_threads(num_threads: int) -> None:
    """Set the number of threads a lone call may use; calls under way at once share them.

    The environment variables ``CONVLENS_NUM_THREADS`` and ``OMP_NUM_THREADS`` set it at the start. Results have the
    same bits for any number.

    Raises
    ------
    ValueError
        When `num_threads` is below 1.
    """
    _core.set_num_threads(num_threads)
