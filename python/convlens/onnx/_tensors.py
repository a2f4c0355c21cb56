"""TensorProto as an array: sizes are checked before anything is allocated, external data stay in their folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import UnsupportedError
from ._package import onnx_package

Array = npt.NDArray[Any]

# ONNX's numbers of the element types that NumPy has, and bfloat16, which becomes float32.
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 11, 16
DTYPES = {
    FLOAT: "float32",
    UINT8: "uint8",
    INT8: "int8",
    4: "uint16",
    5: "int16",
    INT32: "int32",
    INT64: "int64",
    BOOL: "bool",
    FLOAT16: "float16",
    DOUBLE: "float64",
    12: "uint32",
    13: "uint64",
    BFLOAT16: "bfloat16",
}


def dtype_name(number: int, what: str) -> str:
    """The NumPy name of an element type, or "bfloat16"."""
    if number not in DTYPES:
        names = {value: name for name, value in onnx_package().TensorProto.DataType.items()}
        raise UnsupportedError(
            f"{what} has elements of type {names.get(number, number)}; supported: {', '.join(DTYPES.values())}"
        )
    return DTYPES[number]


def array_of(tensor: Any, folder: Path | None, what: str, apart: Array | None = None) -> Array:
    """Decode a TensorProto.

    Parameters
    ----------
    tensor : TensorProto
    folder : Path or None
        The folder of the file, which external data may not leave.
    what : str
        Its name in errors.
    apart : ndarray of uint8, optional
        Its `raw_data`, where they were read apart from it.

    Raises
    ------
    ValueError
        If sizes are negative, do not fit the data, or the data lie outside the folder.
    UnsupportedError
        If its elements are of a type that convlens does not compute with.
    """
    name = dtype_name(tensor.data_type, what)
    shape = tuple(int(size) for size in tensor.dims)
    if min(shape, default=0) < 0:
        raise ValueError(f"{what} has the shape {shape}; sizes must not be negative")
    itemsize = 2 if name == "bfloat16" else np.dtype(name).itemsize
    n_bytes = math.prod(shape) * itemsize
    if tensor.data_location == 1:
        return _from_bytes(_external(tensor, folder, n_bytes, what), name, shape)
    if apart is not None or tensor.HasField("raw_data") or not math.prod(shape):
        data = tensor.raw_data if apart is None else apart  # a copy at every look
        if len(data) != n_bytes:
            raise ValueError(f"{what} {name}{shape} must have {n_bytes} bytes, the file has {len(data)}")
        return _from_bytes(data, name, shape)
    return _from_fields(tensor, name, shape, what)


def _from_bytes(data: Any, name: str, shape: tuple[int, ...]) -> Array:
    if name == "bfloat16":
        return _widened(np.frombuffer(data, "<u2")).reshape(shape)
    array = np.frombuffer(data, np.dtype(name).newbyteorder("<")).reshape(shape)
    return array.astype(name, copy=False)


def _from_fields(tensor: Any, name: str, shape: tuple[int, ...], what: str) -> Array:
    field = {
        "float32": "float_data",
        "float64": "double_data",
        "int64": "int64_data",
        "uint32": "uint64_data",
        "uint64": "uint64_data",
    }.get(name, "int32_data")
    values = getattr(tensor, field)
    if len(values) != math.prod(shape):
        raise ValueError(f"{what} {name}{shape} must have {math.prod(shape)} elements, the file has {len(values)}")
    if name in ("float16", "bfloat16"):
        bits = (np.array(values, np.int64) & 0xFFFF).astype(np.uint16)
        return (_widened(bits) if name == "bfloat16" else bits.view(np.float16)).reshape(shape)
    return np.array(values, np.int64 if field == "int32_data" else name).astype(name).reshape(shape)


def _widened(bits: Array) -> Array:
    """bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _external(tensor: Any, folder: Path | None, n_bytes: int, what: str) -> Array:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ValueError(f"{what} lies in the file {location!r}: load the model from its path, bytes have no folder")
    home = folder.resolve()
    path = (home / location).resolve()
    if not location or not path.is_relative_to(home) or path == home:
        raise ValueError(f"{what} lies in {location!r}, outside the model's folder; external data must lie within")
    if not path.is_file():
        raise ValueError(f"{what} lies in {location!r}, which is not beside the model")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", n_bytes))
    except ValueError:
        raise ValueError(f"{what} has an offset or a length in {location!r} that is no number") from None
    if offset < 0 or length != n_bytes or offset + length > path.stat().st_size:
        raise ValueError(
            f"{what} takes {n_bytes} bytes; {location!r} ({path.stat().st_size} bytes) is said to hold {length} at "
            f"{offset}"
        )
    if not n_bytes:
        return np.zeros(0, np.uint8)
    with path.open("rb") as file:  # read, not mapped: a file that shrinks later must not crash the process
        return np.fromfile(file, np.uint8, n_bytes, offset=offset)
