"""Networks as PyTorch's two exporters write them, against ONNX Runtime and PyTorch's gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx.helper")

from exporters import EXPORTERS, by_dynamo, by_script
from onnx_models import unchanged

import convlens as cl

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch")
runtime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

EPS = float(np.float32(1e-5))  # as the file has it


def _norm(channels):
    norm = nn.BatchNorm2d(channels, eps=EPS)
    norm.running_mean.normal_(0, 0.1)
    norm.running_var.uniform_(0.5, 1.5)
    return norm


class Residual(nn.Module):
    """One ReLU used twice, as ResNets have it."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), _norm(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), _norm(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), _norm(out)) if stride > 1 else None
        )

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Inverted(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(self, channels, out, stride, expand):
        super().__init__()
        wide = channels * expand
        self.adds = stride == 1 and channels == out
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, wide, 1, bias=False), _norm(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), _norm(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, out, 1, bias=False), _norm(out)),
        )

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class UNet(nn.Module):
    """Pool, transposed convolution, skip; resampling to a size that is computed."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 1, 1)
        self.up, self.merge, self.head = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 8, 3, 1, 1), nn.Conv2d(8, 2, 1)
        self.norm = nn.GroupNorm(2, 8, eps=EPS)

    def forward(self, x):
        skip = F.silu(self.norm(self.down1(x)))
        deep = F.relu(self.down2(F.max_pool2d(skip, 2)))
        merged = F.relu(self.merge(torch.cat([self.up(deep), skip], 1)))
        larger = F.interpolate(merged, scale_factor=2, mode="bilinear")
        return self.head(F.interpolate(larger, size=x.shape[-2:], mode="nearest"))


class Mixed(nn.Module):
    """Channel shuffle, a ConvNeXt block, squeeze-and-excitation, attention, shape arithmetic on the way."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(4, 8, 3, 1, 1), nn.LayerNorm(8, eps=EPS)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.qkv, self.head = nn.Conv2d(8, 24, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1, h, w)
        left, right = x.chunk(2, 1)
        x = torch.cat([left, F.gelu(right)], 1)
        x = x + self.narrow(F.gelu(self.wide(self.norm(x.permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.pixel_shuffle(F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2), 2)[:, :, 1:-1, 1:-1]
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        mixed = v @ torch.softmax(q.transpose(1, 2) @ k / 2, -1).transpose(1, 2)
        return self.head(mixed.mean(-1))


def _resnet():
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), _norm(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [Residual(8, 8, 1), Residual(8, 16, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def _mobilenet():
    stem = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), _norm(8), nn.ReLU6(), Inverted(8, 8, 1, 2), Inverted(8, 16, 2, 4)]
    return nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 10))


def _signal():
    body = [nn.Conv1d(2, 6, 5, 2, 2), nn.ELU(), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(5), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(30, 3))


NETS = {
    "resnet": (_resnet, (3, 48, 40)),
    "mobilenet": (_mobilenet, (3, 32, 32)),
    "unet": (UNet, (3, 24, 16)),
    "mixed": (Mixed, (4, 8, 6)),
    "signal": (_signal, (2, 40)),
}


@pytest.fixture(params=NETS)
def net(request):
    torch.manual_seed(0)
    make, shape = NETS[request.param]
    return make().eval(), shape


def _export(net, shape, exporter, open_batch, folded):
    """The file's bytes, as one of the two exporters writes them."""
    if exporter == "dynamo":
        return by_dynamo(net, shape, open_batch=open_batch)[folded]
    return by_script(net, shape, open_batch=open_batch, folded=folded)


@pytest.mark.parametrize("open_batch", [True, False], ids=["open", "one"])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_outputs_are_those_of_onnx_runtime(net, exporter, open_batch):
    data = _export(*net, exporter, open_batch, folded=True)
    imported = cl.load(data)
    x = np.random.default_rng(0).standard_normal((3, *net[1])).astype(np.float32)
    session = runtime.InferenceSession(data)
    name = session.get_inputs()[0].name
    parts = [x] if open_batch else [image[None] for image in x]
    want = np.concatenate([session.run(None, {name: part})[0] for part in parts])
    np.testing.assert_allclose(imported(x), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_gradient_in_double_is_that_of_pytorch(net, exporter):
    imported = cl.load(_export(*net, exporter, open_batch=True, folded=False)).astype("float64")
    x = np.random.default_rng(1).standard_normal((2, *net[1]))
    images = torch.tensor(x, requires_grad=True)
    scores = net[0].double()(images)
    target = 1 if scores.ndim == 2 else (1, 3, 2)
    chosen = scores[:, target] if scores.ndim == 2 else scores[:, 1, 3, 2]
    (want,) = torch.autograd.grad(chosen.sum(), images)
    why = cl.explain.input_x_gradient(imported, x, target)
    want = want.numpy() * x
    np.testing.assert_allclose(np.asarray(why), want, atol=1e-8 * np.abs(want).max())


class Stages(nn.Module):
    """Modules in modules, one of them called twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.stage = nn.Sequential(Residual(4, 4, 1), nn.Sequential(nn.Conv2d(4, 2, 1), nn.Tanh()))

    def forward(self, x):
        return self.stage(self.relu(self.stem(x)))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_layers_are_found_by_module_path(exporter):
    torch.manual_seed(0)
    net = cl.load(_export(Stages().eval(), (3, 8, 8), exporter, True, True))
    kinds = {node.outputs[0]: node.op for node in net.graph.nodes}
    wanted = {"stem": "Conv", "stage.0": "Relu", "stage.0.relu": "Relu", "stage.1.0": "Conv", "stage.1": "Tanh"}
    assert {path: kinds[net.find(path)] for path in wanted} == wanted
    assert net.find("stage") == net.find("stage.1") == net.output_name
    assert net.astype("float64").find("stage.1.0") == net.find("stage.1.0")
    assert {"stem.weight", "stem.bias", "stage.1.0.weight"} < set(net.parameters)
    if exporter == "script":
        assert net.find("stage.0/relu/Relu") == "/stage/stage.0/relu/Relu_output_0"
        assert net.find("stage.0.relu_1") == net.find("stage.0")


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
def test_network_is_the_same_after_export(net, exporter):
    first = cl.load(_export(*net, exporter, open_batch=True, folded=False))
    data = cl.onnx.to_model(first).SerializeToString(deterministic=True)
    again = cl.load(data)
    unchanged(first.graph, again.graph)
    assert (again.notes, dict(again.paths)) == (first.notes, dict(first.paths))
    assert cl.onnx.to_model(again).SerializeToString(deterministic=True) == data
    x = np.random.default_rng(0).standard_normal((3, *net[1])).astype(np.float32)
    (found,) = runtime.InferenceSession(data).run(None, {first.input_name: x})
    np.testing.assert_allclose(found, first(x), atol=1e-4 * np.abs(found).max())
