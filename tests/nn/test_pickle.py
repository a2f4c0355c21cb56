"""The interpreter of pickles: what it knows, what it refuses, what it never takes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from convlens import nn
from convlens.nn import _pickle
from nn.torch_files import legacy_parts, tensor, zipped


def _refused(data, text):
    with pytest.raises(ValueError, match=text):
        nn.read_state_dict(data)


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "the operation b'\\\\x8b'"),
        (b"\x80\x02\x82\x01.", "the operation b'\\\\x82'"),
        (b"\x80\x02I1\n.", "the operation b'I'"),
        (b"\x80\x02(S'ls'\nios\nsystem\n.", "the operation b'S'"),
        (b"\x80\x02\x97.", "the operation b'\\\\x97'"),
        (b"\x80\x06N.", "protocol 6, not 2 to 5"),
        (b"\x80\x02\x8d" + b"\xff" * 8, "ends early"),
        (b"\x80\x02X\xff\xff\xff\xffa", "ends early"),
        (b"\x80\x02T\xff\xff\xff\xffa", "negative length"),
        (b"\x80\x02N", "ends early"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02q\x00.", "empty stack"),
        (b"\x80\x02t.", "misses a mark"),
        (b"\x80\x02N(.", "empty stack"),
        (b"\x80\x02NN.", "leaves values behind"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "remembers a value under 4294967295"),
        (b"\x80\x02h\x05.", "never remembered"),
        (b"\x80\x02Nq\x02h\x01.", "never remembered"),
        (b"\x80\x02Na.", "empty stack"),
        (b"\x80\x02)Na.", "appends to what is not a list"),
        (b"\x80\x02]NNs.", "sets items of what is not a dict"),
        (b"\x80\x02}(Nu.", "key without a value"),
        (b"\x80\x02](N\x90.", "not a set"),
        (b"\x80\x02N)R.", "calls what is not a name"),
        (b"\x80\x02cos\nsystem\nNR.", "not a tuple"),
        (b"\x80\x02NN\x93.", "names a global by what is not text"),
        (b"\x80\x02cos\n" + b"a" * 2000 + b"\n.", "a name without an end"),
        (b"\x80\x02NQ.", "refers to a storage"),
        (b"\x80\x02(X\x01\x00\x00\x00a)tQ.", "refers to a storage"),
        (b"\x80\x02ccollections\nOrderedDict\n](NNe\x85R.", "not pairs"),
    ],
)
def test_streams_that_no_pickler_writes_are_refused(stream, text):
    _refused(zipped({"a/data.pkl": stream}), text)
    head, _, tail = legacy_parts({"a": tensor(np.ones(3, np.float32))})
    _refused(head + stream + tail, "not a checkpoint convlens can read")


def test_interpreter_knows_what_pickles_hold():
    value = {"a": [1, -2, 3.5, None, True, False, "tëxt", b"bytes", (), (1,), (1, 2, 3, 4), 2**100, 70000, [], {}]}
    value["b"] = value["a"]
    for protocol in (2, 3, 4, 5):
        data = pickle.dumps(value, protocol)
        found, end = _pickle.read_pickle(b"before" + data + b"after", 6)
        assert end == 6 + len(data)
        if protocol == 2:
            # Protocol 2 has bytes as a call.
            assert str(found["a"].pop(7)) == "_codecs.encode"
            value["a"].pop(7)
        assert found == value
        assert found["a"] is found["b"]
        value["a"].insert(7, b"bytes") if protocol == 2 else None


def test_keys_that_are_not_text_are_neither_hashed_nor_compared():
    found, _ = _pickle.read_pickle(pickle.dumps({1: "a", 1.5: "b", (2, ()): "c", "d": "e", None: "f"}, 2))
    assert list(found.values()) == ["a", "b", "c", "e", "f"]
    assert [type(key) for key in found] == [object, object, object, str, object]
