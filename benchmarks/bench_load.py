"""Reading an ONNX file beside the onnx package, which only parses it.

    python benchmarks/bench_load.py resnet50.onnx [FILE ...] [--calls 20]

Alternated calls in one process, the file in the page cache: `onnx` is onnx.load; `load` is convlens.load; `compiled`
has the program of a forward pass; `ready` has the weights packed and one image computed too. Prints medians, the
spread (10th to 90th percentile), and the paired ratio to `onnx` with its 95 % bounds.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import convlens
import onnx
from convlens.cli.bench import paired_ratio, spread


def compiled(path: str) -> Any:
    net = convlens.load(path)
    outputs = tuple(net.graph.outputs)
    return net.program(("forward", outputs), lambda: net._forward_graph(outputs))


def ready(path: str) -> Any:
    net = convlens.load(path)
    return net(np.zeros((1, *net.input_shape), net.dtype))


STAGES: dict[str, Callable[[str], Any]] = {
    "onnx": onnx.load,
    "load": convlens.load,
    "compiled": compiled,
    "ready": ready,
}


def measure(path: str, calls: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    for turn in range(calls + 2):
        for name in STAGES if turn % 2 == 0 else reversed(STAGES):
            begun = time.perf_counter()
            STAGES[name](path)
            if turn >= 2:
                times[name].append(time.perf_counter() - begun)
    for name, taken in times.items():
        ms, ratio = spread([1e3 * seconds for seconds in taken]), paired_ratio(taken, times["onnx"])
        print(
            f"{path}  {name:<9} {ms.median:8.1f} ms ({ms.low:.1f} to {ms.high:.1f})  "
            f"ratio {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--calls", type=int, default=20, help="timed calls of each stage (default: 20)")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, onnx {onnx.__version__}, ISA {convlens._core.info()['isa']}")
    for path in options.files:
        measure(path, options.calls)


if __name__ == "__main__":
    main()
