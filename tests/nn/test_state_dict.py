"""A state dict into a network: by name, all or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn


def network():
    layers = [nn.Conv2d(out_channels=3, kernel_size=3, name="conv"), nn.BatchNorm2d(name="norm"), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(out_features=2, name="fc"), input_shape=(1, 5, 5))


def _arrays(net, prefix=""):
    rng = np.random.default_rng(1)
    arrays = {prefix + name: rng.standard_normal(array.shape) ** 2 for name, array in net.parameters.items()}
    return {**arrays, prefix + "norm.num_batches_tracked": np.array(7)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dict_becomes_the_parameters(prefix):
    net = network()
    arrays = _arrays(net, prefix)
    keys = net.load_state_dict(arrays, prefix=prefix)
    assert keys == ((), (), (f"{prefix}norm.num_batches_tracked",))
    assert net.version == 1
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, arrays[prefix + name].astype(np.float32))


def test_names_rename_modules_and_parameters():
    net = network()
    arrays = {name.replace("conv.", "features.0.").replace("fc.bias", "b"): a for name, a in _arrays(net).items()}
    keys = net.load_state_dict(arrays, names={"features.0": "conv", "features": "wrong", "b": "fc.bias"})
    assert keys.missing_keys == keys.unexpected_keys == ()
    np.testing.assert_array_equal(net.parameters["fc.bias"], arrays["b"].astype(np.float32))


def test_what_does_not_fit_is_listed_and_nothing_changes():
    net = network()
    before = dict(net.parameters)
    arrays = _arrays(net)
    arrays["head.weight"] = arrays.pop("fc.weight")
    arrays["norm.bias"] = np.zeros(4)
    with pytest.raises(ValueError, match="does not fit") as error:
        net.load_state_dict(arrays)
    text = str(error.value)
    assert "'norm.bias' has shape (4,), the network's 'norm.bias' has (3,)" in text
    assert "it lacks 'fc.weight'" in text
    assert "the network lacks 'head.weight'" in text
    assert "names={'head': 'fc'}" in text
    with pytest.raises(ValueError, match=r"network: 'norm.bias' has shape \(4,\)"):
        net.load_state_dict(arrays, strict=False)
    assert net.version == 0
    assert all(net.parameters[name] is not None and (net.parameters[name] == before[name]).all() for name in before)


def test_not_strict_loads_what_fits_and_says_what_does_not():
    net = network()
    arrays = _arrays(net)
    arrays["head.weight"] = arrays.pop("fc.weight")
    keys = net.load_state_dict(arrays, strict=False)
    assert keys == (("fc.weight",), ("head.weight",), ("norm.num_batches_tracked",))
    np.testing.assert_array_equal(net.parameters["fc.bias"], arrays["fc.bias"].astype(np.float32))


def test_remedies_name_prefix_and_strict():
    net = network()
    with pytest.raises(ValueError, match=r"take 'module.' off with prefix='module.'"):
        net.load_state_dict(_arrays(net, "module."))
    with pytest.raises(ValueError, match=r"the network lacks 'extra': strict=False"):
        net.load_state_dict({**_arrays(net), "extra": np.zeros(1)})
    with pytest.raises(ValueError, match=r"'fc.bias' and 'b', which `prefix` and `names` both make 'fc.bias'"):
        net.load_state_dict({**_arrays(net), "b": np.zeros(2)}, names={"b": "fc.bias"})
