"""A compiled graph, and the memory it runs in."""

from __future__ import annotations

import json
import math
import os
import weakref
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ._dispatch import Choice
from ._emit import with_weights
from ._flow import Geometry, names
from ._pack import Bytes
from ._replay import Run, note
from ._state import State, StateSlot
from ._weights import Weights

Array = npt.NDArray[Any]


class _Port:
    """One input or output of an entry: what to check and what to make."""

    def __init__(self, port: Any, graph_dtype: str) -> None:
        self.name: str = port.name
        self.dtype = np.dtype(port.dtype)
        self.is_bool = graph_dtype == "bool"
        self.batched: bool = port.batched
        shape = tuple(port.shape)
        self.inner = shape[1:] if self.batched else shape
        self.rank = len(shape)

    def shape(self, n: int) -> tuple[int, ...]:
        return (n, *self.inner) if self.batched else self.inner

    def describe(self) -> str:
        dims = ("N", *map(str, self.inner)) if self.batched else tuple(map(str, self.inner))
        return f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"

    def check(self, value: object, n: int) -> Array:
        """The array as the run takes it: C-contiguous, native byte order."""
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            raise TypeError(f"`{self.name}` must be a NumPy array, not {type(value).__name__}; np.asarray makes one")
        if value.dtype != self.dtype:
            value = self._recast(value)
        if value.shape != self.shape(n):
            self._fail_shape(value, n)
        return value if value.flags.c_contiguous and value.flags.aligned else np.ascontiguousarray(value)

    def _recast(self, value: Array) -> Array:
        if self.is_bool and value.dtype == np.bool_:
            return value.astype(self.dtype)
        if value.dtype.newbyteorder("=") == self.dtype:
            return value.astype(self.dtype)  # byte-swapped
        scale = " (scale integer images first)" if value.dtype.kind in "iu" and self.dtype.kind == "f" else ""
        raise TypeError(
            f"`{self.name}` is {value.dtype}, the Program takes {self.dtype}; convert with "
            f"{self.name}.astype(np.{self.dtype}){scale}"
        )

    def _fail_shape(self, value: Array, n: int) -> None:
        if self.batched and value.shape == self.inner:
            raise ValueError(f"`{self.name}` has shape {value.shape} and no batch axis; pass {self.name}[None]")
        if self.batched and value.ndim == self.rank and value.shape[1:] == self.inner:
            raise ValueError(
                f"`{self.name}` has {len(value)} images, this run {n}; batched inputs and the workspace must agree: "
                f"take program.workspace({len(value)})"
            )
        last = f"; channels come first: {self.name}.transpose(0, 3, 1, 2)" if self._channels_last(value) else ""
        raise ValueError(f"`{self.name}` has shape {value.shape}; it must be {self.describe()}{last}")

    def _channels_last(self, value: Array) -> bool:
        return value.ndim == 4 and self.rank == 4 and value.shape[1:] == (*self.inner[1:], self.inner[0])


_Sized = tuple[_Port, tuple[int, ...], np.dtype[Any]]


def aligned_room(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Make an array that begins at a cache line, as tensors in blocks of channels must (`blocked` of `compile`).

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
        Aligned to 64 bytes, C-contiguous, its values not set.
    """
    dtype = np.dtype(dtype)
    made: Array = _core.aligned_empty(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
    return made


class _Entry:
    def __init__(self, index: int, entry: Any, dtypes: list[str], reads: list[int]) -> None:
        self.index, self.name, self.reads = index, entry.name, frozenset(reads)
        self.read_by: frozenset[int] = frozenset()
        self.inputs = [_Port(p, d) for p, d in zip(entry.inputs, dtypes, strict=False)]
        self.outputs = [_Port(p, d) for p, d in zip(entry.outputs, dtypes[len(self.inputs) :], strict=True)]
        self.has_bool = any(p.is_bool for p in self.outputs)
        self.batched = next((p.name for p in self.inputs if p.batched), None)
        self._sized: tuple[int | None, list[_Sized]] = (None, [])

    def taken(self, inputs: Mapping[str, Array], n: int) -> list[Array]:
        """The inputs as the run takes them."""
        arrays: list[Array] = []
        for port, shape, dtype in self._inputs_of(n):
            try:
                value = inputs[port.name]
            except KeyError:
                raise ValueError(
                    f"input {port.name!r} is missing; entry {self.name!r} takes {names(p.name for p in self.inputs)}"
                ) from None
            usual = type(value) is np.ndarray and value.dtype is dtype and value.shape == shape
            arrays.append(value if usual and value.flags.carray else port.check(value, n))
        return arrays

    def _inputs_of(self, n: int) -> list[_Sized]:
        """What the inputs of `n` images are; kept, as calls come in runs of equal ones."""
        sized = self._sized
        if sized[0] != n:
            self._sized = sized = (n, [(p, p.shape(n), p.dtype) for p in self.inputs])
        return sized[1]

    def run_of(self, core: Any, n: int, inputs: Mapping[str, Array], made: list[Array], weights: Any) -> Run:
        """What was run, for the next call of its kind."""
        return Run(core, self.index, n, tuple(port.name for port in self.inputs), inputs, made, weights)

    def named(self, made: list[Array]) -> dict[str, Array]:
        """Outputs by name."""
        return {port.name: array for port, array in zip(self.outputs, made, strict=True)}

    def as_bool(self, made: list[Array]) -> list[Array]:
        """Outputs with masks as NumPy has them; they pass a port as numbers."""
        if not self.has_bool:
            return made
        ports = zip(self.outputs, made, strict=True)
        return [array.astype(np.bool_) if port.is_bool else array for port, array in ports]


def _check_images(n: int) -> None:
    if n < 0:
        raise ValueError(f"`n` (={n}) must be 0 or more images")


def _check_known(entries: Sequence[_Entry], inputs: Mapping[str, Array]) -> None:
    """Refuse inputs that none of `entries` takes."""
    taken = [port.name for entry in entries for port in entry.inputs]
    if unknown := [name for name in inputs if name not in taken]:
        who = (
            f"entry {entries[0].name!r} takes"
            if len(entries) == 1
            else f"entries {names(e.name for e in entries)} take"
        )
        raise ValueError(f"input {names(unknown)} is unknown; {who} {names(taken)}")


def _no_run() -> None:
    """What is noted of runs that cannot be made again."""


class Program:
    """Instructions over an arena whose size is known beforehand. Immutable; any number of threads may run it.

    Made by :func:`convlens.program.compile`, :meth:`from_bytes` or :meth:`load`.

    Attributes
    ----------
    convolutions : tuple
        Each with its ``entry``, ``node``, ``problem`` (a string, for one image) and ``algorithm``; none when it was
        read from a file. ``CONVLENS_VERBOSE=dispatch`` prints them when a Program is compiled.
    concatenations : tuple
        Likewise, concatenations and slices of channels: ``algorithm`` says whether they are in place, or copied.
    """

    def __init__(
        self,
        data: Bytes,
        weight_keys: tuple[Hashable, ...],
        metadata: Mapping[str, Any],
    ) -> None:
        self._data = data
        self._core = _core.Program(data)
        self.weight_keys = weight_keys
        self._dtype = "float64" if self._core.float64 else "float32"
        self._entries = {
            entry.name: _Entry(index, entry, metadata["dtypes"][index], metadata["reads"][index])
            for index, entry in enumerate(self._core.entries)
        }
        for entry in self._entries.values():
            entry.read_by = frozenset(e.index for e in self._entries.values() if entry.index in e.reads)
        self._state_slots = tuple(
            StateSlot(slot.name, tuple(shape), None if g is None else Geometry(*g), self._dtype)
            for slot, (shape, g) in zip(self._core.states, metadata["states"], strict=True)
        )
        self.convolutions: tuple[Choice, ...] = ()
        self.concatenations: tuple[Choice, ...] = ()
        self._bound: weakref.WeakKeyDictionary[Weights, Any] = weakref.WeakKeyDictionary()

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """float32 or float64."""
        return self._dtype

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the entries, in order."""
        return tuple(self._entries)

    def inputs(self, entry: str) -> dict[str, tuple[int | str, ...]]:
        """Shapes of an entry's inputs by name; ``"N"`` is the batch."""
        return {p.name: (("N", *p.inner) if p.batched else p.inner) for p in self._entry(entry).inputs}

    def outputs(self, entry: str) -> dict[str, tuple[int | str, ...]]:
        """Shapes of an entry's outputs by name; ``"N"`` is the batch."""
        return {p.name: (("N", *p.inner) if p.batched else p.inner) for p in self._entry(entry).outputs}

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states it updates."""
        return tuple(slot.name for slot in self._state_slots)

    @property
    def strips(self) -> tuple[int, ...]:
        """The first of each three instructions that go strip by strip, of one image where it pays."""
        return self._core.strips

    @property
    def n_instructions(self) -> int:
        """Instructions of all entries."""
        return int(self._core.n_instructions)

    @property
    def nbytes(self) -> int:
        """Bytes it holds: instructions, tables, and workspaces waiting for their next call."""
        return int(self._core.nbytes)

    def arena_bytes(self, n: int, threads: int | None = None) -> int:
        """Bytes of the arena that `n` images take on `threads` threads (by default, as many as a lone call may use)."""
        return int(self._core.arena_bytes(n, _core.get_num_threads() if threads is None else threads))

    def __repr__(self) -> str:
        fixed, image, thread = self._core.arena_need
        return (
            f"Program({names(self._entries)}; {self._dtype}, {self.n_instructions} instructions, "
            f"arena {fixed} + {image} n + {thread} threads bytes)"
        )

    # -- running -------------------------------------------------------------------------------------------------------

    def workspace(self, n: int) -> Workspace:
        """Take the memory for calls with `n` images; give it back with :meth:`Workspace.release`.

        Raises
        ------
        MemoryError
            When there is not enough.
        """
        _check_images(n)
        return Workspace(self, n, self._core.take(n))

    def run(
        self,
        entry: str,
        inputs: Mapping[str, Array],
        weights: Weights | None = None,
        state: State | None = None,
        *,
        threads: int = 0,
    ) -> dict[str, Array]:
        """Run one entry in a workspace of its own; see :meth:`Workspace.run`."""
        found = self._entry(entry)
        return found.named(self._results(found, inputs, weights, state, threads))

    def _results(
        self,
        found: _Entry,
        inputs: Mapping[str, Array],
        weights: Weights | None = None,
        state: State | None = None,
        threads: int = 0,
    ) -> list[Array]:
        """What an entry makes, in order."""
        value = None if found.batched is None else inputs.get(found.batched)
        workspace = self.workspace(len(value) if isinstance(value, np.ndarray) and value.ndim else 0)
        try:
            return workspace._results(found, inputs, weights, state, threads)
        finally:
            workspace.release()

    def run_through(
        self, entries: Sequence[str], inputs: Mapping[str, Array], n: int, weights: Weights | None = None
    ) -> dict[str, Array]:
        """Run entries one after the other in one workspace, without states.

        Parameters
        ----------
        entries : sequence of str
            Those that read another one after it.
        inputs : mapping of name to ndarray
            Of all of them, for `n` images; C-contiguous arrays of the Program's dtype run without a copy.
        n : int
            At least 0.
        weights : Weights
            As :meth:`Workspace.run` takes them.

        Returns
        -------
        dict of name to ndarray, newly allocated
            The outputs of all of them.

        Raises
        ------
        ValueError, TypeError
            When an input is missing, unknown, or of another shape or dtype; when an entry reads what none before it
            computes; when the Program has states, which :meth:`Workspace.run` takes.
        """
        _check_images(n)
        if self._state_slots:
            raise ValueError(
                f"this Program updates the states {names(self.states)}, which run_through does not take; "
                "run its entries with Workspace.run(..., state=)"
            )
        found = [self._entry(name) for name in entries]
        ran: set[int] = set()
        arrays: list[Array] = []
        for entry in found:
            self._check_read(entry, ran)
            ran.add(entry.index)
            arrays += entry.taken(inputs, n)
        if len(inputs) != len(arrays):
            _check_known(found, inputs)
        made = self._core.run_through([entry.index for entry in found], arrays, n, self._bind(weights))
        note(_no_run)
        results: dict[str, Array] = {}
        for entry in found:
            count = len(entry.outputs)
            results |= entry.named(entry.as_bool(made[:count]))
            del made[:count]
        return results

    def shortcut(
        self,
        entries: tuple[str, str],
        weights: Weights | None,
        *,
        answer: str,
        probability: str | None,
        counted: str | None,
        has_top_class: bool,
        most: int,
    ) -> _core.Shortcut:
        """Make one call of C++ of two entries, of which the second takes the seed of a class that the first answers.

        Parameters
        ----------
        entries : pair of str
            One that takes images alone, one that takes the gradient of its answer.
        weights : Weights
        answer, probability : str
            Outputs of the first: what the class is chosen from, and what is told of it.
        counted : str, optional
            An output of the second: images are counted that it is zero everywhere for.
        has_top_class : bool
            Whether calls without a target mean the largest answer.
        most : int
            Images at once.

        Returns
        -------
        Shortcut
            ``call(images, target)`` is the target and, in double, the answer and probability of each image, how many
            were counted, and the second entry's outputs; None unless the images are finite C-contiguous arrays of the
            Program's dtype, `most` at most, the targets ints or int64 within the answer, and the answers finite. As
            many threads as now must be free to it.
        """
        first, second = (self._entry(name) for name in entries)
        places = [[port.name for port in entry.outputs] for entry in (first, second)]
        return _core.Shortcut(
            self._core,
            self._bind(weights),
            first.index,
            second.index,
            places[0].index(answer),
            -1 if probability is None else places[0].index(probability),
            -1 if counted is None else places[1].index(counted),
            has_top_class,
            most,
        )

    def _check_read(self, found: _Entry, ran: set[int]) -> None:
        """Refuse an entry that reads what has not run."""
        if not found.reads <= ran:
            missing = [name for name, e in self._entries.items() if e.index in found.reads - ran]
            raise ValueError(
                f"entry {found.name!r} reads what {names(missing)} computes; run that first in this workspace"
            )

    def _entry(self, name: str) -> _Entry:
        found = self._entries.get(name)
        if found is None:
            raise ValueError(f"`entry` (={name!r}) is unknown; this Program has {names(self._entries)}")
        return found

    def _bind(self, weights: Weights | None) -> Any:
        if weights is None:
            if not self.weight_keys:
                return None
            raise ValueError("`weights` is missing; pass Weights(graph.constants)")
        bound = self._bound.get(weights)
        if bound is None:
            bound = _core.Buffers([weights.packed(key, self._dtype) for key in self.weight_keys])
            self._bound[weights] = bound
        return bound

    # -- the compiled file ---------------------------------------------------------------------------------------------

    def to_bytes(self, weights: Weights | None = None) -> bytes:
        """The compiled file: instructions and packed weights. It runs from C, without Python."""
        if weights is None and self.weight_keys:
            raise ValueError("`weights` is missing; the file holds them beside the instructions")
        packed = [weights.packed(key, self._dtype) for key in self.weight_keys] if weights is not None else []
        return with_weights(self._data, packed).tobytes()

    @staticmethod
    def from_bytes(source: bytes | bytearray | memoryview | Array) -> tuple[Program, Weights]:
        """Read a compiled file.

        Raises
        ------
        ValueError
            When it is damaged, or not such a file.
        UnsupportedError
            When it is of another major version.
        """
        view = np.frombuffer(source, np.uint8)
        aligned: Bytes = _core.aligned_empty(view.nbytes)
        aligned[:] = view
        core = _core.Program(aligned)
        core.verify_data()
        text = core.metadata.rstrip(b"\0")
        if not text:
            raise ValueError("`source` was not written by convlens.program: it says nothing of its ports")
        keys = tuple((index, slot.name) for index, slot in enumerate(core.weights))
        packed: dict[Hashable, Bytes] = {key: data for key in keys if (data := core.weight_data(key[0])) is not None}
        weights = Weights._of_packed(packed, "float64" if core.float64 else "float32")
        return Program(aligned, keys, json.loads(text)), weights

    def save(self, path: str | os.PathLike[str], weights: Weights | None = None) -> None:
        """Write the compiled file (``.cvl``)."""
        Path(path).write_bytes(self.to_bytes(weights))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> tuple[Program, Weights]:
        """Read a compiled file; see :meth:`from_bytes`."""
        return Program.from_bytes(Path(path).read_bytes())


class Workspace:
    """The memory of one call, or of a first entry and the later ones that read what it kept.

    Taken with :meth:`Program.workspace`. One call at a time.
    """

    def __init__(self, program: Program, n: int, core: Any) -> None:
        self.program, self.n = program, n
        self._core: Any = core
        self._ran: set[int] = set()

    @property
    def nbytes(self) -> int:
        """Bytes of its arena."""
        return int(self._core.nbytes)

    def run(
        self,
        entry: str,
        inputs: Mapping[str, Array],
        weights: Weights | None = None,
        state: State | None = None,
        *,
        threads: int = 0,
    ) -> dict[str, Array]:
        """Run one entry.

        Parameters
        ----------
        entry : str
        inputs : mapping of name to ndarray
            C-contiguous arrays of the Program's dtype run without a copy.
        weights : Weights
            Of the graph that was compiled, or another version of its constants.
        state : State, optional
            Updated in place, for Programs compiled with `updates`.
        threads : int
            0: as many as are free.

        Returns
        -------
        dict of name to ndarray, newly allocated

        Raises
        ------
        ValueError, TypeError
            When an input is missing, unknown, or of another shape or dtype; when an earlier entry must run first.
        """
        found = self.program._entry(entry)
        return found.named(self._results(found, inputs, weights, state, threads))

    def _results(
        self,
        found: _Entry,
        inputs: Mapping[str, Array],
        weights: Weights | None,
        state: State | None,
        threads: int,
    ) -> list[Array]:
        program, n = self.program, self.n
        if self._core is None:
            raise ValueError("this workspace was released; take another with program.workspace(n)")
        program._check_read(found, self._ran)
        arrays = found.taken(inputs, n)
        if len(inputs) != len(arrays):
            _check_known([found], inputs)
        made = program._core.outputs(found.index, n)
        bound = program._bind(weights)
        states = None
        if program._state_slots:
            if state is None:
                raise ValueError(
                    f"`state` is missing; this Program updates {names(program.states)}: pass a State of them"
                )
            states = state.buffers(program, program._state_slots)
        if found.read_by:
            self._ran -= found.read_by  # what they computed belongs to the run before
        program._core.run(found.index, self._core, [*arrays, *made], n, bound, states, threads)
        self._ran.add(found.index)
        made = found.as_bool(made)
        note(lambda: None if found.reads or states is not None else found.run_of(program._core, n, inputs, made, bound))
        return made

    def release(self) -> None:
        """Give the memory back to the Program's next call."""
        core, self._core = self._core, None
        if core is not None:
            self._ran = set()
            self.program._core.give_back(core)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
