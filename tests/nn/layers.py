"""One right use of every layer of :mod:`convlens.nn`, with the shape of one image that it takes."""

from __future__ import annotations

from typing import Any

from convlens import nn

LAYERS = sorted(
    name
    for name, value in vars(nn).items()
    if isinstance(value, type) and issubclass(value, nn.Layer) and value is not nn.Layer
)

#: What a layer is called on where it takes no floating-point numbers.
DTYPES = {"Embedding": "int64"}
IMAGE, SIGNAL, FEATURES = (4, 8, 6), (4, 9), (12,)
CONV = {"out_channels": 6, "stride": 2, "padding": 1, "dilation": 1, "groups": 2, "bias": True}
POOL = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}

USES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "AdaptiveAvgPool1d": ({"output_size": 4}, SIGNAL),
    "AdaptiveAvgPool2d": ({"output_size": (3, 4)}, IMAGE),
    "AdaptiveMaxPool1d": ({"output_size": 4}, SIGNAL),
    "AdaptiveMaxPool2d": ({"output_size": (3, 4)}, IMAGE),
    "Abs": ({}, IMAGE),
    "Add": ({}, IMAGE),
    "Amax": ({"axis": 1, "keepdims": True}, IMAGE),
    "Amin": ({"axis": (1, 2), "keepdims": True}, IMAGE),
    "AvgPool1d": ({**POOL, "count_include_pad": False}, SIGNAL),
    "AvgPool2d": ({**POOL, "count_include_pad": False}, IMAGE),
    "BatchNorm1d": ({"eps": 1e-3, "momentum": 0.2}, SIGNAL),
    "BatchNorm2d": ({"eps": 1e-3, "momentum": 0.2}, IMAGE),
    "ChannelShuffle": ({"groups": 2}, IMAGE),
    "Concat": ({"axis": 1}, IMAGE),
    "Conv1d": ({**CONV, "kernel_size": 3}, SIGNAL),
    "Conv2d": ({**CONV, "kernel_size": (3, 2)}, IMAGE),
    "ConvTranspose1d": ({**CONV, "kernel_size": 3, "output_padding": 1}, SIGNAL),
    "ConvTranspose2d": ({**CONV, "kernel_size": (3, 2), "output_padding": 1}, IMAGE),
    "Div": ({}, IMAGE),
    "Dropout": ({"p": 0.2}, IMAGE),
    "ELU": ({"alpha": 0.7}, IMAGE),
    "Embedding": ({"num_embeddings": 5, "embedding_dim": 3}, SIGNAL),
    "Exp": ({}, IMAGE),
    "Flatten": ({}, IMAGE),
    "GELU": ({"approximate": "tanh"}, IMAGE),
    "GlobalAvgPool1d": ({}, SIGNAL),
    "GlobalAvgPool2d": ({}, IMAGE),
    "GlobalMaxPool1d": ({}, SIGNAL),
    "GlobalMaxPool2d": ({}, IMAGE),
    "GroupNorm": ({"num_groups": 2, "eps": 1e-3, "affine": True}, IMAGE),
    "Hardsigmoid": ({}, IMAGE),
    "Hardswish": ({}, IMAGE),
    "Hardtanh": ({"min_val": -0.4, "max_val": 0.6}, IMAGE),
    "InstanceNorm2d": ({"eps": 1e-3, "affine": True}, IMAGE),
    "LayerNorm": ({"normalized_shape": 6, "eps": 1e-3, "elementwise_affine": True}, IMAGE),
    "LeakyReLU": ({"negative_slope": 0.2}, IMAGE),
    "Linear": ({"out_features": 5, "bias": True}, FEATURES),
    "Log": ({}, IMAGE),
    "LogSoftmax": ({}, IMAGE),
    "MaxPool1d": ({**POOL, "dilation": 2}, SIGNAL),
    "MaxPool2d": ({**POOL, "dilation": 2}, IMAGE),
    "Maximum": ({}, IMAGE),
    "Mean": ({"axis": (2, 3), "keepdims": True}, IMAGE),
    "Minimum": ({}, IMAGE),
    "Mish": ({}, IMAGE),
    "Mul": ({}, IMAGE),
    "PReLU": ({"num_parameters": 4, "init": 0.3}, IMAGE),
    "Pad": ({"padding": (1, 2), "value": 0.5}, IMAGE),
    "Permute": ({"dims": (0, 2, 3, 1)}, IMAGE),
    "Pow": ({}, IMAGE),
    "ReLU": ({}, IMAGE),
    "ReLU6": ({}, IMAGE),
    "Reshape": ({"shape": (8, -1)}, IMAGE),
    "SELU": ({}, IMAGE),
    "SiLU": ({}, IMAGE),
    "Sigmoid": ({}, IMAGE),
    "Slice": ({"start": 3, "stop": 0, "step": -2, "axis": 1}, IMAGE),
    "Softmax": ({}, IMAGE),
    "Softplus": ({}, IMAGE),
    "Sqrt": ({}, IMAGE),
    "Sub": ({}, IMAGE),
    "Sum": ({"axis": -1, "keepdims": False}, IMAGE),
    "Tanh": ({}, IMAGE),
    "Upsample": ({"scale_factor": 1.5, "mode": "bilinear", "align_corners": True}, IMAGE),
    "ZeroPad2d": ({"padding": (1, 2)}, IMAGE),
}
