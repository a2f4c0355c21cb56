"""Programs kept for their next call, the least recently used leaving first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..program import Program

#: Enough for a dozen explanations of a large network; one Program may exceed it, and then stays alone.
CACHE_BYTES = 256 * 2**20


class ProgramCache:
    """Programs by key, bounded by the bytes they hold."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._kept: dict[Hashable, Any] = {}  # by the key of a Program, and gone with it
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Program]) -> Program:
        """Return the Program of `key`; two threads that miss at once may both make it, and one is kept."""
        with self._lock:
            kept = self._programs.get(key)
            if kept is not None:
                self._programs.move_to_end(key)
                return kept
        made = make()  # without the lock: compiling takes long and other keys need not wait
        with self._lock:
            program = self._programs.setdefault(key, made)
            self._programs.move_to_end(key)
            # Sizes are asked for anew: a Program grows with the Workspaces it keeps.
            while len(self._programs) > 1 and sum(one.nbytes for one in self._programs.values()) > self._limit_bytes:
                old, _ = self._programs.popitem(last=False)
                self._kept.pop(old, None)
            return program

    def kept(self, key: Hashable) -> Any:
        """Return what `keep` left beside the Program of `key`, None without; a use of that Program."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._programs.move_to_end(key)
            return found

    def keep(self, key: Hashable, program: Program, what: Any) -> None:
        """Leave something beside the Program of `key`, if it is still the one."""
        with self._lock:
            if self._programs.get(key) is program:
                self._kept[key] = what

    def forget(self) -> None:
        """Drop what lies beside Programs."""
        with self._lock:
            self._kept.clear()

    def clear(self) -> None:
        """Drop all Programs; calls under way finish with theirs."""
        with self._lock:
            self._programs.clear()
            self._kept.clear()

    def within(self, prefix: Hashable) -> ProgramCache:
        """The cache as a network of another size sees it: its keys are apart, the bound is one."""
        return _Part(self, prefix)

    def __len__(self) -> int:
        return len(self._programs)


class _Part(ProgramCache):
    """The Programs under one prefix."""

    def __init__(self, whole: ProgramCache, prefix: Hashable) -> None:
        super().__init__(whole._limit_bytes)
        self._whole = whole
        self._prefix = prefix

    def get(self, key: Hashable, make: Callable[[], Program]) -> Program:
        return self._whole.get((self._prefix, key), make)

    def kept(self, key: Hashable) -> Any:
        return self._whole.kept((self._prefix, key))

    def keep(self, key: Hashable, program: Program, what: Any) -> None:
        self._whole.keep((self._prefix, key), program, what)

    def forget(self) -> None:
        self._whole.forget()

    def clear(self) -> None:
        self._whole.clear()

    def __len__(self) -> int:
        return len(self._whole)
