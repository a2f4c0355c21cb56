"""Training step by step beside PyTorch, from the same weights and batches."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import nn, train
from convlens.train._data import shuffled
from train.networks import data, residual

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")


class _Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.b = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.head = torch.nn.Linear(4 * 3 * 2, 3)

    def forward(self, x):
        a = self.a(x)
        b = self.b(torch.relu(self.norm(a)))
        y = torch.max_pool2d(torch.relu(a + b), 2)
        return self.head(torch.nn.functional.avg_pool2d(y, 2, stride=1).flatten(1))


def _twin(module, net):
    names = dict(module.state_dict())
    for name, array in net.parameters.items():
        names[name].copy_(torch.from_numpy(array.copy()))
    return module.to(torch.float64 if net.dtype == "float64" else torch.float32)


OPTIMIZERS = {
    "sgd": (train.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "nesterov": (
        train.SGD(0.02, momentum=0.9, nesterov=True, weight_decay=1e-2),
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True, weight_decay=1e-2),
    ),
    "adam": (train.Adam(1e-2, weight_decay=1e-2), lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-2)),
    "adamw": (train.AdamW(1e-2), lambda p: torch.optim.AdamW(p, 1e-2)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_and_statistics_agree_after_many_steps(name):
    ours, theirs = OPTIMIZERS[name]
    net = residual(dtype="float64")
    module = _twin(_Residual().double(), net)
    images, labels = data(dtype="float64")
    optimizer = theirs(module.parameters())
    losses = []
    for epoch in range(4):
        order = shuffled(len(labels), seed=0, epoch=epoch)
        for start in range(0, len(order), 8):
            rows = order[start : start + 8]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                module(torch.from_numpy(images[rows])), torch.from_numpy(labels[rows])
            )
            loss.backward()
            optimizer.step()
            losses.append((loss.item(), len(rows)))
    history = train.fit(net, images, labels, epochs=4, batch_size=8, optimizer=ours, progress=False)
    epochs = np.array(losses).reshape(4, -1, 2)
    np.testing.assert_allclose(history.loss, (epochs[..., 0] * epochs[..., 1]).sum(1) / len(labels), rtol=1e-9)
    for key, value in module.state_dict().items():
        if key in net.parameters:
            # Adam divides by the root of the gradient's square: a gradient of rounding errors moves like any other.
            np.testing.assert_allclose(net.parameters[key], value.numpy(), rtol=0, atol=1e-6, err_msg=key)


def test_loss_of_the_28x28_network_agrees_over_100_steps():
    net = nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        input_shape=(1, 28, 28),
        seed=0,
    )
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(5408, 10)
    )
    with torch.no_grad():
        for name, tensor in zip(net.parameters, module.parameters(), strict=True):
            tensor.copy_(torch.from_numpy(net.parameters[name].copy()))
    rng = np.random.default_rng(0)
    images = rng.random((100, 16, 1, 28, 28)).astype(np.float32)
    labels = rng.integers(10, size=(100, 16))
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    expected, found = [], []
    for batch, classes in zip(images, labels, strict=True):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(batch)), torch.from_numpy(classes))
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    # One epoch whose batches are these, in this order: `fit` shuffles, so undo its order beforehand.
    order = shuffled(1600, seed=0, epoch=0)
    flat, flat_labels = np.empty((1600, 1, 28, 28), np.float32), np.empty(1600, np.int64)
    flat[order], flat_labels[order] = images.reshape(-1, 1, 28, 28), labels.reshape(-1)
    from convlens.train import _fit

    step = _fit._Run._step

    def recorded(self, rows, epoch, index, lr):
        result = step(self, rows, epoch, index, lr)
        found.append(result[0] / len(rows))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fit._Run, "_step", recorded)
        train.fit(net, flat, flat_labels, epochs=1, batch_size=16, progress=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
