"""Networks of joined, sliced and shuffled channels against NumPy and the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, nn, reference


def images(n=2, shape=(4, 7, 6)):
    return np.random.default_rng(0).standard_normal((n, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Slice(start=1, stop=3), lambda x: x[:, 1:3]),
        (nn.Slice(start=None, step=-2, axis=2), lambda x: x[:, :, ::-2]),
        (nn.Permute(dims=(0, 3, 1, 2)), lambda x: x.transpose(0, 3, 1, 2)),
        (nn.ChannelShuffle(groups=2), lambda x: x[:, [0, 2, 1, 3]]),
        (nn.Mean(axis=2), lambda x: x.mean(2)),
        (nn.Mean(axis=(1, 3), keepdims=True), lambda x: x.mean((1, 3), keepdims=True)),
        (nn.Sum(axis=-1), lambda x: x.sum(-1)),
        (nn.Amax(), lambda x: x.max((2, 3))),
        (nn.Amin(axis=1, keepdims=True), lambda x: x.min(1, keepdims=True)),
    ],
    ids=repr,
)
def test_a_layer_is_what_numpy_does(layer, expected):
    net = nn.Sequential(layer, input_shape=(4, 7, 6))
    np.testing.assert_allclose(net(images()), expected(images()), rtol=1e-6, atol=1e-6)


def test_an_embedding_is_looked_up_and_explained():
    tokens = nn.Input((9,), name="tokens", dtype="int64")
    embedded = nn.Embedding(num_embeddings=11, embedding_dim=4, name="words")(tokens)
    y = nn.ReLU(name="relu")(nn.Conv1d(out_channels=6, kernel_size=3)(nn.Permute(dims=(0, 2, 1))(embedded)))
    net = nn.Network(inputs=tokens, outputs=nn.Linear(out_features=2)(nn.Flatten()(y)), seed=0)
    x = np.random.default_rng(0).integers(0, 11, (3, 9))
    table = net.parameters["words.weight"]
    assert table.shape == (11, 4)
    np.testing.assert_array_equal(net.activations(x, "words")["words"], table[x])
    np.testing.assert_allclose(net(x), reference.run(net.graph, {"tokens": x})["logits"], rtol=1e-5, atol=1e-5)
    assert net.astype(np.float64).parameters["words.weight"].dtype == np.float64
    assert explain.saliency(net, x, 1).values.shape == (3, 9, 4)
    assert explain.grad_cam(net, x, 1).values.shape == (3, 9, 1)
    with pytest.raises(ValueError, match="Embedding needs integers"):
        nn.Embedding(num_embeddings=3, embedding_dim=2)(nn.Input((9,)))


def test_a_network_has_several_inputs():
    a, b = nn.Input((4,), name="a"), nn.Input((4,), name="b")
    net = nn.Network(inputs=[a, b], outputs=nn.Sub(name="difference")(a, b))
    x, y = np.float32([[1, 2, 3, 4]]), np.float32([[4, 2, 0, 1]])
    np.testing.assert_array_equal(net(x, y), x - y)
    np.testing.assert_array_equal(net(b=y, a=x), x - y)
    assert explain.saliency(net, {"a": x, "b": y}, 1, input="b").values.tolist() == [[0, -1, 0, 0]]
    one, other = nn.Input((4,)), nn.Input((4,))
    with pytest.raises(ValueError, match=r"`inputs` are called 'images', 'images': give each nn.Input a `name`"):
        nn.Network(inputs=[one, other], outputs=nn.Add()(one, other))
    with pytest.raises(ValueError, match="that is not among `inputs`"):
        nn.Network(inputs=a, outputs=nn.Add()(a, b))


def shuffled():
    """A unit of ShuffleNet v2 and one of SqueezeNet, U-Net's skip: every layer, used as they are."""
    x = nn.Input((4, 8, 8))
    left, right = nn.Slice(stop=2)(x), nn.Slice(start=2)(x)
    right = nn.ReLU()(nn.Conv2d(out_channels=6, kernel_size=3, padding="same")(right))
    y = nn.ChannelShuffle(groups=2)(nn.Concat(name="joined")(left, right))
    up = nn.Conv2d(out_channels=4, kernel_size=3, padding="same")(y)
    y = nn.Concat()(y, up, nn.Permute(dims=(0, 1, 3, 2))(up))
    y = nn.Concat(axis=2)(y, nn.Slice(start=None, step=-1, axis=3)(y))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=3)(nn.Mean()(y)), seed=1)


def test_a_network_of_them_runs_saves_and_explains(tmp_path):
    net = shuffled().astype(np.float64)
    x = images(shape=(4, 8, 8)).astype(np.float64)
    expected = reference.run(net.graph, {"images": x})[net.output_name]
    np.testing.assert_allclose(net(x), expected, rtol=1e-10)
    net.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(nn.load(tmp_path / "net.npz")(x), net(x))
    why = explain.input_x_gradient(net, x, target=1)
    step = 1e-6
    slope = (net(x * (1 + step))[:, 1] - net(x * (1 - step))[:, 1]) / (2 * step)
    np.testing.assert_allclose(why.values.sum((1, 2, 3)), slope, rtol=1e-7)


def test_what_joins_channels_keeps_its_receptive_field_and_what_moves_pixels_has_none():
    layers = shuffled().layers()
    assert str(layers["joined"].receptive_field) == "3 x 3"
    assert layers["joined"].flops == 0
    assert layers["concat2"].receptive_field is None
