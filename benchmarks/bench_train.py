"""A training step of the 28x28 network (conv 32 3x3, ReLU, max-pool 2x2, linear 10; Adam) beside PyTorch.

    python benchmarks/bench_train.py [--turns 30] [--threads 1 2] [--batch 32 128]

Each library runs in a process of its own; their turns of a few steps alternate, so that both meet the same weather. A
step takes its batch from the array of all images, as training does; a turn counts as the median of its steps. Prints
medians of the turns, the spread (10th to 90th percentile) and the paired ratio with its 95 % bounds. Without PyTorch it
times convlens alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from convlens.cli.bench import alternate, paired_ratio, spread, workers

#: Steps of a turn, the first of which is not counted: it meets the caches of another library.
STEPS = 5
WARM_UP = 2


def data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = batch * (STEPS + 1)
    return rng.random((images, 1, 28, 28), np.float32), rng.integers(10, size=images)


def convlens_turns(batch: int, threads: int) -> Callable[[], float]:
    """An epoch of `fit` is a turn; its schedule is called before every step."""
    from convlens import nn, set_num_threads, train

    set_num_threads(threads)
    net = nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        input_shape=(1, 28, 28),
    )
    images, labels = data(batch)

    def turn() -> float:
        begun: list[float] = []

        def schedule(epoch: float, epochs: int) -> float:
            begun.append(time.perf_counter())
            return 1.0

        train.fit(
            net,
            images,
            labels,
            epochs=1,
            batch_size=batch,
            optimizer=train.Adam(1e-3),
            schedule=schedule,
            progress=False,
        )
        return statistics.median(np.diff(begun)[1:])

    return turn


def torch_turns(batch: int, threads: int) -> Callable[[], float]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(5408, 10)
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    images, labels = (torch.from_numpy(array) for array in data(batch))

    def turn() -> float:
        order = torch.randperm(len(images))
        begun = []
        for start in range(0, len(images), batch):
            begun.append(time.perf_counter())
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = loss_of(module(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            loss.item()
        return statistics.median(np.diff(begun)[1:])

    return turn


def measure(batch: int, threads: int, turns: int) -> dict[str, list[float]]:
    """Seconds of a step in each turn, by library."""
    factories = {"convlens": convlens_turns}
    if importlib.util.find_spec("torch") is not None:
        factories["torch"] = torch_turns
    with workers(factories, (batch, threads), threads=threads) as running:
        return alternate(running, (), turns, warm_up=WARM_UP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=30, help=f"of {STEPS} steps each (default: 30)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    options = parser.parse_args()
    from convlens._core import info

    print(f"training step of the 28x28 network, {platform.processor() or platform.machine()}, kernels {info()['isa']}")
    for threads in options.threads:
        for batch in options.batch:
            times = measure(batch, threads, options.turns)
            parts = []
            for name, values in times.items():
                ms = spread([1e3 * seconds for seconds in values])
                parts.append(f"{name} {ms.median:.3f} ms ({ms.low:.3f} ... {ms.high:.3f})")
            if len(times) == 2:
                ratio = paired_ratio(times["convlens"], times["torch"])
                parts.append(f"ratio {ratio.median:.2f} ({ratio.low:.2f} ... {ratio.high:.2f})")
            print(f"batch {batch:>3}, {threads} thread(s): {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
