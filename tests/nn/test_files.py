"""Files: round trips to the same bits, atomic writing, broken and hostile files."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import zipfile

import numpy as np
import pytest

from convlens import UnsupportedError, nn


def _network():
    x = nn.Input((2, 8, 8))
    y = nn.Conv2d(out_channels=2, kernel_size=3, padding="same")(nn.BatchNorm2d()(nn.Pad(padding=1, value=0.5)(x)))
    flat = nn.Reshape(shape=(200,))(y)
    return nn.Network(inputs=x, outputs=nn.Softmax()(nn.Linear(out_features=3)(flat)), seed=5)


def _same(first, second):
    assert second.graph.nodes == first.graph.nodes
    assert second.graph.types == first.graph.types
    assert second.graph.outputs == first.graph.outputs
    assert list(second.graph.constants) == list(first.graph.constants)
    for name, array in first.graph.constants.items():
        assert second.graph.constants[name].dtype == array.dtype
        assert second.graph.constants[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_saving_and_loading_gives_the_same_bits(tmp_path, suffix, dtype):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    net = _network().astype(dtype)
    path = tmp_path / f"net.{suffix}"
    net.save(path)
    loaded = nn.load(path)
    _same(net, loaded)
    assert loaded.dtype == dtype


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_notes_and_module_paths_are_kept(tmp_path, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    net = nn.Network(graph=_network().graph, notes=["float16 weights were converted"], paths={"stem.0": "conv1"})
    net.save(tmp_path / f"net.{suffix}")
    loaded = nn.load(tmp_path / f"net.{suffix}")
    assert (loaded.notes, loaded.paths) == (net.notes, net.paths)
    assert loaded.find("stem.0") == "conv1"


def test_network_without_notes_is_written_as_before(tmp_path):
    _network().save(tmp_path / "net.npz")
    graph = json.loads(_members(tmp_path / "net.npz")["graph.json"])
    assert set(graph) == {"format", "inputs", "outputs", "constants", "nodes"}


def test_numpy_reads_the_arrays_without_pickle(tmp_path):
    net = _network()
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        assert file["conv1.weight"].tobytes() == net.parameters["conv1.weight"].tobytes()


def test_equal_networks_make_equal_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        _network().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    _network().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        _network().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    _network().save(tmp_path / "net.npz")
    mode = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "net.npz")]
    assert mode[0] == mode[1]


def test_onnx_is_written_by_export(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .npz or .safetensors; convlens.onnx.export\(net, path\)"):
        _network().save(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", ["net.pt", "net", "net.npy"])
def test_other_endings_name_the_two(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in .npz or .safetensors"):
        _network().save(tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in .npz or .safetensors"):
        nn.load(tmp_path / name)


def test_missing_extra_prints_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match='pip install "convlens\\[safetensors\\]"'):
        _network().save(tmp_path / "net.safetensors")


def test_plain_arrays_are_told_what_to_do(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds arrays but no network.*net.set_parameters"):
        nn.load(tmp_path / "arrays.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a whole .npz file"):
        nn.load(tmp_path / "evil.npz")


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.update(format=99),
        lambda g: g.update(nodes=[]),
        lambda g: g.pop("inputs"),
        lambda g: g.update(inputs={}),
        lambda g: g.update(constants=["no such array"]),
        lambda g: g["nodes"][0].update(op="Nonsense"),
        lambda g: g["nodes"][0].update(inputs=["nowhere"]),
        lambda g: g["nodes"][2]["attributes"].update(pads=[9]),
        lambda g: g["nodes"][2]["attributes"].update(strides="x"),
        lambda g: g.update(nodes=7),
        lambda g: g.update(notes="a text"),
        lambda g: g.update(notes=[7]),
        lambda g: g.update(paths=["stem"]),
        lambda g: g.update(paths={"stem": "no such tensor"}),
        lambda g: g.update(paths={"stem": ["conv1"]}),
    ],
)
def test_contradictory_graph_is_a_value_error(tmp_path, change):
    path = tmp_path / "net.npz"
    _network().save(path)
    members = _members(path)
    graph = json.loads(members["graph.json"])
    change(graph)
    _write(path, {**members, "graph.json": json.dumps(graph)})
    with pytest.raises((ValueError, UnsupportedError), match=r"net.npz|exactly one|no such operator"):
        nn.load(path)


def test_array_of_another_shape_is_a_value_error(tmp_path):
    path = tmp_path / "net.npz"
    _network().save(path)
    member = io.BytesIO()
    np.save(member, np.zeros((3, 7), np.float32))
    _write(path, {**_members(path), "linear1.weight.npy": member.getvalue()})
    with pytest.raises(ValueError, match="does not hold a network convlens can read"):
        nn.load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"(((((",
        b"-" * 9000 + b"1",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }",
        b"{'descr': '<f3', 'fortran_order': False, 'shape': (3, 200), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 200), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 200), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -200), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 199), }",
    ],
)
def test_headers_that_numpy_does_not_write_for_numbers_are_refused(tmp_path, header):
    path = tmp_path / "net.npz"
    _network().save(path)
    members = _members(path)
    numbers = members["linear1.weight.npy"][128:]
    member = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + numbers
    _write(path, {**members, "linear1.weight.npy": member})
    with pytest.raises(ValueError, match=r"not a whole .npz file: the member 'linear1.weight.npy'"):
        nn.load(path)


def test_arrays_that_numpy_wrote_in_another_way_are_read(tmp_path):
    path = tmp_path / "net.npz"
    net = _network()
    net.save(path)
    weight = net.parameters["linear1.weight"]
    for version in ((1, 0), (2, 0), (3, 0)):
        member = io.BytesIO()
        np.lib.format.write_array(member, np.asfortranarray(weight), version=version)
        _write(path, {**_members(path), "linear1.weight.npy": member.getvalue()})
        assert nn.load(path).parameters["linear1.weight"].tobytes() == weight.tobytes()


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"format": ' + b"9" * 10_000 + b"}"])
def test_graph_too_deep_or_long_to_parse_is_a_value_error(tmp_path, text):
    path = tmp_path / "net.npz"
    _network().save(path)
    _write(path, {**_members(path), "graph.json": text})
    with pytest.raises(ValueError, match="does not hold a network convlens can read"):
        nn.load(path)


def test_archive_that_unpacks_to_much_is_refused(tmp_path):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graph.json", bytes(1 << 20))
    with pytest.raises(ValueError, match="has 1048576 bytes, too many for a file of"):
        nn.load(path)


def test_a_folder_that_does_not_exist_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent/net\.npz'$"):
        _network().save(tmp_path / "absent" / "net.npz")
