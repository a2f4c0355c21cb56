"""Layer tables: receptive fields, arithmetic, the summary."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, reference


def _first():
    return nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        input_shape=(1, 28, 28),
    )


def test_first_users_network_is_described():
    layers = _first().layers()
    assert [layer.operator for layer in layers] == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm"]
    assert [layer.parameters for layer in layers] == [320, 0, 0, 0, 54090]
    assert [str(layer.receptive_field or "all") for layer in layers] == ["3 x 3", "3 x 3", "4 x 4", "all", "all"]
    # a multiply-add is two, the bias one: 32 * 26 * 26 * (2 * 9 + 1)
    assert layers["conv1"].flops == 411008
    assert layers["logits"].flops == 10 * (2 * 5408 + 1)
    assert layers["linear1"] is layers[4]


def test_table_and_summary_print_every_layer_and_the_totals():
    net = _first()
    text = net.summary()
    assert repr(net.layers()) in text
    assert "N x 32 x 26 x 26" in text
    assert "parameters 54,410 (217.6 KB)" in text
    assert "the largest 86.5 KB" in text


def test_shared_parameters_are_counted_once():
    conv = nn.Conv2d(out_channels=2, kernel_size=3, padding=1, bias=False)
    net = nn.Sequential(conv, nn.BatchNorm2d(), conv, input_shape=(2, 5, 5))
    assert sum(layer.parameters for layer in net.layers()) == 36 + 8
    assert "parameters 44, of them 4 running statistics" in net.summary()


def _chain(*layers, shape):
    return nn.Sequential(*layers, input_shape=shape)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(out_channels=1, kernel_size=3, padding=1)],
        [nn.Conv2d(out_channels=1, kernel_size=(3, 5), stride=2, padding=((0, 1), (2, 1)))],
        [nn.Conv2d(out_channels=1, kernel_size=3, dilation=2), nn.MaxPool2d(kernel_size=2)],
        [nn.ZeroPad2d(padding=((2, 0), (1, 0))), nn.AvgPool2d(kernel_size=3, stride=2)],
        [nn.MaxPool2d(kernel_size=2), nn.Conv2d(out_channels=1, kernel_size=3, padding="same", stride=2)],
    ],
    ids=lambda layers: "+".join(type(layer).__name__ for layer in layers),
)
def test_receptive_field_is_where_a_change_of_the_input_arrives(layers):
    """Every weight positive: moving one pixel up by much moves exactly the cells that see it."""
    net = _chain(*layers, shape=(1, 16, 18))
    net.set_parameters({name: np.abs(array) + 0.1 for name, array in net.parameters.items()})
    field = net.layers()[-1].receptive_field
    base = np.zeros((1, 1, 16, 18), np.float32)
    plain = reference.run(net.graph, {"images": base})["logits"]
    height, width = plain.shape[2:]
    cell = (height // 2, width // 2)
    seen = np.zeros((16, 18), bool)
    for y in range(16):
        for x in range(18):
            changed = base.copy()
            changed[0, 0, y, x] = 1
            seen[y, x] = reference.run(net.graph, {"images": changed})["logits"][0, 0][cell] != plain[0, 0][cell]
    rows, columns = np.nonzero(seen)
    for axis, places in enumerate((rows, columns)):
        centre = field.offset[axis] + cell[axis] * field.stride[axis]
        assert (places.min(), places.max()) == (
            centre - (field.size[axis] - 1) / 2,
            centre + (field.size[axis] - 1) / 2,
        )


def test_branches_see_their_union():
    x = nn.Input((1, 9, 9))
    wide = nn.Conv2d(out_channels=1, kernel_size=5, padding=2)(x)
    narrow = nn.Conv2d(out_channels=1, kernel_size=(3, 1), padding=(1, 0))(x)
    net = nn.Network(inputs=x, outputs=wide + narrow)
    assert net.layers()[-1].receptive_field == nn.ReceptiveField((5, 5), (1, 1), (0, 0))
