"""`convlens explain`: a picture of why a network answered as it did."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..image import RECIPES, Recipe
from ._common import Commands, command, load_images, load_network, names


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = command(
        commands,
        "explain",
        help="draw what an answer rests on",
        description="Classify a picture and draw, for each method, what the answer rests on.",
        example="convlens explain digits.npz seven.png --method saliency,grad_cam --out why.png",
    )
    parser.add_argument("net", metavar="NET", help="a network: .onnx (extra [onnx]), or what net.save wrote")
    parser.add_argument(
        "image",
        metavar="IMAGE",
        help="a picture, converted to the network's channels, resized to its size and scaled to 0 ... 1 "
        "(extra [image]); or an .npy array in the network's own shape and scale",
    )
    parser.add_argument(
        "--method",
        metavar="METHODS",
        type=names,
        default=["saliency"],
        help=f"one, or several with commas between: {', '.join(_methods())} (default: saliency)",
    )
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="an argument of the methods that have it, such as n_steps=100, window=8 or layer=relu1; may be repeated "
        "(default: theirs; occlusion's window is a seventh of the picture)",
    )
    parser.add_argument("--target", metavar="CLASS", type=int, help="the class to explain (default: the top one)")
    parser.add_argument("--labels", metavar="FILE", help="names of the classes, one a line")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"how a picture becomes the input, instead of 0 ... 1: {', '.join(RECIPES)}",
    )
    parser.add_argument("--out", metavar="FILE", default="why.png", help="the picture to write (default: why.png)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain, print the answer, write the picture."""
    from .. import explain, plot

    net = load_network(options.net)
    images, picture, recipe = load_images(options.image, net, options.recipe)
    labels = Path(options.labels).read_text(encoding="utf-8").splitlines() if options.labels else []
    known = explain.methods()
    for name in options.method:
        if name not in _methods():
            raise ValueError(f"--method (={name!r}) must be one of {', '.join(_methods())}")
    rows = [known[name] for name in options.method]
    arguments = [_arguments(row.function, dict(options.option), net.input_shape, recipe) for row in rows]
    for name, _ in options.option:
        if not any(name in given for given in arguments):
            raise ValueError(f"--option {name} is no argument of {', '.join(options.method)}")
    whys = [row.function(net, images, options.target, **given) for row, given in zip(rows, arguments, strict=True)]
    first = whys[0]
    target = int(np.ravel(first.target)[0])
    name = f"{target} ({labels[target]})" if target < len(labels) else str(target)
    probability = "" if first.probability is None else f", probability {float(first.probability[0]):.3f}"
    print(f"class {name}, {first.output} {float(first.score[0]):.4g}{probability}")
    for note in recipe.notes if recipe is not None else ():
        print(f"picture: {note}")
    for row, why in zip(rows, whys, strict=True):
        for note in why.notes:
            print(f"{row.name}: {note}")
    columns = {row.title: why for row, why in zip(rows, whys, strict=True)}
    plot.compare(columns, [picture], captions=[f"class {name}"]).savefig(options.out)
    print(f"wrote {options.out}")
    return 0


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
    function: Callable[..., Any], given: Mapping[str, Any], shape: tuple[int, ...], recipe: Recipe | None
) -> dict[str, Any]:
    """What of `given` a method takes, and what the command line knows better than its defaults."""
    takes = inspect.signature(function).parameters
    known: dict[str, Any] = {"window": max(1, min(shape[1:]) // 7), "recipe": recipe}
    return {name: value for name, value in {**known, **given}.items() if name in takes}


def _methods() -> list[str]:
    from ..explain import methods

    return [name for name, row in methods().items() if row.values != "layer"]
