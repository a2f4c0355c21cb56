"""A training step of the 28x28 network (conv 32 3x3, ReLU, max-pool 2x2, linear 10; Adam) beside PyTorch.

    python benchmarks/bench_train.py [--steps 60] [--threads 1 2] [--batch 32 128]

Each library runs in a process of its own; their steps alternate, so that both meet the same weather. A step takes its
batch from the array of all images, as training does. Prints medians, the spread (10th to 90th percentile) and the ratio
of the medians. Without PyTorch it times convlens alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import platform
import statistics
import time
from multiprocessing.connection import Connection

import numpy as np

IMAGES = 4096
WARM_UP = 5


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((IMAGES, 1, 28, 28), np.float32), rng.integers(10, size=IMAGES)


def convlens_steps(connection: Connection, batch: int, threads: int) -> None:
    """Answer each message with the seconds of one step of `fit`; its schedule is called before every step."""
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
    begun = 0.0

    def schedule(epoch: float, epochs: int) -> float:
        nonlocal begun
        if begun:
            connection.send(time.perf_counter() - begun)
        if not connection.recv():
            raise KeyboardInterrupt
        begun = time.perf_counter()
        return 1.0

    images, labels = data()
    train.fit(
        net,
        images,
        labels,
        epochs=10**6,
        batch_size=batch,
        optimizer=train.Adam(1e-3),
        schedule=schedule,
        progress=False,
    )


def torch_steps(connection: Connection, batch: int, threads: int) -> None:
    """Answer each message with the seconds of one step."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(5408, 10)
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    images, labels = (torch.from_numpy(array) for array in data())
    while True:
        order = torch.randperm(IMAGES)
        for start in range(0, IMAGES, batch):
            if not connection.recv():
                return
            begun = time.perf_counter()
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = loss_of(module(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            loss.item()
            connection.send(time.perf_counter() - begun)


def measure(batch: int, threads: int, steps: int) -> dict[str, list[float]]:
    """Seconds of each step by library, their steps alternating."""
    runners = {"convlens": convlens_steps}
    if importlib.util.find_spec("torch") is not None:
        runners["torch"] = torch_steps
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    ends, processes = {}, []
    for name, runner in runners.items():
        ends[name], other = context.Pipe()
        processes.append(context.Process(target=runner, args=(other, batch, threads), daemon=True))
        processes[-1].start()
        other.close()
    times: dict[str, list[float]] = {name: [] for name in runners}
    for step in range(WARM_UP + steps):
        for name, end in ends.items():
            end.send(True)
            seconds = end.recv()
            if step >= WARM_UP:
                times[name].append(seconds)
    for end in ends.values():
        end.send(False)
    for process in processes:
        process.join(10)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    options = parser.parse_args()
    from convlens._core import info

    print(f"training step of the 28x28 network, {platform.processor() or platform.machine()}, kernels {info()['isa']}")
    for threads in options.threads:
        for batch in options.batch:
            times = measure(batch, threads, options.steps)
            parts = []
            for name, values in times.items():
                low, high = np.percentile(values, [10, 90]) * 1e3
                parts.append(f"{name} {statistics.median(values) * 1e3:.3f} ms ({low:.3f} ... {high:.3f})")
            ratio = ""
            if len(times) == 2:
                ratio = f", ratio {statistics.median(times['convlens']) / statistics.median(times['torch']):.2f}"
            print(f"batch {batch:>3}, {threads} thread(s): {', '.join(parts)}{ratio}", flush=True)


if __name__ == "__main__":
    main()
