"""Packing and unpacking of weights, by Programs of one instruction."""

from __future__ import annotations

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


def padded(array: npt.NDArray[Any], dtype: str) -> Bytes:
    """A plain array as aligned bytes, padded with zeros to a multiple of 64."""
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    data: Bytes = _core.aligned_empty(-(-flat.nbytes // ALIGNMENT) * ALIGNMENT)
    data[flat.nbytes :] = 0
    data[: flat.nbytes] = flat.view(np.uint8)
    return data


def pack(array: npt.NDArray[Any], geometry: Geometry, dtype: str, scale: npt.NDArray[Any] | None = None) -> Bytes:
    """Bring a weight into the order the convolution tile reads it in.

    Parameters
    ----------
    array : ndarray of shape (K, C / groups, R, S), or the matrix that is packed as that
    geometry : Geometry
    dtype : {"float32", "float64"}
    scale : ndarray of shape (K,), optional
        Multiplies each output channel.
    """
    if geometry.transposed:
        array = np.asarray(array).T
    flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1)
    program, workspace, size = _packer(geometry, dtype, scale is not None)
    packed: Bytes = _core.aligned_empty(size)
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
