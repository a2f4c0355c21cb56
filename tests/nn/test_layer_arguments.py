"""Every layer with each of its arguments wrong, and on tensors it may not take: errors that name something."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from convlens import UnsupportedError, nn
from nn.layers import DTYPES, LAYERS, USES
from ops.calls import WRONG_VALUES

SHAPES = [(4, 8, 6), (4, 9), (12,), (1, 1, 1), (1,), (2, 3, 4, 5), (2, 2, 2, 2, 2), (3, 7, 1), (2**31, 2, 2)]


def use(layer, sizes, shape):
    """Build a network of one layer; None, or the error."""
    try:
        x = nn.Input(shape, dtype=DTYPES.get(layer, "float32"))
        made = getattr(nn, layer)(**sizes)
        made(*[x] * made.arity)
    except (TypeError, ValueError, UnsupportedError) as error:
        found = error
    else:
        return None
    words = ("supported", "must be") if isinstance(found, UnsupportedError) else ("`", "needs")
    assert any(word in str(found) for word in words), f"{layer}({sizes}) on {shape}: {found}"
    return found


def test_every_layer_has_a_use():
    assert set(USES) == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_its_use_runs(layer):
    sizes, shape = USES[layer]
    x, made = nn.Input(shape, dtype=DTYPES.get(layer, "float32")), getattr(nn, layer)(**sizes)
    y = made(*[x] * made.arity)
    assert nn.Network(inputs=x, outputs=y)(np.ones((2, *shape), DTYPES.get(layer, "float32"))).shape == (
        2,
        *y.shape[1:],
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_wrong_arguments_are_named(layer):
    sizes, shape = USES[layer]
    for parameter in inspect.signature(getattr(nn, layer).__init__).parameters:
        if parameter != "self":
            for value in WRONG_VALUES:
                error = use(layer, {**sizes, parameter: value}, shape)
                wrong_type = isinstance(value, (dict, complex)) or type(value) is object
                assert not wrong_type or f"`{parameter}`" in str(error)


@pytest.mark.parametrize("layer", LAYERS)
def test_other_inputs_work_or_are_described(layer):
    for shape in SHAPES:
        use(layer, USES[layer][0], shape)


def test_a_number_stays_as_it_was_written_in_float64():
    layers = [nn.Hardtanh(min_val=-0.3, max_val=0.7), nn.Pad(padding=1, value=0.1)]
    net = nn.Sequential(*layers, input_shape=(1, 1, 2)).astype(np.float64)
    y = net(np.array([[[[-1.0, 1.0]]]]))
    np.testing.assert_array_equal(y[0, 0, 1], [0.1, -0.3, 0.7, 0.1])
