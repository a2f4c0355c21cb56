"""`convlens explain`: pictures of why a network answered as it did."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..explain._output import find_output
from ..explain._progress import Progress
from ..graph import spatial_axes
from ..image import RECIPES, Recipe
from ..image._recipe import FILTERS
from ..nn import Network
from ._common import Commands, add_layout, command, load_network, names, one_line
from .why import FORMATS, MOST_ROWS, PAGES, Labels, Loaded, Reader, Shown, Sink, numbers, page, recipe_of, sheet, size

if TYPE_CHECKING:
    from ..explain import Explanation, Method

_TOP = 5


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "explain",
        help="draw what answers rest on",
        description="Classify pictures and draw, for each method, what the answers rest on. For each picture it prints "
        "the top five classes, what was explained, the layer a method read and its delta: how far the map's sum is "
        "from what its method promises.",
        example="convlens explain model.onnx cat.jpg dog.jpg --recipe imagenet --labels imagenet.txt\n"
        "      --method grad_cam,integrated_gradients --target 'tiger cat' --out why.html",
    )
    parser.add_argument("net", metavar="MODEL", help="a network: .onnx (extra [onnx]), or what net.save wrote")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="pictures (extra [image]), or .npy arrays in the network's own shape and scale, of one image or several",
    )
    parser.add_argument(
        "--method",
        metavar="METHODS",
        type=names,
        default=["saliency"],
        help=f"one, or several with commas between: {', '.join(_methods())} (default: saliency)",
    )
    parser.add_argument(
        "--target",
        metavar="CLASS",
        help="the class to explain: its number, or its name in --labels (default: the top); of an output of maps a "
        "place, such as 2,20,24 (class, y, x)",
    )
    parser.add_argument("--labels", metavar="FILE", help="names of the classes: one a line, or JSON")
    parser.add_argument("--layer", metavar="NAME", help="the layer that CAMs read (default: chosen, and printed)")
    parser.add_argument("--output", metavar="NAME", help="the tensor to explain (default: the network's logits)")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="an argument of the methods that have it, such as n_steps=100 or window=8; may be repeated "
        "(default: theirs; occlusion's window is a seventh of the picture)",
    )
    _add_recipe(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="why.png",
        help=f"a picture ({', '.join(FORMATS)}) of up to {MOST_ROWS} images, or a page (.html) of any number "
        "(default: why.png)",
    )
    parser.add_argument("--batch", metavar="N", type=int, default=8, help="images at once (default: 8)")
    parser.set_defaults(run=run)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "how a picture becomes the input", "(scale * pixel - mean) / std, channel by channel"
    )
    group.add_argument("--recipe", metavar="NAME", help=f"{', '.join(RECIPES)} (default: pixels of 0 ... 1)")
    group.add_argument("--size", type=size, metavar="HxW", help="instead of the recipe's, such as 224 or 240x320")
    group.add_argument("--resize", type=int, metavar="N", help="the shorter side, before the centre is cropped")
    group.add_argument("--mean", type=numbers, metavar="R,G,B", help="such as 0.485,0.456,0.406")
    group.add_argument("--std", type=numbers, metavar="R,G,B", help="such as 0.229,0.224,0.225")
    group.add_argument("--scale", type=float, metavar="FACTOR", help="of pixels, 0 to 255 (default: 1/255)")
    add_layout(group)
    group.add_argument("--channels", choices=("RGB", "BGR", "grey"))
    group.add_argument("--filter", choices=FILTERS)


def run(options: argparse.Namespace) -> int:
    """Explain image by image, print each answer, write picture or page; 1 if a file could not be read."""
    rows = _rows(options.method)
    out = _writable(options)
    if options.batch < 1:
        raise ValueError(f"--batch (={options.batch}) must be at least 1")
    labels = Labels.read(options.labels)
    net = load_network(options.net, options.layout)
    if len(net.input_shape) != 3:
        raise ValueError(
            f"the network takes {net.input_shape}, which is no picture (C, H, W): there is nothing to draw over; "
            "convlens.explain has its maps as arrays"
        )
    target = labels.target(options.target)
    recipe, said = recipe_of(net, options)
    given = {**dict(options.option), **{n: v for n in ("layer", "output") if (v := getattr(options, n)) is not None}}
    sizes = [net.input_shape[axis - 1] for axis in spatial_axes(net.layout)]
    arguments = [_arguments(row.function, given, sizes, recipe) for row in rows]
    for name in given:
        if not any(name in each for each in arguments):
            option = f"--{name}" if name in ("layer", "output") else f"--option {name}"
            raise ValueError(f"{option} is no argument of {', '.join(options.method)}")
    job = _Job(net, rows, arguments, labels, target)
    reader, failures = Reader(net, recipe, options.images), 0
    stopped: KeyboardInterrupt | None = None
    try:
        failures = _run(job, reader, options, out)
    except KeyboardInterrupt as interrupt:
        stopped = interrupt
    if reader.pictures:
        print(f"input: {recipe}")
        job.notes += [said] if said else []
    for note in dict.fromkeys(job.notes):
        print(f"note: {note}")
    if job.done:
        print(f"wrote {out}")
    if stopped is not None:
        raise stopped
    return 1 if failures else 0


def _run(job: _Job, reader: Reader, options: argparse.Namespace, out: Path) -> int:
    """Explain every image; return how many files could not be read."""
    failures = 0
    several = len(options.images) > 1
    words = "Orange speaks for the class, purple against it; unsigned maps are brighter where more does."
    made = f"\nA picture becomes the input by: {reader.recipe}." if reader.recipe else ""
    foot = f"{words}{made}\nModel: {Path(options.net).name}."
    opened = page(out, f"Why {Path(options.net).stem} answered so", foot) if out.suffix.lower() in PAGES else sheet(out)
    with contextlib.ExitStack() as stack:
        # Opened with the first image that could be read: without one nothing is written.
        sink: Sink | None = None
        shown_bar = several and sys.stderr.isatty() and find_spec("tqdm") is not None
        bar = stack.enter_context(Progress("images", len(options.images), show=shown_bar))
        say = _above_bar if shown_bar else print
        waiting: list[Loaded] = []
        for position, path in enumerate(options.images):
            try:
                waiting += reader.read(path)
            except (OSError, ValueError, TypeError) as error:
                if not several:
                    raise
                failures += 1
                say(f"convlens: error: {one_line(error)}", file=sys.stderr)
            last = position + 1 == len(options.images)
            while waiting and (last or len(waiting) >= options.batch):
                sink = sink or stack.enter_context(opened)
                for shown in job.explain(waiting[: options.batch]):
                    sink.add(shown)
                    say("\n".join([shown.name, *(f"  {line}" for line in shown.lines)]))
                del waiting[: options.batch]
            bar.step()
    return failures


def _above_bar(text: str, file: TextIO | None = None) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=file)


class _Job:
    """The methods asked for, and what they noted."""

    def __init__(
        self,
        net: Network,
        rows: Sequence[Method],
        arguments: Sequence[Mapping[str, Any]],
        labels: Labels,
        target: int | tuple[int, ...] | None,
    ) -> None:
        self._net = net
        self._rows = rows
        self._arguments = arguments
        self._labels = labels
        self._target = target
        self.notes: list[str] = []
        self.done = 0

    def explain(self, loaded: Sequence[Loaded]) -> Iterator[Shown]:
        """Run every method on a batch."""
        images = np.concatenate([one.images for one in loaded])
        whys = {
            row.title: self._called(row, images, given) for row, given in zip(self._rows, self._arguments, strict=True)
        }
        scores = self._scores(images, next(iter(whys.values()))[0])
        for i, one in enumerate(loaded):
            self.notes += [f"{one.name}: {note}" for note in one.notes]
            self.done += 1
            yield self._shown(one, {title: each[i] for title, each in whys.items()}, scores[i])

    def _called(self, row: Method, images: Any, given: Mapping[str, Any]) -> list[Explanation]:
        """One explanation an image. Noise depends on an image's place in a call: there each has a call of its own."""
        size = 1 if row.seeded else len(images)
        found = []
        for start in range(0, len(images), size):
            why = row.function(self._net, images[start : start + size], self._target, **given)
            if any(note.startswith("interrupted") for note in why.notes):
                raise KeyboardInterrupt  # methods return what they have; a picture needs all of them
            self.notes += [f"{row.title}: {note}" for note in why.notes]
            found += list(why)
        return found

    def _scores(self, images: Any, why: Explanation) -> Any:
        """Probabilities where the network gives them, else what was explained: (N, classes), or N times None."""
        found = find_output(self._net)
        name = found.probability if why.probability is not None and found.probability else why.output
        values = np.asarray(self._net.activations(images, name)[name], dtype=np.float64)
        if values.ndim > 2 and values[0].size != max(values.shape[1:]):
            return [None] * len(images)
        values = values.reshape(len(images), -1)
        self._labels.check(values.shape[1])
        return np.exp(values) if name == found.probability and found.operator == "LogSoftmax" else values

    def _shown(self, one: Loaded, whys: Mapping[str, Explanation], scores: Any) -> Shown:
        first = next(iter(whys.values()))
        target = first.target[0]
        label = self._labels[int(target)] if np.ndim(target) == 0 else str(tuple(np.ravel(target).tolist()))
        lines = []
        if scores is not None:
            best = np.argsort(-scores, kind="stable")[:_TOP]
            width = max(len(self._labels[int(k)]) for k in best)
            lines += [f"{self._labels[int(k)]:<{width}}  {scores[k]:.4g}" for k in best]
        probability = "" if first.probability is None else f", probability {float(first.probability[0]):.3f}"
        kind = "class" if np.ndim(target) == 0 else "place"
        lines.append(f"explained: {kind} {label}, {first.output} {float(first.score[0]):.4g}{probability}")
        for title, why in whys.items():
            facts = [f"layer {why.layer}"] if why.layer else []
            facts += [f"delta {float(why.delta[0]):.2g}"] if why.delta is not None else []
            facts += [] if why.converged else ["not converged"]
            if facts:
                lines.append(f"{title}: {', '.join(facts)}")
        return Shown(one.name, one.picture, whys, lines, f"{_short(one.name)}\n{kind} {_short(label)}")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:21]}..."


def _writable(options: argparse.Namespace) -> Path:
    """Refuse before any work what could not be written after it, or would be written over what is read."""
    text, images = options.out, len(options.images)
    out = Path(text)
    ending = out.suffix.lower()
    if ending not in (*FORMATS, *PAGES):
        raise ValueError(f"--out (={text!r}) must end in {', '.join((*FORMATS, *PAGES))}")
    if ending not in PAGES and images > MOST_ROWS:
        raise ValueError(f"--out (={text!r}) holds {MOST_ROWS} images at most, there are {images}: write a page, .html")
    if not out.parent.is_dir():
        raise ValueError(f"--out (={text!r}) is in a folder that does not exist: make {out.parent}")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"--out (={text!r}) is a folder, or in one that cannot be written to: give another file")
    for read in (options.net, *options.images, *([options.labels] if options.labels else [])):
        if out.exists() and Path(read).exists() and out.samefile(read):
            raise ValueError(f"--out (={text!r}) is the file {read}, which is read: give another")
    return out


def _rows(wanted: Sequence[str]) -> list[Method]:
    from ..explain import methods

    known, possible = methods(), _methods()
    for name in wanted:
        if name not in possible:
            raise ValueError(f"--method (={name!r}) must be one of {', '.join(possible)}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON where it is JSON, else as text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE, such as n_steps=100")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _arguments(
    function: Callable[..., Any], given: Mapping[str, Any], sizes: Sequence[int], recipe: Recipe | None
) -> dict[str, Any]:
    """What of `given` a method takes, and what the command line knows better than its defaults."""
    takes = list(inspect.signature(function).parameters)[3:]  # after the network, the images and the target
    known: dict[str, Any] = {"window": max(1, min(sizes, default=1) // 7), "recipe": recipe}
    return {name: value for name, value in {**known, **given}.items() if name in takes}


def _methods() -> list[str]:
    from ..explain import methods

    return [name for name, row in methods().items() if row.values != "layer"]
