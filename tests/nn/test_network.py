"""Network: running, names, versions, copies."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from convlens import nn, reference


def _residual(seed=0):
    x = nn.Input((3, 12, 10))
    relu = nn.ReLU(name="relu")
    a = nn.Conv2d(out_channels=8, kernel_size=3, padding="same", name="a")(x)
    b = nn.Conv2d(out_channels=8, kernel_size=3, padding="same", name="b")(relu(nn.BatchNorm2d(name="norm")(a)))
    pooled = nn.GlobalAvgPool2d(name="pool")(relu(a + b))
    logits = nn.Linear(out_features=5, name="head")(nn.Flatten(name="flat")(pooled))
    return nn.Network(inputs=x, outputs=logits, seed=seed)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 3, 12, 10)).astype(np.float32)


def test_forward_agrees_with_the_oracle(images):
    net = _residual()
    expected = reference.run(net.astype("float64").graph, {"images": images.astype(np.float64)})["head"]
    np.testing.assert_allclose(net(images), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(net.astype("float64")(images.astype(np.float64)), expected, rtol=0, atol=1e-12)


def test_batch_splits_have_the_same_bits(images, monkeypatch):
    net = _residual()
    whole = net(images)
    one_by_one = np.concatenate([net(images[i : i + 1]) for i in range(len(images))])
    monkeypatch.setattr("convlens.nn._run.ARENA_BYTES", 1)
    chunked = net(images)
    assert whole.tobytes() == one_by_one.tobytes() == chunked.tobytes()


def test_several_outputs_are_a_dict(images):
    x = nn.Input((3, 12, 10))
    a = nn.ReLU(name="positive")(x)
    net = nn.Network(inputs=x, outputs=[a, nn.GlobalAvgPool2d(name="mean")(a)])
    results = net(images)
    assert list(results) == ["positive", "mean"]
    np.testing.assert_array_equal(results["positive"], np.maximum(images, 0))


def test_empty_batch_gives_an_empty_result():
    assert _residual()(np.zeros((0, 3, 12, 10), np.float32)).shape == (0, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=3)[..., ::2],
        lambda x: x.astype(x.dtype.newbyteorder()),
        lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    ],
    ids=["fortran", "strided", "byte-swapped", "read-only"],
)
def test_any_memory_of_the_same_values_gives_the_same_bits(images, change):
    net = _residual()
    assert net(change(images)).tobytes() == net(images).tobytes()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: (x * 9).astype(np.uint8), "`images` is uint8.*scale first.*/ 255; see convlens.image.load"),
        (lambda x: x > 0, "`images` is bool.*scale first.*convlens.image.load"),
        (lambda x: x.astype(np.float64), "images.astype\\(np.float32\\) or run the network in double"),
        (lambda x: x.astype(np.float16), "convert with images.astype\\(np.float32\\)"),
        (lambda x: x.astype(str), "give an array of numbers; convlens.image.load makes one of a file"),
    ],
)
def test_wrong_dtype_is_a_type_error_with_its_remedy(images, wrong, text):
    with pytest.raises(TypeError, match=text):
        _residual()(wrong(images))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: x[0], "batch axis is missing, add it with images\\[np.newaxis\\]"),
        (lambda x: np.moveaxis(x, 1, -1), "channels are last, move them with np.moveaxis\\(images, -1, 1\\)"),
        (lambda x: np.moveaxis(x[0], 0, -1), "channels are last and the batch axis is missing"),
        (lambda x: x[:, :1], "built for 3 channel\\(s\\), not 1; a grey image may be repeated"),
        (lambda x: x[:, :2], "built for 3 channel\\(s\\), not 2"),
        (lambda x: x[:, :, 1:], "resize the images to 12 x 10"),
        (lambda x: x.reshape(6, -1), "images.reshape\\(-1, 3, 12, 10\\)"),
        (lambda x: x[0, 0, 0, 0], "has shape \\(\\), the network takes \\(N, 3, 12, 10\\)"),
    ],
)
def test_wrong_shape_is_a_value_error_with_its_remedy(images, wrong, text):
    with pytest.raises(ValueError, match=text):
        _residual()(wrong(images))


def test_grey_images_without_channel_axis_are_told_so():
    net = nn.Sequential(nn.Flatten(), input_shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"channel axis is missing, add it with images\[:, np.newaxis\]"):
        net(np.zeros((5, 4, 4), np.float32))
    with pytest.raises(ValueError, match="batch and channel axes are missing"):
        net(np.zeros((4, 4), np.float32))


def test_activations_come_by_name_node_glob_and_ending(images):
    net = _residual()
    maps = net.activations(images, ["a", "norm", "relu*", "images"])
    assert list(maps) == ["a", "norm", "relu", "relu_2", "images"]
    np.testing.assert_array_equal(maps["relu"], np.maximum(maps["norm"], 0))
    np.testing.assert_array_equal(maps["images"], images)


def test_unknown_name_lists_the_five_nearest():
    with pytest.raises(ValueError, match=r"`layer` \(='rellu'\) is not in the network") as error:
        _residual().find("rellu")
    assert str(error.value).count("'") == 2 + 2 * 5
    assert "'relu'" in str(error.value)


def test_unique_ending_is_enough_and_an_ambiguous_one_is_an_error():
    x = nn.Input((1, 4, 4))
    y = nn.ReLU(name="layer1.0.relu")(nn.Tanh(name="layer1.0.tanh")(x))
    net = nn.Network(inputs=x, outputs=nn.ReLU(name="layer1.1.relu")(y))
    assert net.find("tanh") == "layer1.0.tanh"
    assert net.find("1.relu") == "layer1.1.relu"
    with pytest.raises(ValueError, match=r"ambiguous: it fits 'layer1.0.relu', 'layer1.1.relu'"):
        net.find("relu")


def test_set_parameters_publishes_a_new_version(images):
    net = _residual()
    before = net(images)
    bias = np.arange(5, dtype=np.float32)
    net.set_parameters({"head.bias": bias})
    assert net.version == 1
    np.testing.assert_allclose(net(images) - before, np.broadcast_to(bias, (6, 5)), atol=1e-5)
    bias[:] = 9
    assert net.parameters["head.bias"][0] == 0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"nose.bias": np.zeros(5)}, "'nose.bias', which the network does not have"),
        ({"head.bias": 1}, "must have \\(5,\\)"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_whole(parameters, text):
    net = _residual()
    with pytest.raises(ValueError, match=text):
        net.set_parameters({"a.bias": np.ones(8), **parameters})
    assert net.version == 0
    assert not net.parameters["a.bias"].any()


def test_parameters_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        _residual().parameters["a.bias"][0] = 1


def test_copies_and_pickles_are_equal_and_independent(images):
    net = _residual()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin(images).tobytes() == net(images).tobytes()
        twin.set_parameters({"head.bias": np.ones(5)})
    assert net.version == 0


def test_sequential_is_pickled_too(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(3, 12, 10))
    assert pickle.loads(pickle.dumps(net))(images).tobytes() == net(images).tobytes()


def test_many_threads_get_the_same_bits(images):
    net = _residual()
    results = [None] * 8

    def call(i):
        results[i] = net(images).tobytes()

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) == {net(images).tobytes()}


def test_program_is_compiled_once_and_kept_over_versions(images):
    net = _residual()
    built = []

    def build():
        built.append(1)
        return net._forward_graph(("head",))

    first = net.program("key", build)
    net.set_parameters({"head.bias": np.ones(5)})
    assert net.program("key", build) is first
    assert built == [1]


def test_least_recently_used_program_leaves_first():
    from convlens.nn._cache import ProgramCache

    class Sized:
        def __init__(self, nbytes):
            self.nbytes = nbytes

    cache = ProgramCache(limit_bytes=10)
    cache.get("a", lambda: Sized(4))
    cache.get("b", lambda: Sized(4))
    cache.get("a", lambda: Sized(99))
    cache.get("c", lambda: Sized(4))
    assert len(cache) == 2
    assert cache.get("a", lambda: Sized(0)).nbytes == 4
    assert cache.get("b", lambda: Sized(1)).nbytes == 1
    assert cache.get("big", lambda: Sized(1000)).nbytes == 1000
    assert len(cache) == 1


def test_dtype_other_than_float32_and_float64_is_an_error():
    with pytest.raises(ValueError, match=r"`dtype` \(='float16'\) must be float32 or float64"):
        _residual().astype(np.float16)
