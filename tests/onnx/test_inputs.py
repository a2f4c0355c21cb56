"""What a file's inputs may be: several, integers, of open sizes; constants and weights in other types and places."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from onnx_models import model, node, random

import convlens as cl
import onnx
from convlens import UnsupportedError, explain
from onnx import TensorProto, helper, numpy_helper

METHODS = explain.methods()
ALL = pytest.mark.parametrize("name", METHODS)


def call(name, net, x, target=None, **more):
    small = {"window": 3, "stride": 2} if name == "occlusion" else {}
    return METHODS[name].function(net, x, target, **{**METHODS[name].options, **small, **more})


def evaluated(made, **feeds):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(made).run(None, feeds)


def central(f, x, eps=1e-6):
    """The gradient of a number by central differences."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = x.copy()
        moved[place] += eps
        above = f(moved)
        moved[place] -= 2 * eps
        gradient[place] = (above - f(moved)) / (2 * eps)
    return gradient


# -- several inputs ----------------------------------------------------------------------------------------------------

TWO = {"w": random(4, 2, 3, 3), "b": random(4, seed=1), "head": random(7, 3, seed=2), "c": random(3, seed=3)}


def two(meta=("batch", 3), outputs=("y",)):
    """Features of an image and three numbers of the patient, joined before the head."""
    nodes = [
        *(node("Conv", "x w b", "conv", "conv", pads=[1, 1, 1, 1]), node("Sigmoid", "conv", "act", "act")),
        *(node("GlobalAveragePool", "act", "pool"), node("Flatten", "pool", "flat")),
        *(node("Concat", "flat meta", "joined", axis=1), node("Gemm", "joined head c", "y", "head")),
        node("Softmax", "y", "p"),
    ]
    return model(nodes, ("batch", 2, 6, 7), weights=TWO, inputs={"meta": meta}, outputs=outputs)


X, META = random(3, 2, 6, 7, seed=4), random(3, 3, seed=5)
BOTH = {"x": X, "meta": META}


def test_several_inputs_are_given_in_order_by_name_or_as_a_mapping():
    net = cl.load(two())
    want = evaluated(two(), x=X, meta=META)[0]
    for got in (
        net(X, META),
        net(X, meta=META),
        net(x=X, meta=META),
        net({"meta": META, "x": X}),
        net({"x": X}, meta=META),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert list(net.graph.inputs) == ["x", "meta"]
    assert "x float32(N, 2, 6, 7), meta float32(N, 3)" in repr(net)
    assert net.activations({"x": X, "meta": META}, ["act", "joined"])["joined"].shape == (3, 7)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again(X, META), net(X, META))


def test_a_saved_network_of_several_inputs_is_read_back(tmp_path):
    net = cl.load(two())
    net.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(cl.load(tmp_path / "net.npz")(X, META), net(X, META))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (lambda net: net(X), TypeError, "`images` is one array, the network takes 'x', 'meta': give a mapping"),
        (lambda net: net(X, META, META), TypeError, "the network takes 'x', 'meta', not 3 inputs"),
        (lambda net: net(X, x=X), TypeError, "`x` is given twice"),
        (lambda net: net({"x": X}), TypeError, r"`meta` .*is missing; it takes .x. float32.N, 2, 6, 7"),
        (lambda net: net(X, mete=META), TypeError, "`mete` is no input of the network"),
        (lambda net: net(X, META[:2]), ValueError, r"must be of one batch, not of 3 \(x\), 2 \(meta\) images"),
        (lambda net: net(X, META[:, :2]), ValueError, r"`meta` has shape \(3, 2\), the network takes \(N, 3\)"),
        (lambda net: net(X, META.astype(np.float64)), TypeError, "`meta` is float64, the network takes float32"),
        (lambda net: explain.saliency(net, X), TypeError, "give a mapping"),
        (lambda net: explain.saliency(net, BOTH, input="metas"), ValueError, "`input` .*nearest are 'meta'"),
        (lambda net: explain.occlusion(net, BOTH, input="meta"), ValueError, "occlusion covers windows of images"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named_with_their_remedy(given, error, text):
    with pytest.raises(error, match=text):
        given(cl.load(two()))


@pytest.mark.parametrize("name", ["x", "meta"])
def test_gradients_of_each_input_are_central_differences(name):
    net = cl.load(two()).astype(np.float64)
    given = {"x": X[:1].astype(np.float64), "meta": META[:1].astype(np.float64)}
    why = explain.saliency(net, given, 2, input=name)
    want = central(lambda moved: net({**given, name: moved})[0, 2], given[name])
    assert np.abs(why.values - want).max() <= 1e-7 * np.abs(want).max()
    assert why.input == name
    other = "meta" if name == "x" else "x"
    assert why.notes == (f"explained is {name!r}; held as given: {other!r}",)


@ALL
def test_every_method_explains_the_images_and_holds_the_rest(name):
    """As the network whose other input is a constant is explained, image by image."""
    net = cl.load(two()).astype(np.float64)
    x, meta = X.astype(np.float64), META.astype(np.float64)
    whole = call(name, net, {"meta": meta, "x": x}, 1)
    assert whole.input == "x"
    for i in range(len(x)):
        alone = model_with_constant(meta[i])
        want = call(name, alone, x[i : i + 1], 1)
        if METHODS[name].seeded and i:
            continue  # noise is keyed by the image's index
        np.testing.assert_allclose(whole[i].values, want.values, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(whole.score[i], want.score[0], rtol=1e-12)


def model_with_constant(meta):
    """The head's share of the other input as a bias."""
    nodes = [
        *(node("Conv", "x w b", "conv", "conv", pads=[1, 1, 1, 1]), node("Sigmoid", "conv", "act", "act")),
        *(
            node("GlobalAveragePool", "act", "pool"),
            node("Flatten", "pool", "flat"),
            node("Gemm", "flat front shift", "y"),
        ),
    ]
    weights = {**TWO, "front": TWO["head"][:4], "shift": np.zeros(3, np.float32)}
    net = cl.load(model(nodes, ("batch", 2, 6, 7), weights=weights)).astype(np.float64)
    net.set_parameters({"shift": TWO["c"] + meta @ TWO["head"][4:].astype(np.float64)})
    return net


def test_only_the_inputs_that_the_outputs_need_are_asked_for():
    net = cl.load(two(), outputs="flat")
    assert list(net.graph.inputs) == ["x"]
    net = cl.load(two(outputs=["y", "act"]))
    assert sorted(net(X, META)) == ["act", "y"]


def test_output_picks_among_several():
    net = cl.load(two(outputs=["act", "y", "p"]))
    given = {"x": X, "meta": META}
    assert explain.saliency(net, given, 1, output="y").output == "y"
    weights = np.zeros(net.graph.types["act"].per_image, np.float32)
    weights[2, 3, 4] = 1
    why = explain.saliency(net, given, weights, output="act")
    assert np.flatnonzero(np.abs(why.values[0]).sum(axis=(0, 1)).round(9)).tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="nothing that 'act' depends on"):
        explain.saliency(net, given, weights, output="act", input="meta")


def test_integrated_gradients_of_one_input_sum_to_the_change_it_makes():
    net = cl.load(two()).astype(np.float64)
    given = {"x": X.astype(np.float64), "meta": META.astype(np.float64)}
    for name in given:
        why = explain.integrated_gradients(net, given, 0, input=name, n_steps=40)
        change = net(given)[:, 0] - net({**given, name: np.zeros_like(given[name])})[:, 0]
        np.testing.assert_allclose(why.values.reshape(3, -1).sum(1), change, rtol=1e-9)


# -- integers ----------------------------------------------------------------------------------------------------------

WORDS = {"table": random(11, 5, seed=6), "w": random(4, 5, 3, seed=7), "head": random(4, 2, seed=8)}


def words(kind=TensorProto.INT64, length=9, opset=21):
    """A sentence of 9 words, each looked up, then a 1-D convolution."""
    nodes = [
        *(node("Gather", "table tokens", "embedded", "embedding"), node("Transpose", "embedded", "t", perm=[0, 2, 1])),
        *(
            node("Conv", "t w", "conv", "conv"),
            node("Sigmoid", "conv", "act"),
            node("GlobalAveragePool", "act", "pool"),
        ),
        *(node("Flatten", "pool", "flat"), node("Gemm", "flat head", "y", "head")),
    ]
    made = model(nodes, ("batch", length), weights=WORDS, kind=kind, opset=opset)
    made.graph.input[0].name = "tokens"
    return made


TOKENS = np.random.default_rng(9).integers(-11, 11, (3, 9))


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_integers_are_looked_up(kind):
    made = words(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    net = cl.load(made)
    want = evaluated(made, tokens=TOKENS.astype(kind))[0]
    for given in (TOKENS, TOKENS.astype(np.int32), TOKENS.astype(np.int16)):
        np.testing.assert_allclose(net(given), want, rtol=1e-5, atol=1e-6)
    assert net(TOKENS[:0]).shape == (0, 2)
    assert net.astype(np.float64)(TOKENS).dtype == np.float64


def test_integers_outside_the_table_are_refused():
    net = cl.load(words())
    for wrong in (11, -12):
        with pytest.raises(ValueError, match=rf"holds {wrong}, but its embedding has 11 rows, 0 to 10"):
            net(np.full((1, 9), wrong))
    with pytest.raises(TypeError, match="is float32, the network takes int64"):
        net(np.zeros((1, 9), np.float32))


@ALL
def test_integers_are_explained_at_the_embedding(name):
    net = cl.load(words()).astype(np.float64)
    embedded = net.activations(TOKENS, ["embedded"])["embedded"]
    more = {"layer": "act"} if METHODS[name].needs_layer else {}
    why = call(name, net, TOKENS, 1, **more)
    assert why.input == "embedded"
    assert why.notes[0] == "explained at the embedding 'embedded' of the integers 'tokens'"
    alone = cl.load(words(), outputs="y").graph
    # The rest of the network, given the embedding.
    from convlens.explain._subject import find_subject

    rest = cl.nn.Network(graph=find_subject(net, None, output="y").graph.subgraph(["y"]), layouts={"embedded": "NLC"})
    want = call(name, rest, embedded, 1, **more)
    np.testing.assert_array_equal(why.values, want.values)
    kind = METHODS[name].values
    if kind != "layer":
        assert why.values.shape == (3, 9, 5 if kind == "input" else 1)
    assert alone.outputs == ("y",)


def test_gradients_at_the_embedding_are_central_differences():
    net = cl.load(words()).astype(np.float64)
    why = explain.saliency(net, TOKENS[:1], 1)
    table = net.parameters["table"].copy()
    gradient = np.zeros_like(why.values)
    for place in range(9):  # a table of its own row for each place

        def score(row, place=place):
            moved = net.activations(TOKENS[:1], ["embedded"])["embedded"].copy()
            moved[0, place] = row
            weight = net.parameters["w"]
            columns = np.stack([moved[0, i : i + 3].T for i in range(7)])
            act = 1 / (1 + np.exp(-np.einsum("pcs,kcs->kp", columns, weight)))
            return act.mean(1) @ net.parameters["head"][:, 1]

        gradient[0, place] = central(score, table[TOKENS[0, place]])
    assert np.abs(why.values - gradient).max() <= 1e-7 * np.abs(gradient).max()


def test_columns_of_categories_have_a_table_each():
    """Numbers and two categories, as tabular networks have them: moves of integers become moves of rows."""
    nodes = [
        *(node("Gather", "kinds zero", "k0", axis=1), node("Gather", "first k0", "e0")),
        *(node("Slice", "kinds one two axis", "k1"), node("Gather", "second k1", "e1"), node("Flatten", "e1", "f1")),
        *(node("Concat", "e0 f1 x", "joined", axis=1), node("Gemm", "joined head", "y")),
    ]
    weights = {
        "first": random(4, 3, seed=1), "second": random(20, 2, seed=2), "head": random(7, 3, seed=3),
        "zero": np.array(0), "one": np.array([1]), "two": np.array([2]), "axis": np.array([1]),
    }  # fmt: skip
    made = model(nodes, ("batch", 2), weights=weights, inputs={"kinds": ["batch", 2]})
    made.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    net = cl.load(made)
    given = {"x": random(3, 2), "kinds": np.array([[0, 19], [3, 0], [-1, 7]])}
    np.testing.assert_allclose(net(given), evaluated(made, **given)[0], rtol=1e-5, atol=1e-6)
    assert explain.saliency(net, given, 1).input == "x"
    np.testing.assert_allclose(explain.saliency(net, given, 1, input="e0").values[0], weights["head"][:3, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="read through 2 embeddings; name one of 'e0', 'e1' as `input`"):
        explain.saliency(net, given, 1, input="kinds")


def test_integers_that_are_computed_with_are_refused_by_name():
    nodes = [node("Mul", "tokens two", "m", "twice"), node("Gather", "table m", "y")]
    made = model(nodes, ("batch", 4), weights={"table": WORDS["table"], "two": np.array(2)}, kind=TensorProto.INT64)
    made.graph.input[0].name = "tokens"
    with pytest.raises(UnsupportedError, match=r"node 'twice' \(Mul\)"):
        cl.load(made)(TOKENS[:, :4])


# -- open sizes --------------------------------------------------------------------------------------------------------

OPEN = {
    "w": random(4, 2, 3, 3),
    "b": random(4, seed=1),
    "u": random(3, 4, 3, 3, seed=2),
    "head": random(3, 5, seed=3),
    "two": np.array([2]),
    "four": np.array([4]),
    "zero": np.array([0]),
    "last": np.array([-1]),
}


def open_sizes(shape=("batch", 2, "height", "width")):
    """Down, and up again to the size that came: Resize by what Shape says; a Reshape by arithmetic on it."""
    nodes = [
        *(node("Conv", "x w b", "c", "down", strides=[2, 2], pads=[1, 1, 1, 1]), node("Sigmoid", "c", "act", "act")),
        *(
            node("Conv", "act u", "d", "deep", pads=[1, 1, 1, 1]),
            node("Shape", "x", "s"),
            node("Slice", "s two four", "hw"),
        ),
        *(node("Shape", "d", "sd"), node("Slice", "sd zero two", "nc"), node("Concat", "nc hw", "to", axis=0)),
        node("Resize", "d - - to", "up", "up", mode="linear", coordinate_transformation_mode="half_pixel"),
        *(node("Concat", "nc last", "flat_to", axis=0), node("Reshape", "up flat_to", "flat")),
        *(node("ReduceMean", "flat two", "mean", keepdims=0), node("Gemm", "mean head", "y", "head")),
    ]
    return model(nodes, shape, weights=OPEN, outputs=["y", "up"])


def test_images_of_any_size_run():
    made = open_sizes()
    net = cl.load(made)
    assert net.input_shape == (2, 224, 224)
    assert "images of any size run; layers are listed for 2 x 224 x 224" in net.notes[-1]
    for size in ((9, 14), (16, 8), (9, 14), (20, 36)):
        x = random(2, 2, *size)
        for ours, theirs in zip(net(x).values(), evaluated(made, x=x), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert net.activations(x, ["up"])["up"].shape == (2, 3, *size)


def test_a_size_is_compiled_once_and_shares_weights(monkeypatch):
    net = cl.load(open_sizes(), input_shape=(2, 12, 12))
    net(random(1, 2, 12, 12))
    first = net.fitting(random(1, 2, 9, 14))
    before = net.weights.nbytes
    first(random(1, 2, 9, 14))
    assert net.fitting(random(5, 2, 9, 14)) is first
    assert first._programs._whole is net._programs
    assert first.weights.packed is not None
    shared = {id(array) for array in net.weights._packed.values()}
    conv = [array for key, array in first.weights._packed.items() if key[0].geometry is not None]
    assert conv
    assert all(id(array) in shared for array in conv)
    assert net.weights.nbytes == before
    monkeypatch.setattr("convlens.nn._sizes.MOST_SIZES", 2)
    for height in (7, 8, 10):
        net(random(1, 2, height, 9))
    assert net.fitting(random(5, 2, 9, 14)) is not first


@ALL
def test_every_method_explains_images_of_any_size(name):
    net = cl.load(open_sizes()).astype(np.float64)
    fixed = cl.load(open_sizes(("batch", 2, 13, 10))).astype(np.float64)
    x = random(2, 2, 13, 10).astype(np.float64)
    more = {"layer": "act"} if METHODS[name].needs_layer else {}
    np.testing.assert_array_equal(call(name, net, x, 1, **more).values, call(name, fixed, x, 1, **more).values)


def test_new_weights_hold_for_every_size(tmp_path):
    net = cl.load(open_sizes())
    x = random(1, 2, 9, 14)
    before = net(x)["y"]
    net.set_parameters({"head": 2 * OPEN["head"]})
    np.testing.assert_allclose(net(x)["y"], 2 * before, rtol=1e-6)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again(x)["y"], net(x)["y"])
    net.save(tmp_path / "net.npz")
    assert cl.load(tmp_path / "net.npz").input_shape == net.input_shape


def test_sizes_that_the_file_fixes_stay_an_error():
    net = cl.load(open_sizes(("batch", 2, 9, "width")))
    assert net(random(1, 2, 9, 20))["up"].shape == (1, 3, 9, 20)
    for shape, remedy in (
        ((1, 2, 10, 20), "give a batch of that shape, with sizes of at least 1"),
        ((1, 3, 9, 20), "give a batch of that shape"),
        ((1, 2, 9, 0), "give a batch of that shape"),
        ((2, 9, 20), "the batch axis is missing"),
        ((1, 9, 20, 2), "channels are last"),
    ):
        with pytest.raises(ValueError, match=rf"`images` has shape .*, the network takes \(N, 2, 9, any\): {remedy}"):
            net(random(*shape))
    with pytest.raises(
        ValueError, match=r"input 'x' \(batch, channels, height, width\) has open sizes: give `input_shape`"
    ):
        cl.load(open_sizes(("batch", "channels", "height", "width")))
    assert cl.load(open_sizes(("batch", "channels", "height", "width")), input_shape=(2, 8, 8)).input_shape == (2, 8, 8)


def test_the_size_that_a_head_fits_is_found():
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w", "y")]
    net = cl.load(model(nodes, ("batch", 1, "h", "w"), weights={"w": random(1024, 2)}))
    assert net.input_shape == (1, 32, 32)
    with pytest.raises(ValueError, match="must"):
        net(random(1, 1, 20, 20))


def test_integers_of_any_length_run():
    net = cl.load(words(length="length"))
    for length in (9, 30):
        tokens = np.random.default_rng(1).integers(0, 11, (2, length))
        np.testing.assert_allclose(
            net(tokens), evaluated(words(length="length"), tokens=tokens)[0], rtol=1e-5, atol=1e-6
        )


# -- one image ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, "batch"])
def test_a_literal_batch_of_one_runs_images_one_by_one(batch):
    nodes = [
        *(node("Conv", "x w b", "c", "conv"), node("Sigmoid", "c", "a"), node("Reshape", "a to", "f", "view")),
        node("Gemm", "f head", "y"),
    ]
    weights = {"w": TWO["w"], "b": TWO["b"], "to": np.array([1, 80]), "head": random(80, 3)}
    made = model(nodes, (batch, 2, 6, 7), weights=weights)
    net = cl.load(made)
    want = np.concatenate([evaluated(made, x=x[None])[0] for x in X])
    np.testing.assert_allclose(net(X), want, rtol=1e-5, atol=1e-5)
    assert any("one by one" in note for note in net.notes)
    assert explain.saliency(net, X, 1).values.shape == X.shape


# -- weights and constants ---------------------------------------------------------------------------------------------

WEIGHTS = {"w": random(4, 2, 3, 3, seed=1), "b": random(4, seed=2)}
CONV = node("Conv", "x w b", "y", "conv")


def test_initialisers_may_be_inputs_too():
    made = model([CONV], ("batch", 2, 6, 7), weights=WEIGHTS, listed=True)
    assert [info.name for info in made.graph.input] == ["x", "w", "b"]
    net = cl.load(made)
    assert list(net.graph.inputs) == ["x"]
    np.testing.assert_allclose(net(X), evaluated(made, x=X)[0], rtol=1e-4, atol=1e-5)


def test_constants_of_every_form_are_weights():
    nodes = [
        node("Constant", "", "w", value=numpy_helper.from_array(WEIGHTS["w"])),
        node("Constant", "", "b", value_floats=WEIGHTS["b"].tolist()),
        node("Constant", "", "scale", value_float=0.5),
        node("Constant", "", "axes", value_ints=[2, 3]),
        *(node("Conv", "x w b", "c"), node("Mul", "c scale", "m"), node("ReduceMean", "m axes", "y", keepdims=0)),
    ]
    made = model(nodes, ("batch", 2, 6, 7))
    np.testing.assert_allclose(cl.load(made)(X), evaluated(made, x=X)[0], rtol=1e-4, atol=1e-5)


def test_weights_that_are_inputs_without_values_are_inputs():
    made = model([CONV], ("batch", 2, 6, 7), weights={"b": WEIGHTS["b"]}, inputs={"w": [4, 2, 3, 3]})
    with pytest.raises(UnsupportedError, match=r"\(Conv, opset 21\): its weight 'w' is given for each image"):
        cl.load(made)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_weights_in_other_precision_are_converted_and_said(dtype):
    if dtype == "bfloat16":
        bits = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in WEIGHTS.items()}
        stored = {
            n: TensorProto(data_type=TensorProto.BFLOAT16, dims=b.shape, raw_data=b.tobytes()) for n, b in bits.items()
        }
        rounded = {name: (b.astype(np.uint32) << 16).view(np.float32) for name, b in bits.items()}
    else:
        stored = {name: array.astype(dtype) for name, array in WEIGHTS.items()}
        rounded = {name: array.astype(dtype).astype(np.float32) for name, array in WEIGHTS.items()}
    net = cl.load(model([CONV], ("batch", 2, 6, 7), weights=stored))
    assert f"{dtype} weights were converted to float32" in net.notes
    for name, array in rounded.items():
        np.testing.assert_array_equal(net.parameters[name], array)
    plain = cl.load(model([CONV], ("batch", 2, 6, 7), weights=rounded))
    np.testing.assert_array_equal(net(X), plain(X))
    np.testing.assert_array_equal(
        explain.saliency(net, X, (1, 2, 2)).values, explain.saliency(plain, X, (1, 2, 2)).values
    )


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "a/../../outside.bin", "link.bin", ""])
def test_external_data_stay_in_their_folder(tmp_path, location):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.bin").write_bytes(WEIGHTS["w"].tobytes())
    (home / "link.bin").symlink_to(tmp_path / "outside.bin")
    (home / "inside.bin").write_bytes(WEIGHTS["w"].tobytes())
    for place, good in (("inside.bin", True), (location, False)):
        stored = TensorProto(data_type=TensorProto.FLOAT, dims=(4, 2, 3, 3), data_location=TensorProto.EXTERNAL)
        stored.external_data.add(key="location", value=place)
        onnx.save(model([CONV], ("batch", 2, 6, 7), weights={"w": stored, "b": WEIGHTS["b"]}), home / "net.onnx")
        if good:
            np.testing.assert_array_equal(cl.load(home / "net.onnx").parameters["w"], WEIGHTS["w"])
        else:
            with pytest.raises(ValueError, match="outside the model's folder; external data must lie within"):
                cl.load(home / "net.onnx")


# -- ONNX Runtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize(
    ("made", "feeds"),
    [
        (two, {"x": X, "meta": META}),
        (words, {"tokens": TOKENS}),
        (partial(words, TensorProto.INT32), {"tokens": TOKENS.astype(np.int32)}),
        (open_sizes, {"x": random(2, 2, 11, 16)}),
        (partial(words, length="length"), {"tokens": TOKENS[:, :7]}),
    ],
)
def test_onnx_runtime_answers_the_same(made, feeds):
    runtime = pytest.importorskip("onnxruntime")
    want = runtime.InferenceSession(made().SerializeToString()).run(None, feeds)
    got = cl.load(made())(feeds)
    for ours, theirs in zip(got.values() if isinstance(got, dict) else [got], want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
