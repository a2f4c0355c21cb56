"""Small networks and data that several tests of training share."""

from __future__ import annotations

import numpy as np

from convlens import nn


def residual(seed=0, dtype="float32", norm=True):
    """Two branches, a ReLU used twice, unequal height and width."""
    x = nn.Input((2, 9, 7))
    relu = nn.ReLU(name="relu")
    a = nn.Conv2d(out_channels=4, kernel_size=3, padding="same", name="a")(x)
    b = nn.BatchNorm2d(name="norm")(a) if norm else a
    b = nn.Conv2d(out_channels=4, kernel_size=3, padding="same", name="b")(relu(b))
    y = nn.MaxPool2d(kernel_size=2, name="pool")(relu(a + b))
    y = nn.Flatten(name="flat")(nn.AvgPool2d(kernel_size=2, stride=1, name="mean")(y))
    return nn.Network(inputs=x, outputs=nn.Linear(out_features=3, name="head")(y), seed=seed).astype(dtype)


def data(count=37, dtype="float32", seed=0):
    """Images whose class is where their mean is largest."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, 2, 9, 7))
    labels = rng.integers(3, size=count)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 1.0
    return images.astype(dtype), labels
