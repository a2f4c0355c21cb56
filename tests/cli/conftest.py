"""A small network in a file."""

from __future__ import annotations

import pytest

from convlens import nn


@pytest.fixture
def saved(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(out_channels=3, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=4),
        nn.Softmax(),
        input_shape=(1, 12, 10),
        seed=0,
    )
    net.save(tmp_path / "net.npz")
    return net, tmp_path / "net.npz"
