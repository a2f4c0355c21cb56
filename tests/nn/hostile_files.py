"""Reads hostile files in a process of bounded memory that watches for imports and execution.

``python hostile_files.py checkpoints|npz|safetensors COUNT`` prints as JSON what became of COUNT mutated files;
``python hostile_files.py bombs 0``, of files whose few bytes ask for much.
"""

from __future__ import annotations

import collections
import io
import json
import pickle
import pickletools
import resource
import struct
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from convlens import UnsupportedError, nn
from convlens.nn import _files, _pickle, _torch_files

sys.path.insert(0, str(Path(__file__).parent))
from torch_files import Call, Name, legacy_parts, parameter, save_zip, storage, tensor, zip_members, zipped

MEMORY_BYTES = 256 << 20
FORBIDDEN = ("exec", "compile", "pickle.", "os.", "subprocess.", "open", "socket.", "ctypes.", "shutil.", "marshal.")
CODES = [bytes([code]) for code in range(256)]
KNOWN = list(_pickle._OPERATIONS)
INTEGERS = [0, 1, 2, 255, 65535, 2**31 - 1, -1, -(2**31), 2**32, 2**61, 2**62, 2**63 - 1, 2**63, -(2**63), 2**200]


def contents():
    """Every kind of tensor, in a dict beside what is not one."""
    whole = storage(np.arange(24, dtype=np.float32))
    state = collections.OrderedDict(
        a=parameter(tensor(np.ones((2, 3, 3, 3), np.float32))),
        b=tensor(whole, 4, (2, 3), (6, 2)),
        c=tensor(whole, 0, (4, 6), (1, 4)),
        d=tensor(np.arange(5)),
        e=tensor(np.array([True, False])),
    )
    other = Call(
        Name("numpy.core.multiarray", "scalar"), Call(Name("numpy", "dtype"), "f8", state=(3, "<")), b"abcdefgh"
    )
    return [state, {"state_dict": state, "epoch": 3, "best": other, "history": [1.5, (2, None)]}]


def operations(data):
    """The pickle cut into its operations."""
    places = [place for _, _, place in pickletools.genops(data)]
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]


def integer(rng):
    value = int(rng.choice(INTEGERS, shuffle=False)) if rng.random() < 0.5 else int(rng.integers(-4, 40))
    return pickle.dumps(value, 2)[2:-1]


def mutated_operations(rng, data):
    """Operations changed, moved, doubled, dropped, or given another number."""
    parts = operations(data)
    for _ in range(rng.integers(1, 4)):
        at, other = rng.integers(1, len(parts), 2)
        kind = rng.integers(7)
        if kind == 0:
            parts[at] = KNOWN[rng.integers(len(KNOWN))] + parts[at][1:]
        elif kind == 1:
            parts[at] = CODES[rng.integers(256)] + parts[at][1:]
        elif kind == 2:
            parts.insert(at, parts[other])
        elif kind == 3:
            parts[at], parts[other] = parts[other], parts[at]
        elif kind == 4 and len(parts) > 3:
            del parts[at]
        elif kind == 5:
            parts.insert(at, integer(rng))
        else:
            numbers = [place for place, part in enumerate(parts) if part[:1] in b"KMJ\x8a"]
            if numbers:
                parts[numbers[rng.integers(len(numbers))]] = integer(rng)
    return b"".join(parts)


def mutated_bytes(rng, data):
    """Bits flipped, the end cut off, or a piece copied elsewhere."""
    data = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    if kind == 1:
        a, b = rng.integers(0, len(data), 2)
        piece = data[a : a + rng.integers(1, 64)]
        data[b : b + (len(piece) if rng.random() < 0.5 else 0)] = piece
        return bytes(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9 if kind == 2 else 2)):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def checkpoints(count):
    """Yield `count` files; of the zip form most with right checksums."""
    rng = np.random.default_rng(0)
    values = contents()
    zips = [zip_members(value, protocol=protocol) for value in values for protocol in (2, 4)]
    legacies = [legacy_parts(value, protocol=protocol) for value in values for protocol in (2, 4)]
    for _ in range(count):
        change = mutated_operations if rng.random() < 0.5 else mutated_bytes
        pick = rng.integers(4)
        if rng.random() < 0.5:
            head, pickled, tail = legacies[pick]
            if rng.random() < 0.2:
                yield mutated_bytes(rng, head + pickled + tail)
            else:
                yield head + change(rng, pickled) + tail
            continue
        members = dict(zips[pick])
        fate = rng.random()
        if fate < 0.75:
            members["archive/data.pkl"] = change(rng, members["archive/data.pkl"])
        elif fate < 0.85:
            name = list(members)[rng.integers(len(members))]
            members[name] = mutated_bytes(rng, members[name] or b"x")
        data = zipped(members, zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED)
        yield data if fate < 0.85 else mutated_bytes(rng, data)


def streams():
    """Pickles whose few bytes ask for much."""
    count = 300_000
    yield b"\x80\x02" + b"}" * 5_000_000 + b"."
    yield b"\x80\x02" + b"(" * count + b"."
    yield b"\x80\x02" + b")" + b"\x85" * count + b"."
    yield b"\x80\x02]" + b"]" * count + b"a" * count + b"."
    # A key so deep that hashing it would end the process.
    yield b"\x80\x02})" + b"\x85" * count + b"Ns."
    # A list of pairs made into a dict again and again.
    pairs = b"](" + b"NN\x86" * 20_000 + b"eq\x00"
    yield b"\x80\x02ccollections\nOrderedDict\nq\x01" + pairs + b"h\x01h\x00\x85R0" * 50_000 + b"."
    # A tuple that doubles with every operation.
    yield b"\x80\x02N" + b"q\x00h\x00\x86" * 100_000 + b"."
    # Numbers that hash alike.
    alike = b"".join(b"\x8a\x0a" + ((2**61 - 1) * k).to_bytes(10, "little") + b"N" for k in range(200_000))
    yield b"\x80\x02}(" + alike + b"u."
    yield b"\x80\x02}r\xff\xff\xff\xff."
    yield b"\x80\x02\x8e" + struct.pack("<Q", 2**62) + b"."
    yield b"\x80\x02]q\x00h\x00a."
    # One dict under very many names: looked through once.
    wide = b"}(" + b"".join(b"U\x05%05dN" % k for k in range(50_000)) + b"uq\x000"
    yield b"\x80\x02" + wide + b"}(" + b"".join(b"U\x05%05dh\x00" % k for k in range(50_000)) + b"u."


def bombs(_):
    """The bombs in both forms, then archives that unpack to much."""
    head, _, tail = legacy_parts({"a": tensor(np.ones(3, np.float32))})
    for stream in streams():
        yield zipped({"a/data.pkl": stream})
        yield head + stream + tail
    yield zipped({"a/data.pkl": b"\x80\x02" + bytes(200 << 20)}, zipfile.ZIP_DEFLATED)
    big = tensor(np.zeros(30 << 20, np.float32))
    yield save_zip({"a": big}, compression=zipfile.ZIP_DEFLATED)
    # One storage under a thousand names and shapes is one storage.
    whole = storage(np.ones(100_000, np.float32))
    yield save_zip({str(k): tensor(whole, k, (99_000,), (1,)) for k in range(1000)})


def network():
    """Every kind of constant a network file holds."""
    x = nn.Input((2, 6, 6))
    y = nn.Conv2d(out_channels=2, kernel_size=3, padding="same")(nn.BatchNorm2d()(nn.Pad(padding=1, value=0.5)(x)))
    flat = nn.Reshape(shape=(128,))(y)
    return nn.Network(inputs=x, outputs=nn.Softmax()(nn.Linear(out_features=3)(flat)), seed=5)


def mutated_json(rng, text):
    """A value of the document replaced, moved or dropped; or its bytes changed."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, text)
    document = json.loads(text)
    places = []

    def walk(value):
        if isinstance(value, (dict, list)):
            for key in value if isinstance(value, dict) else range(len(value)):
                places.append((value, key))
                walk(value[key])

    walk(document)
    for _ in range(rng.integers(1, 4)):
        holder, key = places[rng.integers(len(places))]
        other, there = places[rng.integers(len(places))]
        values = [None, True, -1, 0, 3, 2**31, 2**63, 2**70, 1e308, float("nan"), float("inf"), "", "x", [], {}, [[3]]]
        try:
            value = values[rng.integers(len(values))] if rng.random() < 0.6 else json.loads(json.dumps(other[there]))
            if rng.random() < 0.15:
                del holder[key]
            else:
                holder[key] = value
        # An earlier change took the place away, or the document holds itself no more.
        except (IndexError, KeyError, TypeError):
            continue
    return json.dumps(document).encode()


def saved(suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net.{suffix}"
        network().save(path)
        return path.read_bytes()


def npz(count):
    """Yield `count` network files, most with right checksums."""
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(io.BytesIO(saved("npz"))) as archive:
        original = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(count):
        members = dict(original)
        fate = rng.random()
        if fate < 0.5:
            members["graph.json"] = mutated_json(rng, members["graph.json"])
        elif fate < 0.85:
            name = list(members)[rng.integers(len(members))]
            # The header of an .npy is its first 128 bytes.
            members[name] = mutated_bytes(rng, members[name][:128]) + members[name][128:]
        data = zipped(members, zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED)
        yield data if fate < 0.85 else mutated_bytes(rng, data)
    yield zipped({**original, "graph.json": b"[" * 100_000})
    yield zipped({**original, "graph.json": b'{"format": ' + b"9" * 100_000 + b"}"})
    yield zipped({**original, "conv1.weight.npy": bytes(100 << 20)}, zipfile.ZIP_DEFLATED)


def safetensors(count):
    """Yield `count` network files, most with a header of the length it says."""
    rng = np.random.default_rng(2)
    original = saved("safetensors")
    end = 8 + int.from_bytes(original[:8], "little")
    for _ in range(count):
        if rng.random() < 0.2:
            yield mutated_bytes(rng, original)
            continue
        header = json.loads(original[8:end])
        if rng.random() < 0.5:
            header["__metadata__"]["convlens"] = mutated_json(rng, header["__metadata__"]["convlens"].encode()).decode(
                "latin-1"
            )
        else:
            name = list(header)[rng.integers(1, len(header))]
            values = [None, "BF16", "F64", "BOOL", "F8_E4M3", [0, 2**40], [2**62, 4], [0, 0], [-1]]
            header[name][list(header[name])[rng.integers(3)]] = values[rng.integers(len(values))]
        text = json.dumps(header).encode()
        yield len(text).to_bytes(8, "little") + text + original[end:]


def read(kind, data, outcomes):
    """Read one file; what comes out is small, or the error is ours."""
    outcomes["files"] += 1
    start = time.perf_counter()
    try:
        if kind in ("npz", "safetensors"):
            arrays = read_network(kind, data, outcomes).parameters.values()
        else:
            arrays = read_checkpoint(data).values()
        outcomes["read"] += 1
        for array in arrays:
            assert type(array) is np.ndarray
            assert array.nbytes <= max(16 * len(data), 1 << 10)
            array.copy()
    except ValueError:
        outcomes["ValueError"] += 1
    except UnsupportedError:
        outcomes["UnsupportedError"] += 1
    outcomes["slowest_ms"] = max(outcomes["slowest_ms"], round(1000 * (time.perf_counter() - start)))


def read_checkpoint(data):
    try:
        return nn.read_state_dict(data)
    except ValueError as error:
        if "choose one" not in str(error):
            raise
    return nn.read_state_dict(data, key="state_dict")


def read_network(kind, data, outcomes):
    path = Path(FOLDER) / f"net.{kind}"
    watching, outcomes["watching"] = outcomes["watching"], 0
    path.write_bytes(data)
    outcomes["watching"] = watching
    return nn.load(path)


def counted(outcomes):
    """Count the files whose contents the interpreter begins, and those whose end it reaches."""
    interpret = _torch_files.read_pickle
    seen = {"begun": 0, "ended": 0}

    def counting(data, position=0, **options):
        for name in ("begun", "ended"):
            if name == "ended":
                value = interpret(data, position, **options)
            # `options` are those of the contents; a file may be read twice.
            if options and seen[name] != outcomes["files"]:
                seen[name] = outcomes["files"]
                outcomes[name] += 1
        return value

    _torch_files.read_pickle = counting


def watched(outcomes):
    """Count what the audit hooks see of imports, execution and files, while ``outcomes["watching"]``."""
    # zipfile decodes names by it, and imports it at the first.
    b"".decode("cp437")

    def hook(event, arguments):
        ours = event == "open" and str(arguments[0]).startswith(FOLDER)
        if outcomes["watching"] and not ours and (event == "import" or event.startswith(FORBIDDEN)):
            outcomes["forbidden"] += 1

    sys.addaudithook(hook)
    outcomes["watching"] = 1
    __import__("colorsys")
    assert outcomes["forbidden"] > 0, "the hook sees nothing"


def counted_graphs(outcomes):
    """Count the network files whose graph is built."""
    build = _files.graph_from_json

    def counting(data, arrays):
        outcomes["begun"] += 1
        return build(data, arrays)

    _files.graph_from_json = counting


def main(kind, count):
    outcomes = collections.Counter()
    if kind in ("npz", "safetensors"):
        read(kind, saved(kind), outcomes)
    else:
        for value in contents():
            read(kind, save_zip(value), outcomes)
            read(kind, b"".join(legacy_parts(value)), outcomes)
    assert outcomes["read"] == outcomes["files"], outcomes
    watched(outcomes)
    counted(outcomes)
    counted_graphs(outcomes)
    outcomes.clear()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    for data in SOURCES[kind](count):
        resource.setrlimit(resource.RLIMIT_AS, (limit + len(data), resource.RLIM_INFINITY))
        outcomes["watching"] = 1
        read(kind, data, outcomes)
        outcomes["watching"] = 0
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps(outcomes))


SOURCES = {"checkpoints": checkpoints, "npz": npz, "safetensors": safetensors, "bombs": bombs}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        main(sys.argv[1], int(sys.argv[2]))
