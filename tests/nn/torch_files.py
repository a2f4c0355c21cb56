"""Writes PyTorch's two forms of checkpoints without PyTorch: the oracle of the reader's tests."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np

KINDS = {
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
}


class Name:
    """A global of the pickle: written by its name, whether or not it exists."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("names are written, not called")


class Call:
    """What the pickle makes by calling `function` with `arguments`."""

    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state

    def __call__(self):
        raise AssertionError("calls are written, not made")

    def __reduce__(self):
        return (self.function, self.arguments, self.state)


class Storage:
    """A persistent id and its bytes; `count` may lie, `view` is (key, start, count)."""

    def __init__(self, kind, data, itemsize, *, count=None, view=None):
        self.kind = kind if isinstance(kind, Name) else Name("torch", kind)
        self.data, self.itemsize, self.view = data, itemsize, view
        self.count = len(data) // itemsize if count is None else count


def storage(array):
    """The storage of an array's elements."""
    return Storage(KINDS[array.dtype.name], array.tobytes(), array.itemsize)


def tensor(source, offset=0, shape=None, stride=None, *, metadata=()):
    """A tensor of an array, or a view of a storage."""
    if isinstance(source, np.ndarray):
        shape = source.shape
        stride = tuple(step // source.itemsize for step in source.copy().strides)
        source = storage(source)
    return Call(
        Name("torch._utils", "_rebuild_tensor_v2"), source, offset, shape, stride, False, OrderedDict(), *metadata
    )


def untyped_tensor(array, dtype):
    """A tensor of a dtype that has no storage type of its own."""
    stride = tuple(step // array.itemsize for step in array.strides)
    source = Storage(Name("torch.storage", "UntypedStorage"), array.tobytes(), 1)
    rebuild = Name("torch._utils", "_rebuild_tensor_v3")
    return Call(rebuild, source, 0, array.shape, stride, False, OrderedDict(), Name("torch", dtype))


def parameter(inner):
    return Call(Name("torch._utils", "_rebuild_parameter"), inner, True, OrderedDict())


class _Pickler(pickle._Pickler):
    def __init__(self, file, protocol, legacy):
        super().__init__(file, protocol)
        self.legacy = legacy
        self.storages = []

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        if obj not in self.storages:
            self.storages.append(obj)
        key = str(self.storages.index(obj))
        return ("storage", obj.kind, key, "cpu", obj.count, *((obj.view,) if self.legacy or obj.view else ()))

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Name):
            super().save(obj, save_persistent_id)
        elif id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
        else:
            if self.proto >= 4:
                self.save(obj.module)
                self.save(obj.name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)


def pickled(value, protocol=2, *, legacy=False):
    """The pickle of `value`, and its storages in the order of their keys."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, legacy)
    pickler.dump(value)
    return file.getvalue(), pickler.storages


def zipped(members, compression=zipfile.ZIP_STORED):
    """An archive of `members`, with right checksums."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def zip_members(value, *, protocol=2, top="archive", order="little"):
    """The members of the zip form."""
    data, storages = pickled(value, protocol)
    members = {f"{top}/data.pkl": data, f"{top}/byteorder": order.encode()}
    for key, one in enumerate(storages):
        raw = np.frombuffer(one.data, f"u{one.itemsize}")
        members[f"{top}/data/{key}"] = (raw.byteswap() if order == "big" else raw).tobytes()
    return {**members, f"{top}/version": b"3\n"}


def save_zip(value, *, compression=zipfile.ZIP_STORED, **options):
    """The form since PyTorch 1.6."""
    return zipped(zip_members(value, **options), compression)


def legacy_parts(value, *, protocol=2):
    """Head, pickle of the contents, and tail of the legacy form."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickled(one, protocol)[0] for one in (0x1950A86A20F9469CFC6C, 1001, machine))
    contents, storages = pickled(value, protocol, legacy=True)
    keys = pickled([str(key) for key in range(len(storages))], protocol)[0]
    tail = b"".join(struct.pack("<q", len(one.data) // one.itemsize) + one.data for one in storages)
    return head, contents, keys + tail


def save_legacy(value, **options):
    """The form before PyTorch 1.6."""
    return b"".join(legacy_parts(value, **options))
