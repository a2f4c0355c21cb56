"""Networks that people deploy, as PyTorch defines them, with seeded weights."""

from __future__ import annotations

import copy
import functools
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

_KEPT: list[Any] = []  # the declarations of torchvision's operators live as long as this


@functools.cache
def torchvision() -> Any:
    """The package, with a torch that its compiled operators were not built for too: the networks use none of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except (RuntimeError, OSError):
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            declared = torch.library.Library("torchvision", "DEF")
            for op in ("nms", "qnms"):
                declared.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(declared)
            import torchvision
        except ImportError:
            pytest.skip("needs torchvision")
    return torchvision


def _published(name: str, **more: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision().models, name)(weights=None, **more)


def _vgg16() -> nn.Module:
    """Its first matrix alone is 400 MB: the two hidden layers of the head are narrower here."""
    model = _published("vgg16")()
    model.classifier[0], model.classifier[3] = nn.Linear(25088, 64), nn.Linear(64, 64)
    model.classifier[6] = nn.Linear(64, 1000)
    return model


def _lite0() -> nn.Module:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    return package.EfficientNet.from_name("efficientnet-lite0")


class UNet(nn.Module):
    """Two levels of double convolutions: pooled on the way down, transposed convolutions and joins on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down1, self.down2, self.bottom = self._double(3, 8), self._double(8, 16), self._double(16, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge2, self.merge1, self.head = self._double(32, 16), self._double(16, 8), nn.Conv2d(8, 4, 1)

    @staticmethod
    def _double(channels: int, out: int) -> nn.Sequential:
        first = [nn.Conv2d(channels, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        return nn.Sequential(*first, nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True))

    def forward(self, x: Any) -> Any:
        first = self.down1(x)
        second = self.down2(self.pool(first))
        y = self.merge2(torch.cat([self.up2(self.bottom(self.pool(second))), second], 1))
        y = F.interpolate(self.up1(y), size=first.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(self.merge1(torch.cat([y, first], 1)))


class Signal(nn.Module):
    """A residual network of one axis, as electrocardiograms are classified with."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv1d(2, 16, 15, 2, 7, bias=False), nn.BatchNorm1d(16)
        self.conv1, self.norm1 = nn.Conv1d(16, 16, 7, 1, 3, bias=False), nn.BatchNorm1d(16)
        self.conv2, self.norm2 = nn.Conv1d(16, 16, 7, 1, 6, dilation=2, bias=False), nn.BatchNorm1d(16)
        self.relu, self.pool, self.head = nn.ReLU(), nn.MaxPool1d(3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.head(F.adaptive_avg_pool1d(self.relu(x + y), 1).flatten(1))


@dataclass(frozen=True)
class Net:
    """How it is made, the shape of an image, and the automatic layer.

    The layer is golden: the tensor's name in the files of the older and of the newer exporter, and the module of the
    source that ends in it, where there is one.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    script: str
    dynamo: str
    module: str = ""
    images: int = 4  # on which float32 gradients are compared with float64


# VGG-16 pools to the 7 x 7 that an image of 224 has anyway; EfficientNet-Lite0 has its padding computed for 224.
_IMAGE, _LARGE = (3, 64, 64), (3, 224, 224)
_STAGE4 = "/layer4/layer4.{}/relu_{}/Relu_output_0"
_FEATURE = "/features/features.{0}/features.{0}.2/{1}_output_0"
NETS = {
    "resnet18": Net(_published("resnet18"), _IMAGE, _STAGE4.format(1, 1), "relu_16", "layer4.1", images=20),
    "resnet50": Net(_published("resnet50"), _IMAGE, _STAGE4.format(2, 2), "relu_48", "layer4.2", images=20),
    "vgg16": Net(_vgg16, _LARGE, "/features/features.29/Relu_output_0", "relu_12", "features.29", 1),
    "mobilenet_v2": Net(
        _published("mobilenet_v2"), _IMAGE, _FEATURE.format(18, "Clip"), "hardtanh_34", "features.18.2", 20
    ),
    "mobilenet_v3_small": Net(
        _published("mobilenet_v3_small"), _IMAGE, _FEATURE.format(12, "HardSwish"), "hardswish_17", "features.12.2"
    ),
    "mobilenet_v3_large": Net(
        _published("mobilenet_v3_large"), _IMAGE, _FEATURE.format(16, "HardSwish"), "hardswish_19", "features.16.2"
    ),
    "efficientnet_lite0": Net(_lite0, _LARGE, "/_swish_1/Clip_output_0", "hardtanh_32", images=1),
    "efficientnet_b0": Net(_published("efficientnet_b0"), _IMAGE, _FEATURE.format(8, "Mul"), "silu_48", "features.8.2"),
    "squeezenet": Net(
        _published("squeezenet1_1"), _IMAGE, "/features/features.12/Concat_output_0", "cat_7", "features.12", 20
    ),
    "densenet121": Net(_published("densenet121"), _IMAGE, "/Relu_output_0", "relu_120"),
    "googlenet": Net(
        _published("googlenet", aux_logits=False, init_weights=False),
        *(_IMAGE, "/inception5b/Concat_output_0", "cat_8", "inception5b", 20),
    ),
    "shufflenet_v2": Net(
        _published("shufflenet_v2_x1_0"), _IMAGE, "/conv5/conv5.2/Relu_output_0", "relu_36", "conv5.2"
    ),
    "regnet": Net(
        _published("regnet_y_400mf"),
        *(_IMAGE, "/trunk_output/block4/block4-5/activation/Relu_output_0", "relu_64", "trunk_output.block4.block4-5"),
    ),
    "resnext50": Net(_published("resnext50_32x4d"), (3, 48, 48), _STAGE4.format(2, 2), "relu_48", "layer4.2"),
    "convnext_tiny": Net(
        _published("convnext_tiny"),
        _IMAGE,
        "/features/features.7/features.7.2/Add_output_0",
        "add_17",
        "features.7.2",
    ),
    "unet": Net(UNet, (3, 48, 40), "/merge1/merge1.5/Relu_output_0", "relu_9", "merge1.5"),
    "signal": Net(Signal, (2, 200), "/relu_2/Relu_output_0", "relu_2"),
}


def model(name: str) -> nn.Module:
    """The network in evaluation mode; epsilons as a file in float32 has them."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return settled(NETS[name].make(), NETS[name].shape)


def settled(net: nn.Module, shape: tuple[int, ...], n: int = 4) -> nn.Module:
    """Give a new network the batch statistics of `n` images, so that its activations neither die nor explode."""
    norms = [part for part in net.modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm))]
    for norm in norms:
        norm.eps = float(np.float32(norm.eps))
        norm.momentum = None  # the mean over all batches, which is one
    for key, parameter in net.named_parameters():
        if key.endswith("layer_scale"):  # ConvNeXt starts its blocks at a millionth
            nn.init.uniform_(parameter, 0.1, 0.5)
    net.train()
    for part in net.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    with torch.no_grad():
        net(torch.randn(n, *shape))
    return net.eval().requires_grad_(False)


class _Hardsigmoid(nn.Module):
    """As ONNX writes it; PyTorch's own backward multiplies by a sixth in float32, in float64 too."""

    def forward(self, x: Any) -> Any:
        return (x * float(np.float32(1 / 6)) + 0.5).clamp(0, 1)


class _Hardswish(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * (x + 3).clamp(0, 6) / 6


def in_double(net: nn.Module) -> nn.Module:
    """The same network in float64, without what PyTorch computes in float32 there."""
    net = copy.deepcopy(net).double()
    for part in list(net.modules()):
        for name, child in part.named_children():
            if isinstance(child, (nn.Hardsigmoid, nn.Hardswish)):
                setattr(part, name, _Hardsigmoid() if isinstance(child, nn.Hardsigmoid) else _Hardswish())
    return net


def _resnet(block: str, **more: Any) -> nn.Module:
    models = torchvision().models.resnet
    return models.ResNet(getattr(models, block), [1, 1, 1, 1], num_classes=6, **more)


def _small_vgg() -> nn.Module:
    models = torchvision().models.vgg
    model = models.VGG(models.make_layers([8, "M", 16, "M", 512, "M"]), init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(25088, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 6))
    return model


def _small_convnext() -> nn.Module:
    models = torchvision().models.convnext
    blocks = [models.CNBlockConfig(8, 16, 1), models.CNBlockConfig(16, 24, 2), models.CNBlockConfig(24, None, 1)]
    return models.ConvNeXt(blocks, num_classes=6)


def _small_lite0() -> nn.Module:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    return package.EfficientNet.from_name("efficientnet-lite0", image_size=32, num_classes=6)


def _small(name: str, **more: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision().models, name)(num_classes=6, **more)


_TINY = (3, 32, 32)
#: With the operators of those above, and fewer or narrower blocks where that can be had: how, and the image.
SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (lambda: _resnet("BasicBlock"), _TINY),
    "resnet50": (lambda: _resnet("Bottleneck", width_per_group=8), _TINY),
    "vgg16": (_small_vgg, (3, 56, 56)),
    "mobilenet_v2": (
        _small("MobileNetV2", width_mult=0.25, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]),
        _TINY,
    ),
    "mobilenet_v3_small": (_small("mobilenet_v3_small"), _TINY),
    "mobilenet_v3_large": (_small("mobilenet_v3_large"), _TINY),
    "efficientnet_lite0": (_small_lite0, _TINY),
    "efficientnet_b0": (_small("efficientnet_b0"), _TINY),
    "squeezenet": (_small("squeezenet1_1"), _TINY),
    "densenet121": (_small("DenseNet", growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16), _TINY),
    "googlenet": (_small("googlenet", aux_logits=False, init_weights=False), _TINY),
    "shufflenet_v2": (
        _small("ShuffleNetV2", stages_repeats=[2, 2, 2], stages_out_channels=[8, 16, 32, 64, 64]),
        _TINY,
    ),
    "regnet": (_small("regnet_y_400mf"), _TINY),
    "resnext50": (lambda: _resnet("Bottleneck", groups=8, width_per_group=4), _TINY),
    "convnext_tiny": (_small_convnext, _TINY),
    "unet": (UNet, (3, 24, 20)),
    "signal": (Signal, (2, 100)),
}
