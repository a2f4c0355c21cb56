"""Calls on several threads at once, their results in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(call: Callable[[T], R], values: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Call with one value after the other on `workers` threads.

    An error is raised where its result would be. After it, an interrupt or ``close()`` no further call begins; those
    under way are waited for.

    >>> list(side_by_side(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers == 1:
        yield from map(call, values)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(call, values)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
