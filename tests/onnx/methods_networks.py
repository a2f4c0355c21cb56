"""Each method on each network of the list: what it follows, and what its map must be.

    PYTHONPATH=tests:tests/onnx python tests/onnx/methods_networks.py

writes docs/methods_networks.md.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_files
import numpy as np
import torch
import zoo
from exporters import by_script
from torch.overrides import TorchFunctionMode

import convlens as cl
from convlens.perturb import grid_masks, normal
from explain.interpreted import InterpretedNetwork

METHODS = cl.explain.methods()
PAGE = Path(__file__).parents[2] / "docs" / "methods_networks.md"
NETWORKS = (*zoo.SMALL, *(f"tf2onnx {name}" for name in keras_files.FILES))
SHARE = 1e-8  # max|a - b| / max|b|


@dataclass(frozen=True)
class Cell:
    """A method's map, or why there is none; and what its notes say of extensions."""

    values: np.ndarray | None
    notes: tuple[str, ...]


class Case:
    """A network in float64, an image and a target; and what PyTorch computes."""

    def __init__(self, name: str) -> None:
        if name in zoo.SMALL:
            make, shape = zoo.SMALL[name]
            torch.manual_seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = zoo.settled(make(), shape, n=32)  # down to one element a channel
            net = cl.load(by_script(module, shape, folded=False))
            self.compute: Callable[[Any], Any] = zoo.in_double(module)
        else:
            file, output = keras_files.FILES[name.removeprefix("tf2onnx ")][0]()
            net = cl.load(file.model(output).SerializeToString())
            self.compute = functools.partial(file.compute, output=net.logits_name)
        self.net = net.astype("float64")
        self.images = np.random.default_rng(1).standard_normal((1, *net.input_shape))
        self.last = net.layout in ("NHWC", "NLC")
        self.axes = slice(1, -1) if self.last else slice(2, None)  # of height and width
        self.window = tuple(max(1, size // 2) for size in self.images.shape[self.axes])
        shape = net.graph.types[net.logits_name].per_image
        self.target = {1: 1, 3: (1, *(size // 2 for size in shape[1:]))}[len(shape)]

    def explain(self, method: str, net: Any = None) -> Any:
        row = METHODS[method]
        options: dict[str, Any] = dict(row.options)
        if method == "occlusion":
            options = {"window": self.window, "stride": self.window}
        elif method == "grad_cam":
            options = {"relu": False, "upsample": None}
        return row.function(net or self.net, self.images, self.target, **options)

    def cell(self, method: str) -> Cell:
        try:
            why = self.explain(method)
        except cl.UnsupportedError as error:
            return Cell(None, (str(error),))
        return Cell(why.values, tuple(note for note in why.notes if "an extension" in note))

    def oracle(self, method: str) -> np.ndarray:
        """The map by PyTorch; of methods without a line below, by the plain interpreter of graphs."""
        x = self.images
        if method in ("saliency", "guided_backprop", "deconvnet"):
            return self._gradient(x, method)
        if method == "input_x_gradient":
            return x * self._gradient(x)
        if method == "integrated_gradients":
            points, weights = np.polynomial.legendre.leggauss(METHODS[method].options["n_steps"])
            return x * sum(w / 2 * self._gradient((1 + p) / 2 * x) for p, w in zip(points, weights, strict=True))
        if method == "smooth_grad":
            n = METHODS[method].options["n_samples"]
            shape = (x.shape[-1], *x.shape[1:-1]) if self.last else x.shape[1:]
            noise = normal(shape, seed=0, image=0, samples=range(n), dtype=x.dtype)
            noise = np.moveaxis(noise, 1, -1) if self.last else noise
            return sum(self._gradient(x + 0.15 * np.ptp(x) * sample) for sample in noise) / n
        if method == "occlusion":
            return self._occlusion()
        if method == "rise":
            return self._rise(METHODS[method].options["n_samples"])
        return np.asarray(self.explain(method, InterpretedNetwork(self.net)).values)

    def _occlusion(self) -> np.ndarray:
        """What covering each window with zeros takes from the score; windows lie side by side."""
        sizes = self.images.shape[self.axes]
        lost = np.zeros((1, *sizes, 1) if self.last else (1, 1, *sizes))
        for corner in np.ndindex(*(-(-size // w) for size, w in zip(sizes, self.window, strict=True))):
            cut: Any = tuple(slice(i * w, i * w + w) for i, w in zip(corner, self.window, strict=True))
            cut = (..., *cut, slice(None)) if self.last else (..., *cut)
            covered = self.images.copy()
            covered[cut] = 0
            lost[cut] = self._score(torch.tensor(self.images)) - self._score(torch.tensor(covered))
        return lost

    def _rise(self, n: int) -> np.ndarray:
        """The covariance of masks with what the masked image scores, over the chance of being kept."""
        sizes = self.images.shape[self.axes]
        drawn = grid_masks(
            sizes, [7] * len(sizes), p_keep=0.5, seed=0, image=0, samples=range(n), dtype=self.images.dtype
        )
        masks = drawn[..., np.newaxis] if self.last else drawn[:, np.newaxis]
        scores = [float(self._score(torch.tensor(self.images * mask))) for mask in masks]
        return np.tensordot(scores - np.mean(scores), masks, axes=1)[np.newaxis] / n / 0.5

    def _score(self, images: Any) -> Any:
        return self.compute(images)[(0, *np.atleast_1d(self.target))]

    def _gradient(self, x: np.ndarray, rule: str = "saliency") -> np.ndarray:
        images = torch.tensor(x, requires_grad=True)
        with Rule(rule):
            score = self._score(images)
        return torch.autograd.grad(score, images)[0].numpy()


class Rule(TorchFunctionMode):
    """PyTorch with the papers' rules for ReLU, and for ReLU6, which is a ReLU below its upper bound."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if self.rule != "saliency" and name in _BOUNDS and not (name == "maximum" and args[1].any()):
            low, high = _BOUNDS[name]
            return _Bounded.apply(args[0], low, high, self.rule)
        return function(*args, **(kwargs or {}))


_BOUNDS = {
    **dict.fromkeys(("relu", "relu_", "maximum"), (0, np.inf)),
    **dict.fromkeys(("relu6", "hardtanh", "hardtanh_"), (0, 6)),
    "minimum": (-np.inf, 6),
}


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, low: float, high: float, rule: str) -> Any:
        ctx.inside, ctx.rule = (x > low) & (x < high), rule
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        positive = gradient.clamp(min=0)
        return positive * ctx.inside if ctx.rule == "guided_backprop" else positive, None, None, None


def page(cells: dict[str, dict[str, Cell]]) -> str:
    """The table as Markdown."""
    notes: list[str] = []

    def number(texts: Iterable[str]) -> str:
        notes.extend(text for text in texts if text not in notes)
        return "".join(f" [{notes.index(text) + 1}]" for text in texts)

    rows = [f"| network | {' | '.join(METHODS)} |", "|---" * (len(METHODS) + 1) + "|"]
    for network, row in cells.items():
        said = (
            ("-" if cell.values is None else "extension" if cell.notes else "paper") + number(cell.notes)
            for cell in row.values()
        )
        rows.append(f"| {network} | {' | '.join(said)} |")
    return "\n".join([_HEAD, *rows, "", *(f"[{i}] {note.rstrip('.')}." for i, note in enumerate(notes, 1)), ""])


_HEAD = """# Methods and networks

What each method follows on networks that people deploy, in small versions with the same operators, as PyTorch's
exporter and tf2onnx write them: `paper`, the rules of its paper alone; `extension`, a rule beyond it, which `why.notes`
of every explanation says too; `-`, an UnsupportedError, with its text. Every map is compared in float64 with PyTorch's,
or with that of the plain interpreter of graphs, to 1e-8 of its largest value. Made by
`tests/onnx/methods_networks.py`.
"""


def main() -> None:
    cells = {}
    for name in NETWORKS:
        case = Case(name)
        cells[name] = {method: case.cell(method) for method in METHODS}
    PAGE.write_text(page(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
