"""A training step of the 28x28 network: convolution of 32 3x3, ReLU, max pool, linear, cross entropy, Adam.

A step takes its batch from the array of all images, as training does; a turn's figure is the median of its steps, the
first left out, as it meets the caches of another library.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..cases import Case
from ..made import Array, Library, Made

STEPS = 6


def _data(batch: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    n = batch * (STEPS + 1)
    return rng.random((n, 1, 28, 28), np.float32), rng.integers(10, size=n)


def _made(turn: Any) -> Made:
    return Made(turn, None, lambda: statistics.median(np.diff(turn())[1:]))


def convlens(case: Case, folder: Path) -> Made:
    """An epoch of `fit` is a turn; its schedule is called before every step."""
    from convlens import nn, ops, train

    ops.set_num_threads(case.threads)
    net = nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        input_shape=(1, 28, 28),
    )
    images, labels = _data(case.n)

    def turn() -> list[float]:
        begun: list[float] = []

        def schedule(epoch: float, epochs: int) -> float:
            begun.append(time.perf_counter())
            return 1.0

        more: dict[str, Any] = {"epochs": 1, "batch_size": case.n, "schedule": schedule, "progress": False}
        train.fit(net, images, labels, optimizer=train.Adam(1e-3), **more)
        return begun

    return _made(turn)


def torch(case: Case, folder: Path) -> Made:
    import torch
    from torch import nn

    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5408, 10))
    optimizer, loss_of = torch.optim.Adam(module.parameters(), 1e-3), nn.CrossEntropyLoss()
    images, labels = (torch.from_numpy(array) for array in _data(case.n))

    def turn() -> list[float]:
        order, begun = torch.randperm(len(images)), []
        for start in range(0, len(images), case.n):
            begun.append(time.perf_counter())
            rows = order[start : start + case.n]
            optimizer.zero_grad()
            loss = loss_of(module(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            loss.item()
        return begun

    return _made(turn)


LIBRARIES = {
    "convlens": Library(convlens, ("convlens",), "`train.fit`"),
    "torch": Library(torch, ("torch",), "eager"),
}
