"""A network small enough for a pencil."""

from __future__ import annotations

import numpy as np

from convlens import nn


def net(dtype="float64"):
    """One 1x1 convolution to two channels (x, -x), ReLU, and two classes over the 2 x 3 places.

    Class 0 reads channel 0 with 1 to 6; class 1 reads channel 1 with -1 everywhere and channel 0 with 2 at the corner.
    """
    made = nn.Sequential(
        nn.Conv2d(out_channels=2, kernel_size=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(out_features=2),
        input_shape=(1, 2, 3),
    ).astype(dtype)
    weight = np.zeros((2, 2, 2, 3))
    weight[0, 0] = [[1, 2, 3], [4, 5, 6]]
    weight[1, 1] = -1
    weight[1, 0, 0, 0] = 2
    made.set_parameters(
        {
            "conv1.weight": np.array([1.0, -1.0]).reshape(2, 1, 1, 1),
            "conv1.bias": np.zeros(2),
            "linear1.weight": weight.reshape(2, 12),
            "linear1.bias": np.array([0.5, -0.5]),
        }
    )
    return made


IMAGE = np.array([[[[1.0, -2.0, 3.0], [0.0, 5.0, -6.0]]]])
