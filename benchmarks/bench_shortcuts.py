"""Explanations with and without their exact shortcuts: sums behind the first convolution, boxes under occlusion.

    python benchmarks/bench_shortcuts.py resnet18.onnx [--method occlusion ...] [--threads 2] [--rounds 5]

With and without alternate in one process, after a call of each that is not timed. Prints medians, the median of the
paired ratios (with / without) with its 95 % bounds, and by how much the maps differ, relative to their largest value.
Grad-CAM is set beside the forward pass, which it should cost little more than.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np

import convlens as cl
from convlens.cli.bench import paired_ratio

#: Method: its options, and the function whose answer None turns the shortcut off.
SHORTCUTS: dict[str, tuple[dict[str, Any], str]] = {
    "integrated_gradients": ({"n_steps": 50}, "convlens.explain._average.find_split"),
    "smooth_grad": ({"n_samples": 25}, "convlens.explain._average.find_split"),
    "occlusion": ({"window": 32, "stride": 16}, "find_local"),
}
METHODS = (*SHORTCUTS, "grad_cam")


def calls(net: Any, x: np.ndarray, method: str) -> dict[str, Callable[[], np.ndarray]]:
    """The two calls to compare, the one with the shortcut first."""
    if method == "grad_cam":
        return {
            "grad_cam": lambda: cl.explain.grad_cam(net, x, 0, upsample=None).values,
            "forward": lambda: net(x),
        }
    options, switch = SHORTCUTS[method]
    function = getattr(cl.explain, method)

    def without() -> np.ndarray:
        with ExitStack() as stack:
            if "." in switch:
                stack.enter_context(mock.patch(switch, return_value=None))
            else:
                stack.enter_context(mock.patch.dict(function.__globals__, {switch: mock.Mock(return_value=None)}))
            return function(net, x, 0, **options).values

    return {"with": lambda: function(net, x, 0, **options).values, "without": without}


def measure(net: Any, x: np.ndarray, method: str, rounds: int) -> str:
    """Time both calls, alternated, and describe them in one line."""
    made = calls(net, x, method)
    values = {name: call() for name, call in made.items()}
    taken: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, call in made.items():
            begun = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begun)
    ratio = paired_ratio(*taken.values())
    line = f"{method:<21}" + "".join(f" {name} {1e3 * statistics.median(t):9.2f} ms" for name, t in taken.items())
    line += f"  ratio {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
    if method != "grad_cam":
        error = np.abs(values["with"] - values["without"]).max() / np.abs(values["without"]).max()
        line += f"  maps differ by {error:.1e}"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an ONNX file or another that convlens loads")
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each (default: 5)")
    options = parser.parse_args()
    cl.set_num_threads(options.threads)
    net = cl.load(options.model)
    shape = net.graph.inputs[net.input_name].per_image
    x = np.random.default_rng(0).standard_normal((1, *shape)).astype(net.dtype)
    print(f"{options.model}, {options.threads} threads, {platform.processor() or platform.machine()}")
    for method in options.method:
        print(measure(net, x, method, options.rounds), flush=True)


if __name__ == "__main__":
    main()
