"""Packing and unpacking of weights, by Programs of one instruction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ._emit import Image, emit
from ._flow import Geometry
from ._target import Target
from ._tensors import ALIGNMENT, EXTERNAL, PACKED, PLAIN, REAL, STATE, WEIGHT, Instruction, Port, Tensor

Bytes = npt.NDArray[np.uint8]

LARGEST_SLAB = 16 << 20


class Slab:
    """Memory for packed weights, side by side in blocks as large as all before: few pages, where those can be large.

    Most of ResNet-50's weights are smaller than such a page of 2 MB.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._rest: Bytes = np.empty(0, np.uint8)

    def take(self, size: int) -> Bytes:
        """The next `size` bytes, a multiple of 64; they stay as long as the array does."""
        if size > self._rest.nbytes:
            block: Bytes = _core.aligned_empty(max(size, min(self._taken, LARGEST_SLAB)))
            if block.nbytes - size < self._rest.nbytes:  # of what is larger than a slab nothing is left
                self._taken += size
                return block[:size]
            self._rest = block
        taken, self._rest = self._rest[:size], self._rest[size:]
        self._taken += size
        return taken


def padded(array: npt.NDArray[Any], dtype: str, take: Callable[[int], Bytes] = _core.aligned_empty) -> Bytes:
    """A plain array as aligned bytes, padded with zeros to a multiple of 64."""
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    data = take(-(-flat.nbytes // ALIGNMENT) * ALIGNMENT)
    data[flat.nbytes :] = 0
    data[: flat.nbytes] = flat.view(np.uint8)
    return data


def pack(
    array: npt.NDArray[Any],
    geometry: Geometry,
    dtype: str,
    scale: npt.NDArray[Any] | None = None,
    take: Callable[[int], Bytes] = _core.aligned_empty,
) -> Bytes:
    """Bring a weight into the order the convolution tile reads it in.

    Parameters
    ----------
    array : ndarray of shape (K, C / groups, R, S), or the matrix that is packed as that
    geometry : Geometry
    dtype : {"float32", "float64"}
    scale : ndarray, optional
        Multiplies each slice of the array's first axis.
    take : callable
        Gives memory of a number of bytes, aligned to 64.
    """
    if geometry.transposed:
        array = np.asarray(array).T
    if geometry.exchanged:
        array = np.asarray(array, dtype).reshape(geometry.C, geometry.K, geometry.R, geometry.S)
        if scale is not None:
            array, scale = array * scale.astype(dtype).reshape(-1, 1, 1, 1), None
        array = array.swapaxes(0, 1)
    if geometry.phases:
        kernel = np.asarray(array, dtype).reshape(geometry.K, -1, geometry.R * geometry.S)
        parts = []
        for taps in geometry.phases:
            own = replace(geometry, R=1, S=len(taps), exchanged=False, phases=())
            parts.append(pack(kernel[:, :, list(taps)], own, dtype, scale))
        packed = take(sum(part.nbytes for part in parts))
        np.concatenate(parts, out=packed)
        return packed
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    program, workspace, size = _packer(geometry, dtype, scale is not None)
    packed = take(size)
    weights = _core.Buffers([] if scale is None else [padded(scale, dtype)])
    program.run(0, workspace(), [flat], 0, weights, _core.Buffers([packed], True))
    return packed


def unpack(packed: Bytes, geometry: Geometry, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The inverse of :func:`pack`, as an array of `shape`."""
    program, workspace = _unpacker(geometry, dtype)
    flat = np.empty(geometry.elements, dtype)
    program.run(0, workspace(), [flat], 0, _core.Buffers([packed]), None)
    if geometry.transposed:
        return np.ascontiguousarray(flat.reshape(shape[::-1]).T)
    return flat.reshape(shape)


def _tensor(name: str, layout: str, place: str, elements: int, geometry: Geometry | None = None) -> Tensor:
    return Tensor(name, REAL, layout, place, False, (elements, 1, 1), slot=0, geometry=geometry)


@lru_cache(maxsize=512)
def _packer(geometry: Geometry, dtype: str, scaled: bool) -> tuple[Any, Any, int]:
    target = Target(dtype)
    plain = _tensor("weight", PLAIN, EXTERNAL, geometry.elements)
    scale = _tensor("scale", PLAIN, WEIGHT, geometry.K) if scaled else None
    packed = _tensor("packed", PACKED, STATE, target.packed_elements(geometry), geometry)
    op, attributes = "pack_weight", [*geometry.attributes]
    if geometry.winograd:
        op, attributes = "pack_winograd", [geometry.K, geometry.C, geometry.winograd]
    code = [Instruction(op, [plain, scale], [packed], [*attributes])]
    port = Port("weight", REAL, False, (geometry.elements,), False, dtype)
    size = packed.bytes(target.itemsize)
    weights = [] if scale is None else [("scale", scale.bytes(target.itemsize))]
    program = _core.Program(emit(Image([code], ["pack"], [[port]], weights, [("packed", size)]), target))
    return program, lambda: _core.Workspace(program, 0), size


@lru_cache(maxsize=512)
def _unpacker(geometry: Geometry, dtype: str) -> tuple[Any, Any]:
    target = Target(dtype)
    plain = _tensor("weight", PLAIN, EXTERNAL, geometry.elements)
    packed = _tensor("packed", PACKED, WEIGHT, target.packed_elements(geometry), geometry)
    code = [Instruction("unpack_weight", [packed], [plain], [*geometry.attributes])]
    port = Port("weight", REAL, False, (geometry.elements,), True, dtype)
    size = packed.bytes(target.itemsize)
    program = _core.Program(emit(Image([code], ["unpack"], [[port]], [("packed", size)], []), target))
    return program, lambda: _core.Workspace(program, 0)
