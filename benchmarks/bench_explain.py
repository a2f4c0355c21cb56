"""Explanations beside Captum: saliency, integrated gradients, Grad-CAM and occlusion on a small and a medium network.

    python benchmarks/bench_explain.py [--calls 20] [--threads 1 2] [--images 1 8] [--method saliency ...]

Each library runs in a process of its own, with the same weights and images; their calls alternate, so that both meet
the same weather. Prints medians, the spread (10th to 90th percentile), the paired ratio with its 95 % bounds, and by
how much the maps differ. Captum runs with its defaults; for occlusion it gets 16 windows a batch, its default of one
being slower.
Without Captum it times convlens alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from convlens.cli.bench import alternate, paired_ratio, spread, workers

WARM_UP = 3
METHODS = ("saliency", "integrated_gradients", "grad_cam", "occlusion")
#: Input shape, window and stride of occlusion, and layers: (channels, stride) of 3x3 convolutions, each with a ReLU.
NETWORKS: dict[str, dict[str, Any]] = {
    "small": {"shape": (1, 28, 28), "window": 4, "stride": 2, "convolutions": [(32, 1)]},
    "medium": {
        "shape": (3, 64, 64),
        "window": 16,
        "stride": 8,
        "convolutions": [(32, 1), (32, 2), (64, 1), (64, 2), (128, 1), (128, 2)],
    },
}
Call = Callable[[], np.ndarray]


def weights(network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of every convolution and of the head, from one seed."""
    rng = np.random.default_rng(0)
    channels, height, width = NETWORKS[network]["shape"]
    made = []
    for out, stride in NETWORKS[network]["convolutions"]:
        scale = np.sqrt(2 / (9 * channels))
        made.append((scale * rng.standard_normal((out, channels, 3, 3)), 0.1 * rng.standard_normal(out)))
        channels, height, width = out, -(-height // stride), -(-width // stride)
    features = channels * (height // 2) * (width // 2)
    made.append((np.sqrt(1 / features) * rng.standard_normal((10, features)), 0.1 * rng.standard_normal(10)))
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in made]


def images(network: str, n: int) -> np.ndarray:
    return np.random.default_rng(1).random((n, *NETWORKS[network]["shape"]), np.float32)


def convlens_calls(network: str, n: int, threads: int) -> dict[str, Call]:
    from convlens import explain, nn, set_num_threads

    set_num_threads(threads)
    given = NETWORKS[network]
    layers: list[Any] = []
    for out, stride in given["convolutions"]:
        layers += [nn.Conv2d(out_channels=out, kernel_size=3, stride=stride, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(kernel_size=2), nn.Flatten(), nn.Linear(out_features=10)]
    net = nn.Sequential(*layers, input_shape=given["shape"])
    names = [name.rsplit(".", 1)[0] for name in net.parameters if name.endswith("weight")]
    for name, (weight, bias) in zip(names, weights(network), strict=True):
        net.set_parameters({f"{name}.weight": weight, f"{name}.bias": bias})
    x = images(network, n)
    target = np.zeros(n, np.int64)
    window, stride = given["window"], given["stride"]
    return {
        "saliency": lambda: explain.saliency(net, x, target).values,
        "integrated_gradients": lambda: explain.integrated_gradients(net, x, target, n_steps=50).values,
        "grad_cam": lambda: explain.grad_cam(net, x, target, relu=False, upsample=None).values,
        "occlusion": lambda: explain.occlusion(net, x, target, window=window, stride=stride).values,
    }


def captum_calls(network: str, n: int, threads: int) -> dict[str, Call]:
    import captum.attr
    import torch

    torch.set_num_threads(threads)
    given = NETWORKS[network]
    channels = given["shape"][0]
    layers: list[torch.nn.Module] = []
    for out, stride in given["convolutions"]:
        layers += [torch.nn.Conv2d(channels, out, 3, stride, 1), torch.nn.ReLU()]
        channels = out
    made = weights(network)
    layers += [torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(made[-1][0].shape[1], 10)]
    module = torch.nn.Sequential(*layers).eval()
    weighted = [layer for layer in layers if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer, (weight, bias) in zip(weighted, made, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    x, target = torch.from_numpy(images(network, n)).requires_grad_(), torch.zeros(n, dtype=torch.int64)
    last = module[len(given["convolutions"]) * 2 - 1]
    window, stride = given["window"], given["stride"]
    depth = given["shape"][0]
    saliency, path = captum.attr.Saliency(module), captum.attr.IntegratedGradients(module)
    cam, occlusion = captum.attr.LayerGradCam(module, last), captum.attr.Occlusion(module)
    return {
        "saliency": lambda: saliency.attribute(x, target, abs=False).detach().numpy(),
        "integrated_gradients": lambda: path.attribute(x, target=target, n_steps=50).detach().numpy(),
        "grad_cam": lambda: cam.attribute(x, target).detach().numpy(),
        "occlusion": lambda: (
            occlusion.attribute(
                x, (depth, window, window), (depth, stride, stride), target=target, perturbations_per_eval=16
            )
            .detach()
            .numpy()[:, :1]
        ),
    }


LIBRARIES = {"convlens": convlens_calls, "captum": captum_calls}


def answers(library: str, network: str, n: int, threads: int) -> Callable[..., Any]:
    """Answer ``method`` with the seconds of one call; ``method, "values"`` with the values."""
    calls = LIBRARIES[library](network, n, threads)

    def answer(method: str, wanted: str = "seconds") -> Any:
        if wanted == "values":
            return calls[method]()
        begun = time.perf_counter()
        calls[method]()
        return time.perf_counter() - begun

    return answer


def measure(network: str, n: int, threads: int, methods: list[str], calls: int) -> None:
    """Time one network with one number of images and threads, and print a row for each method."""
    libraries = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    factories = {name: partial(answers, name) for name in libraries}
    with workers(factories, (network, n, threads), threads=threads) as running:
        for method in methods:
            times = alternate(running, (method,), calls, warm_up=WARM_UP)
            row = f"{network:<7} n{n:<3} t{threads:<2} {method:<21}"
            for library, taken in times.items():
                ms = spread([1e3 * seconds for seconds in taken])
                row += f" {library} {ms.median:8.2f} ms ({ms.low:.2f} to {ms.high:.2f})"
            if len(libraries) == 2:
                ours, theirs = (running[library].ask(method, "values") for library in libraries)
                error = np.abs(ours - theirs).max() / np.abs(theirs).max()
                ratio = paired_ratio(times["convlens"], times["captum"])
                row += f"  ratio {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})  maps differ by {error:.1e}"
            print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20, help="timed calls of each method (default: 20)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--network", choices=list(NETWORKS), nargs="+", default=list(NETWORKS))
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    options = parser.parse_args()
    from convlens._core import info

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ISA {info()['isa']}")
    for network in options.network:
        for n in options.images:
            for threads in options.threads:
                measure(network, n, threads, options.method, options.calls)


if __name__ == "__main__":
    main()
