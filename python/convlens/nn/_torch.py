"""PyTorch's checkpoints, read without PyTorch: nothing in them is imported, called or executed."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ._pickle import Global, Object
from ._torch_files import SAVE_AGAIN, LegacyReader, ZipReader, open_reader
from ._torch_objects import DTYPES, Tensor, natural, unsupported

Array = npt.NDArray[Any]

#: NumPy 1 has no array of more axes.
_MAX_AXES = 32


def read_state_dict(
    path: str | os.PathLike[str] | bytes | IO[bytes], *, key: str | Sequence[str] | None = None
) -> dict[str, Array]:
    """Read the arrays of a PyTorch checkpoint, without PyTorch and without executing anything in it.

    Parameters
    ----------
    path : path-like, bytes or binary file
        What ``torch.save(model.state_dict(), path)`` wrote, in its zip form or in the one before PyTorch 1.6.
    key : str or sequence of str, optional
        Where the state dict is, if the file holds a dict of several things, such as
        ``{"state_dict": ..., "optimizer": ..., "epoch": 3}``; a sequence leads through dicts within dicts.

    Returns
    -------
    dict of str to ndarray
        By PyTorch's names, in the file's order and types, but for bfloat16, which becomes float32. Read-only, and
        sharing memory where the file's tensors share storages: copy an array to change it. What is not a tensor is
        left out.

    Raises
    ------
    ValueError
        The file is broken, or holds no dict of tensors at `key`; the message lists the keys of those it holds.
    UnsupportedError
        The file holds a whole module or a TorchScript archive (save ``model.state_dict()`` instead), or a quantised,
        sparse or complex tensor, which the message names.

    See Also
    --------
    Network.load_state_dict : Puts them into a network: ``net.load_state_dict(nn.read_state_dict("resnet18.pth"))``.

    Notes
    -----
    The file's pickle is interpreted by code of convlens that calls nothing. It knows the names by which PyTorch makes
    tensors, parameters and ordered dicts; every other stays a name, so a checkpoint may hold anything beside its
    tensors. Offsets, sizes and strides are checked against the file before memory is taken, and storages of other
    tensors than those asked for are not read. Reading takes at most 16 times the file's bytes for storages, 4 million
    operations and 64 MB for a pickle.
    """
    with _opened(path) as (file, name):
        try:
            reader = open_reader(file)
            tensors = _state_dict(reader.contents(), (key,) if isinstance(key, str) else tuple(key or ()))
            views = _Views(reader)
            return {label: views.of(label, tensor) for label, tensor in tensors.items()}
        except UnsupportedError as error:
            raise UnsupportedError(f"`path` (={name}) {error}") from None
        except (ValueError, MemoryError) as error:
            raise ValueError(f"`path` (={name}) is not a checkpoint convlens can read: {error}") from error


@contextmanager
def _opened(path: Any) -> Iterator[tuple[IO[bytes], str]]:
    if isinstance(path, (str, os.PathLike)):
        with Path(path).open("rb") as file:
            yield file, repr(os.fspath(path))
    elif isinstance(path, (bytes, bytearray, memoryview)):
        yield io.BytesIO(path), f"{len(path)} bytes"
    elif hasattr(path, "read") and hasattr(path, "seek") and not isinstance(path, io.TextIOBase):
        yield path, repr(path)
    else:
        raise TypeError(f"`path` (={path!r:.200}) must be a path, bytes, or a binary file that can seek")


# -- which tensors -----------------------------------------------------------------------------------------------------


def _state_dict(found: Any, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of the dict that `keys` lead to."""
    for depth, key in enumerate(keys):
        if type(found) is not dict or key not in found:
            raise ValueError(f"`key` (={key!r}) is not in it; {_described(found, keys[:depth])}")
        found = found[key]
    if type(found) in (Object, Global):
        raise UnsupportedError(f"holds a whole object, {str(found)!r}, which only its own code can read: {SAVE_AGAIN}")
    if type(found) is not dict:
        raise ValueError(f"{_described(found, keys)}: {SAVE_AGAIN}")
    if _nested(found):
        raise ValueError(_described(found, keys))
    tensors = {}
    for label, value in found.items():
        if type(label) is str and (kind := unsupported(value)):
            raise UnsupportedError(f"has {kind} under {label!r}: convlens reads dense tensors of real numbers")
        if type(label) is str and type(value) is Tensor:
            tensors[label] = value
    if found and not tensors:
        modules = [label for label, value in found.items() if type(label) is str and type(value) is Object]
        if modules:
            raise UnsupportedError(f"holds no tensors, but whole objects under {_listed(modules)}: {SAVE_AGAIN}")
        raise ValueError(f"{_described(found, keys)}: {SAVE_AGAIN}")
    return tensors


def _nested(found: dict[Any, Any]) -> list[str]:
    """Keys of the dicts within `found` that hold tensors."""
    # A file may name one large dict any number of times.
    known: dict[int, bool] = {}
    keys = []
    for key, value in found.items():
        if type(key) is str and type(value) is dict:
            if id(value) not in known:
                known[id(value)] = any(type(item) is Tensor for item in value.values())
            if known[id(value)]:
                keys.append(key)
    return keys


def _described(found: Any, keys: tuple[str, ...]) -> str:
    where = f"under {keys[-1]!r} it" if keys else "it"
    if type(found) is not dict:
        kind = "a tensor" if type(found) is Tensor else f"a {type(found).__name__.lower()}"
        return f"{where} holds {kind}, not a dict of tensors"
    if nested := _nested(found):
        return f"{where} holds dicts of tensors under {_listed(nested)}: choose one, such as key={nested[0]!r}"
    return f"{where} holds {_listed([label for label in found if type(label) is str])}, not dicts of tensors"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown or "nothing"


# -- their arrays ------------------------------------------------------------------------------------------------------


class _Views:
    """Arrays over the file's storages, each storage read once."""

    def __init__(self, reader: ZipReader | LegacyReader) -> None:
        self.reader = reader
        self.bytes: dict[str, bytes] = {}
        self.elements: dict[tuple[str, str], Array] = {}
        self.arrays: dict[int, Array] = {}

    def of(self, label: str, tensor: Tensor) -> Array:
        if id(tensor) not in self.arrays:
            try:
                self.arrays[id(tensor)] = self._array(tensor)
            except ValueError as error:
                raise ValueError(f"the tensor {label[:60]!r}: {error}") from error
        return self.arrays[id(tensor)]

    def _array(self, tensor: Tensor) -> Array:
        shape, stride, offset, storage = tensor.shape, tensor.stride, tensor.offset, tensor.storage
        if not (_sizes(shape) and _sizes(stride) and len(shape) == len(stride) and natural(offset)):
            raise ValueError("its shape, strides or offset are not sizes")
        itemsize = np.dtype(DTYPES[tensor.dtype]).itemsize
        if math.prod(max(size, 1) for size in shape) >= 1 << 56:
            raise ValueError(f"its shape {shape} is larger than any memory")
        if math.prod(shape) * itemsize > max(storage.count * storage.itemsize, self.reader.size):
            raise ValueError(f"its shape {shape} takes more bytes than the file has")
        # A view of a storage before PyTorch 0.4 counts from its own beginning.
        count = storage.count * storage.itemsize // itemsize
        reach = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if 0 not in shape and reach >= count:
            raise ValueError(f"shape {shape}, strides {stride} and offset {offset} reach beyond its {count} elements")
        elements = self._elements(tensor)
        if 0 in shape:
            return _frozen(np.empty(shape, elements.dtype))
        size = elements.itemsize
        steps = [step * size if length > 1 else size for length, step in zip(shape, stride, strict=True)]
        first = (storage.start + offset) * size
        array: Array = np.ndarray(shape, elements.dtype, buffer=elements, offset=first, strides=steps)
        return array

    def _elements(self, tensor: Tensor) -> Array:
        """All elements of the tensor's storage, in this machine's byte order."""
        name = (tensor.storage.key, tensor.dtype)
        if name not in self.elements:
            if tensor.storage.key not in self.bytes:
                self.bytes[tensor.storage.key] = self.reader.read(tensor.storage)
            data = self.bytes[tensor.storage.key]
            kind = np.dtype(self.reader.order + DTYPES[tensor.dtype])
            raw = np.frombuffer(data, kind, count=len(data) // kind.itemsize)
            self.elements[name] = _frozen(_converted(raw, tensor.dtype))
        return self.elements[name]


def _sizes(values: object) -> bool:
    return isinstance(values, (tuple, list)) and len(values) <= _MAX_AXES and all(natural(value) for value in values)


def _converted(raw: Array, dtype: str) -> Array:
    if dtype == "bool":
        # Any other byte than 0 and 1 would be a bool that NumPy does not expect.
        return np.not_equal(raw, 0)
    native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if dtype == "bfloat16":
        return (native.astype(np.uint32) << 16).view(np.float32)
    return native


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
