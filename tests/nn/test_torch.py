"""PyTorch's checkpoints: read as PyTorch reads them, without it, and without executing anything."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from convlens import UnsupportedError, nn
from nn.torch_files import (
    KINDS,
    Call,
    Name,
    Storage,
    parameter,
    save_legacy,
    save_zip,
    storage,
    tensor,
    untyped_tensor,
    zip_members,
    zipped,
)

FORMS = pytest.mark.parametrize("save", [save_zip, save_legacy])
OBJECT = Call(Name("somewhere", "Trainer"), state={"model": 1})
WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def _read(value, save=save_zip, **options):
    return nn.read_state_dict(save(value, **options))


def _refused(data, text, *, error=ValueError, **options):
    with pytest.raises(error, match=text):
        nn.read_state_dict(data, **options)


# -- what it reads -----------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("dtype", KINDS)
def test_every_type_is_read_to_the_same_bits(save, dtype):
    array = np.random.default_rng(0).integers(0, 2, (2, 3, 1, 4)).astype(dtype) * np.array(7).astype(dtype)
    found = _read({"a": tensor(array)}, save)["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array, strict=True)


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_read(save, protocol):
    value = OrderedDict(a=parameter(tensor(WEIGHT)), b=tensor(np.full((), 3, np.float32)), c=tensor(WEIGHT[:0]))
    found = _read(value, save, protocol=protocol)
    assert list(found) == ["a", "b", "c"]
    np.testing.assert_array_equal(found["a"], WEIGHT)
    assert found["b"].shape == ()
    assert found["b"] == 3
    assert found["c"].shape == (0, 4)


@FORMS
def test_bfloat16_becomes_float32(save):
    exact = np.array([1.5, -2.0, 3.0e38, np.inf, 0.0], np.float32)
    half = (exact.view(np.uint32) >> 16).astype(np.uint16)
    found = _read({"a": tensor(Storage("BFloat16Storage", half.tobytes(), 2), 1, (2, 2), (2, 1))}, save)["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (half[1:].astype(np.uint32) << 16).view(np.float32).reshape(2, 2))
    assert found[0, 0] == -2


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_types_without_a_storage_of_their_own_are_read(dtype):
    array = np.arange(1, 7, dtype=dtype).reshape(2, 3)
    np.testing.assert_array_equal(_read({"a": untyped_tensor(array, dtype)})["a"], array, strict=True)


def test_byteorder_is_that_of_the_file():
    found = _read({"a": tensor(WEIGHT)}, order="big")["a"]
    np.testing.assert_array_equal(found, WEIGHT, strict=True)
    assert found.dtype.isnative


def test_deflated_members_and_any_top_folder_are_read():
    found = _read({"a": tensor(WEIGHT)}, compression=zipfile.ZIP_DEFLATED, top="resnet-18")
    np.testing.assert_array_equal(found["a"], WEIGHT)


def test_bytes_other_than_0_and_1_are_true():
    found = _read({"a": tensor(Storage("BoolStorage", b"\x00\x02\xff\x01", 1), 0, (4,), (1,))})["a"]
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


@FORMS
def test_views_are_what_their_strides_say_and_share_their_storage(save):
    whole = storage(WEIGHT)
    value = {
        "whole": tensor(whole, 0, (3, 4), (4, 1)),
        "transposed": tensor(whole, 0, (4, 3), (1, 4)),
        "part": tensor(whole, 5, (2, 2), (4, 2)),
        "expanded": tensor(whole, 3, (5, 2), (0, 1)),
    }
    found = _read(value, save)
    np.testing.assert_array_equal(found["transposed"], WEIGHT.T)
    np.testing.assert_array_equal(found["part"], WEIGHT[1:, 1::2])
    np.testing.assert_array_equal(found["expanded"], [[3, 4]] * 5)
    assert all(np.shares_memory(found["whole"], found[name]) for name in value)
    assert not any(array.flags.writeable for array in found.values())


def test_storages_within_storages_are_read():
    inner = Storage("FloatStorage", WEIGHT.tobytes(), 4, view=("view", 5, 4))
    np.testing.assert_array_equal(_read({"a": tensor(inner, 1, (3,), (1,))}, save_legacy)["a"], [6, 7, 8])
    outside = Storage("FloatStorage", WEIGHT.tobytes(), 4, view=("view", 5, 8))
    _refused(save_legacy({"a": tensor(outside, 0, (1,), (1,))}), "reaches beyond it")


def test_path_bytes_and_open_file_give_the_same(tmp_path):
    data = save_zip({"a": tensor(WEIGHT)})
    (tmp_path / "net.pth").write_bytes(data)
    with (tmp_path / "net.pth").open("rb") as file:
        sources = [str(tmp_path / "net.pth"), tmp_path / "net.pth", file, io.BytesIO(data), memoryview(data)]
        for source in sources:
            np.testing.assert_array_equal(nn.read_state_dict(source)["a"], WEIGHT)
    with pytest.raises(FileNotFoundError):
        nn.read_state_dict(tmp_path / "none.pth")
    with pytest.raises(TypeError, match=r"`path` .* must be a path, bytes, or a binary file"):
        nn.read_state_dict(3)


@FORMS
def test_anything_beside_the_tensors_is_left_out(save):
    beside = {
        "epoch": 3,
        "args": OBJECT,
        "seen": {1, (2, 3)},
        "frozen": frozenset("a"),
        7: tensor(WEIGHT),
        "none": None,
    }
    found = _read({"a": tensor(WEIGHT), **beside, "best": np.float64(0.5), "b": tensor(WEIGHT)}, save)
    assert list(found) == ["a", "b"]


@FORMS
def test_nested_checkpoints_name_the_keys_to_choose_from(save):
    inner = {"w": tensor(WEIGHT)}
    value = {"epoch": 3, "state_dict": inner, "optimizer": {"state": {0: {"m": tensor(WEIGHT)}}}, "ema": {"net": inner}}
    data = save(value)
    _refused(data, r"it holds dicts of tensors under 'state_dict': choose one, such as key='state_dict'")
    assert list(nn.read_state_dict(data, key="state_dict")) == ["w"]
    assert list(nn.read_state_dict(data, key=("ema", "net"))) == ["w"]
    _refused(data, r"under 'ema' it holds dicts of tensors under 'net'", key="ema")
    _refused(data, r"`key` \(='model'\) is not in it; it holds dicts of tensors under 'state_dict'", key="model")
    _refused(data, r"under 'optimizer' it holds 'state', not dicts of tensors: save", key="optimizer")


def test_only_the_storages_of_the_dict_asked_for_are_read():
    members = zip_members({"net": {"w": tensor(WEIGHT)}, "optimizer": {"m": tensor(2 * WEIGHT)}})
    del members["archive/data/1"]
    assert list(nn.read_state_dict(zipped(members), key="net")) == ["w"]
    _refused(zipped(members), r"the tensor 'm': the member 'archive/data/1' .* is missing", key="optimizer")


def test_python_2_pickled_ordered_dicts_as_pairs():
    pairs = Call(Name("collections", "OrderedDict"), [["a", tensor(WEIGHT)], ("b", tensor(WEIGHT))])
    assert list(_read(pairs, save_legacy)) == ["a", "b"]


# -- what it refuses ---------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: {"model": o, "epoch": 3}], ids=["alone", "in a dict"])
def test_whole_modules_say_what_to_save(save, wrap):
    _refused(save(wrap(OBJECT)), r"whole object.*save model.state_dict\(\)", error=UnsupportedError)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (tensor(WEIGHT), "it holds a tensor, not a dict of tensors: save model.state_dict"),
        ([tensor(WEIGHT)], "it holds a list, not a dict of tensors"),
        ({"epoch": 3}, "it holds 'epoch', not dicts of tensors"),
    ],
)
def test_other_contents_are_named(value, text):
    _refused(save_zip(value), text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (tensor(Storage("ComplexFloatStorage", bytes(16), 8), 0, (2,), (1,)), "a tensor of complex64"),
        (tensor(Storage("QInt8Storage", bytes(4), 1), 0, (4,), (1,)), "a tensor of qint8"),
        (untyped_tensor(np.zeros(4, np.uint8), "float8_e4m3fn"), "a tensor of float8_e4m3fn"),
        (Call(Name("torch._utils", "_rebuild_qtensor"), 1), "a quantised tensor"),
        (Call(Name("torch._utils", "_rebuild_sparse_tensor"), 1), "a sparse tensor"),
        (Call(Name("torch._utils", "_rebuild_meta_tensor_no_storage"), 1), "a tensor without data"),
        (Call(Name("numpy.core.multiarray", "_reconstruct"), 1), "a NumPy array"),
        (tensor(storage(WEIGHT), 0, (2,), (1,), metadata=({"neg": True},)), "a lazily negated"),
        (
            Call(
                Name("torch._tensor", "_rebuild_from_type_v2"),
                Name("torch._utils", "_rebuild_tensor_v2"),
                Name("mine", "Special"),
                (),
                {},
            ),
            "a mine.Special, a kind of Tensor",
        ),
    ],
)
@FORMS
def test_tensors_it_does_not_read_are_named(save, value, text):
    data = save({"good": tensor(WEIGHT), "layer.weight": value, "last": tensor(WEIGHT)})
    _refused(data, f"has {text}.* under 'layer.weight'", error=UnsupportedError)


def test_other_files_are_told_apart(tmp_path):
    _refused(zipped({"a/constants.pkl": b"", "a/data.pkl": b""}), "is a TorchScript archive", error=UnsupportedError)
    _refused(zipped({"w.npy": b""}), "0 members data.pkl, not one: an .npz is read by nn.load")
    _refused(zipped({"a/data.pkl": b"", "b/data.pkl": b""}), "2 members data.pkl")
    _refused(bytes(257) + b"ustar" + bytes(250), "is a tar archive of PyTorch before 0.1.10", error=UnsupportedError)
    _refused(pickle.dumps({"a": 1}, 2), "does not begin with PyTorch's magic number: save model.state_dict")
    _refused(b"", "does not begin")
    _refused(b"hello", "does not begin with a protocol")


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.bin", "net.ckpt"])
def test_loading_a_checkpoint_as_a_network_says_what_to_do(name):
    with pytest.raises(ValueError, match=r"the network and call net.load_state_dict\(nn.read_state_dict"):
        nn.load(name)


@FORMS
@pytest.mark.parametrize(
    ("view", "text"),
    [
        ((0, (13,), (1,)), "reach beyond its 12 elements"),
        ((1, (3, 4), (4, 1)), "reach beyond"),
        ((0, (2,), (12,)), "reach beyond"),
        ((12, (1,), (1,)), "reach beyond"),
        ((2**62, (1,), (1,)), "reach beyond"),
        ((0, (2**40,), (0,)), "takes more bytes than the file has"),
        ((0, (2**40, 2**40), (0, 0)), "larger than any memory"),
        ((0, (0, 2**62), (1, 1)), "larger than any memory"),
        ((0, (-1,), (1,)), "are not sizes"),
        ((0, (2,), (-1,)), "are not sizes"),
        ((-4, (2,), (1,)), "are not sizes"),
        ((0, (2.0,), (1,)), "are not sizes"),
        ((0, (True,), (1,)), "are not sizes"),
        ((0, (2,), (1, 1)), "are not sizes"),
        ((0, (1,) * 33, (1,) * 33), "are not sizes"),
        ((0, 3, 1), "are not sizes"),
        ((0, (2**70,), (1,)), "are not sizes"),
    ],
)
def test_views_beyond_their_storage_are_refused(save, view, text):
    _refused(save({"a": tensor(storage(WEIGHT), *view)}), f"the tensor 'a': .*{text}")


@FORMS
@pytest.mark.parametrize("count", [11, 13, 2**40, 2**61, -1, 3.0, "12"])
def test_storages_that_contradict_their_bytes_are_refused(save, count):
    data = save({"a": tensor(Storage("FloatStorage", WEIGHT.tobytes(), 4, count=count), 0, (2,), (1,))})
    _refused(data, "its pickle says|in a form that PyTorch does not write")


def test_storages_described_in_two_ways_are_refused():
    class Twice(Storage):
        def __eq__(self, other):
            return isinstance(other, Twice)

        __hash__ = None

    first, second = Twice("FloatStorage", bytes(8), 4), Twice("LongStorage", bytes(8), 8)
    value = {"a": tensor(first, 0, (1,), (1,)), "b": tensor(second, 0, (1,), (1,))}
    _refused(save_zip(value), "describes the storage '0' in two ways")


def test_broken_archives_are_refused():
    members = zip_members({"a": tensor(np.zeros(40_000, np.float32))})
    _refused(zipped({**members, "archive/byteorder": b"middle"}), "byteorder is b'middle', neither")
    _refused(zipped(members, zipfile.ZIP_LZMA), "compressed by method 14, neither stored nor deflated")
    _refused(zipped(members, zipfile.ZIP_DEFLATED), "has 160000 bytes, too many for a file of")
    twice = zipped({**members, "archive/data/1": b""}).replace(b"archive/data/1", b"archive/data/0")
    _refused(twice, "two members of its zip archive have the same name")
    whole = zipped(members)
    _refused(whole[:-30], "not a whole zip archive")
    place = whole.index(b"archive/data/0") + 5000
    _refused(whole[:place] + b"\x01" + whole[place + 1 :], "Bad CRC-32")


def test_members_that_share_bytes_are_refused():
    data = zipped({"archive/data.pkl": zip_members({"a": tensor(WEIGHT)})["archive/data.pkl"], "archive/data/1": b"x"})
    # The directory's name, not that of the member.
    at = data.rindex(b"archive/data/1")
    _refused(data[:at] + b"archive/data/0" + data[at + 14 :], r"has 1 bytes|File name in directory")


# -- what it never does ------------------------------------------------------------------------------------------------

TENSOR = ("torch._utils", "_rebuild_tensor_v2")


@FORMS
@pytest.mark.parametrize(
    "gadget",
    [
        lambda run: Call(Name("os", "system"), run),
        lambda run: Call(Name("posix", "system"), run),
        lambda run: Call(Name("builtins", "eval"), f"__import__('os').system({run!r})"),
        lambda run: Call(Name("builtins", "exec"), f"import os; os.system({run!r})"),
        lambda run: Call(Name("builtins", "getattr"), Name("os", "path"), "system"),
        lambda run: Call(Call(Name("builtins", "getattr"), Call(Name("builtins", "__import__"), "os"), "system"), run),
        lambda run: Call(Name("subprocess", "Popen"), (run,), state={"args": run}),
        lambda run: Call(Name("numpy.testing._private.utils", "runstring"), f"import os; os.system({run!r})", {}),
        lambda run: Call(Name("torch.storage", "_load_from_bytes"), pickle.dumps(run)),
        lambda run: Call(Name("torch.jit.unsupported_tensor_ops", "execWrapper"), run),
        lambda run: Call(Name("convlens.nn._pickle", "read_pickle"), b""),
        lambda run: Call(Name(*TENSOR), Name("os", "system"), run, (), (), False, None),
        lambda run: Call(Name(*TENSOR), Call(Name("os", "system"), run), 0, (1,), (1,), False, None),
        lambda run: tensor(storage(WEIGHT), Call(Name("os", "system"), run), (1,), (1,)),
        lambda run: tensor(storage(WEIGHT), 0, Call(Name("torch", "Size"), Call(Name("os", "system"), run)), (1,)),
        lambda run: tensor(Storage(Name("os", "system"), bytes(4), 4), 0, (1,), (1,)),
        lambda run: tensor(Storage(Name("os.system", "FloatStorage"), bytes(4), 4), 0, (1,), (1,)),
        lambda run: parameter(Call(Name("os", "system"), run)),
        lambda run: Call(
            Name("torch._tensor", "_rebuild_from_type_v2"), Name("os", "system"), Name("torch", "Tensor"), (run,), {}
        ),
        lambda run: Call(Name("collections", "OrderedDict"), Call(Name("os", "system"), run)),
        lambda run: Call(Name("collections", "OrderedDict"), state={"__class__": Name("os", "system"), "a": run}),
        lambda run: Call(Name("collections", "defaultdict"), Name("os", "system")),
        lambda run: {Call(Name("os", "system"), run): 1},
    ],
)
@pytest.mark.parametrize("place", [lambda g: g, lambda g: {"w": tensor(WEIGHT), "x": g}, lambda g: {"w": {"x": g}}])
def test_gadgets_do_nothing(tmp_path, monkeypatch, save, gadget, place):
    def called(*arguments):
        raise AssertionError(f"called with {arguments}")

    marker = tmp_path / "was here"
    data = save(place(gadget(f"touch '{marker}'")))
    for module, name in ((os, "system"), (pickle, "loads"), (pickle, "load"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, called)
    try:
        found = nn.read_state_dict(data)
    except (ValueError, UnsupportedError):
        found = {}
    assert set(found) <= {"w", "x"}
    assert all(type(array) is np.ndarray for array in found.values())
    assert not marker.exists()
