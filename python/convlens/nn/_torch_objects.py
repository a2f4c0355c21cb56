"""Stand-ins for what PyTorch pickles: storages and tensors as the file describes them, unchecked and without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._pickle import Global, Object

#: PyTorch's dtypes and the NumPy types of their bytes; bfloat16 and bool take a conversion.
DTYPES: Mapping[str, str] = {
    "float16": "f2", "float32": "f4", "float64": "f8", "bfloat16": "u2", "bool": "u1",
    "uint8": "u1", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint16": "u2", "uint32": "u4", "uint64": "u8",
}  # fmt: skip

#: PyTorch's storage types: dtype, and bytes of an element. The second half is skipped over, not read.
STORAGES: Mapping[str, tuple[str, int]] = {
    "UntypedStorage": ("", 1),
    "HalfStorage": ("float16", 2), "FloatStorage": ("float32", 4), "DoubleStorage": ("float64", 8),
    "BFloat16Storage": ("bfloat16", 2), "BoolStorage": ("bool", 1), "ByteStorage": ("uint8", 1),
    "CharStorage": ("int8", 1), "ShortStorage": ("int16", 2), "IntStorage": ("int32", 4), "LongStorage": ("int64", 8),
    "ComplexFloatStorage": ("complex64", 8), "ComplexDoubleStorage": ("complex128", 16),
    "QInt8Storage": ("qint8", 1), "QUInt8Storage": ("quint8", 1), "QInt32Storage": ("qint32", 4),
    "QUInt4x2Storage": ("quint4x2", 1), "QUInt2x4Storage": ("quint2x4", 1),
}  # fmt: skip

_LAZY = "a lazily negated or conjugated tensor"
_KINDS = {
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without data (device meta)",
    "_reconstruct": "a NumPy array",
}


class Storage:
    """`count` elements of the file's storage `key`, from element `start` on; `root_count` is the whole storage's."""

    __slots__ = ("count", "dtype", "itemsize", "key", "root_count", "start")

    def __init__(self, key: str, kind: str, root_count: int, *, start: int = 0, count: int | None = None) -> None:
        if kind not in STORAGES:
            raise ValueError(f"its pickle has a storage of the unknown type {kind[:60]!r}")
        self.key = key
        self.dtype, self.itemsize = STORAGES[kind]
        self.root_count = root_count
        self.start = start
        self.count = root_count if count is None else count


class Tensor:
    """A view of a storage; of a dtype of its own where the storage has none."""

    __slots__ = ("dtype", "offset", "shape", "storage", "stride", "unsupported")

    def __init__(self, arguments: tuple[Any, ...], *, dtype: str = "", lazy: bool = False) -> None:
        storage, self.offset, self.shape, self.stride = arguments[:4]
        if type(storage) is not Storage:
            raise ValueError("its pickle makes a tensor of what is not a storage")
        if storage.dtype and dtype not in ("", storage.dtype):
            raise ValueError("its pickle gives a tensor and its storage different types")
        self.storage: Storage = storage
        self.dtype = dtype or storage.dtype or "uint8"
        self.unsupported = _LAZY if lazy else "" if self.dtype in DTYPES else f"a tensor of {self.dtype[:60]}"


def unsupported(value: object) -> str:
    """What kind of tensor `value` is that convlens does not read, or nothing."""
    if type(value) is Tensor:
        return value.unsupported
    if type(value) is Storage:
        return "a storage"
    if type(value) is Object:
        name = value.made_by.name
        if name in _KINDS or name.startswith("_rebuild") or name.endswith(("Tensor", "Parameter")):
            return _KINDS.get(name, f"a {value}")
    return ""


class Storages:
    """Turns persistent ids into storages, each of the file's one object."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, reference: tuple[Any, ...]) -> Any:
        """("storage", type, key, location, count, [view]), or ("module", class, file, source) of a whole module."""
        kind = reference[0] if reference and type(reference[0]) is str else ""
        if kind == "module" and len(reference) == 4:
            return reference[1]
        if kind != "storage" or len(reference) not in (5, 6):
            raise ValueError("its pickle refers to a storage in a form that PyTorch does not write")
        kind, key, _, count = reference[1:5]
        if type(kind) is not Global or type(key) is not str or not natural(count):
            raise ValueError("its pickle refers to a storage in a form that PyTorch does not write")
        storage = Storage(key, kind.name, count)
        known = self.by_key.setdefault(key, storage)
        if (known.dtype, known.itemsize, known.count) != (storage.dtype, storage.itemsize, count):
            raise ValueError(f"its pickle describes the storage {key[:40]!r} in two ways")
        if len(reference) == 5 or reference[5] is None:
            return known
        return _view(known, kind.name, reference[5])


def _view(root: Storage, kind: str, view: object) -> Storage:
    """(key, start, count) in elements: PyTorch before 0.4 had storages within storages."""
    if type(view) is not tuple or len(view) != 3 or not natural(view[1]) or not natural(view[2]) or not root.dtype:
        raise ValueError("its pickle refers to a storage in a form that PyTorch does not write")
    if view[1] + view[2] > root.count:
        raise ValueError(f"a view of the storage {root.key[:40]!r} reaches beyond it")
    return Storage(root.key, kind, root.count, start=view[1], count=view[2])


def natural(value: object) -> bool:
    """Whether `value` is a size, a stride or an offset."""
    return type(value) is int and 0 <= value < 1 << 63


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    """(storage, offset, size, stride, requires_grad, hooks, [metadata]); before PyTorch 0.4 the first four."""
    _at_least(4, arguments)
    return Tensor(arguments, lazy=any(arguments[6:7]))


def _tensor_with_dtype(arguments: tuple[Any, ...]) -> Tensor:
    """As `_tensor`, with the dtype before the metadata."""
    _at_least(7, arguments)
    dtype = arguments[6]
    if type(dtype) is not Global:
        raise ValueError("its pickle makes a tensor of what is not a dtype")
    return Tensor(arguments, dtype=dtype.name, lazy=any(arguments[7:8]))


def _first(arguments: tuple[Any, ...]) -> Any:
    """(tensor, requires_grad, hooks, [state]) of a parameter; (sizes) of a torch.Size."""
    _at_least(1, arguments)
    return arguments[0]


def _tensor_of_type(arguments: tuple[Any, ...]) -> Any:
    """(function, type, arguments, state): a tensor with attributes, which are dropped; a subclass stays a record."""
    _at_least(3, arguments)
    function, kind, inner = arguments[:3]
    if type(function) is not Global or type(kind) is not Global or type(inner) is not tuple:
        raise ValueError("its pickle makes a tensor of what is not a type")
    rebuild = _REBUILD.get((function.module, function.name))
    if rebuild is not None and kind.module.partition(".")[0] == "torch" and kind.name in ("Tensor", "Parameter"):
        return rebuild(inner)
    return Object(function if function.name in _KINDS else Global(kind.module, f"{kind.name}, a kind of Tensor"))


def _at_least(count: int, arguments: tuple[Any, ...]) -> None:
    if len(arguments) < count:
        raise ValueError(f"its pickle calls a function of {count} arguments with {len(arguments)}")


Function = Callable[[tuple[Any, ...]], Any]

_REBUILD: Mapping[tuple[str, str], Function] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_with_dtype,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
}

#: What a pickle may call. Everything else that it calls becomes a record of the name.
FUNCTIONS: Mapping[tuple[str, str], Function] = {
    **_REBUILD,
    ("torch._tensor", "_rebuild_from_type_v2"): _tensor_of_type,
    ("torch", "Size"): _first,
}
