"""Good files with bytes or fields changed: each loads, or is refused by an error of ours."""

from __future__ import annotations

import copy
import sys

import numpy as np
from onnx_models import model, node, random
from quantised_models import by_hand

import convlens as cl
import onnx


def files() -> list[onnx.ModelProto]:
    """Models that together hold most kinds of nodes."""
    weights = {
        "w": random(4, 2, 3, 3),
        "b": random(4),
        "head": random(4, 3),
        "s": np.array([0, 2, 2, -1]),
        "two": np.array([2]),
        "six": np.array([6]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "t": np.float32([1, 1, 2, 2]),
        "scale": random(4),
        "mean": random(4),
        "var": np.abs(random(4)) + 1,
    }
    stem = [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("BatchNormalization", "c scale b mean var", "n")]
    tail = [node("GlobalAveragePool", "p", "g"), node("Flatten", "g", "f"), node("Gemm", "f head", "y")]
    middle = [node("Relu", "n", "r"), node("MaxPool", "r", "p", kernel_shape=[2, 2], ceil_mode=1)]
    moves = [
        *(
            node("Pad", "x pads", "d", mode="reflect"),
            node("Resize", "d - t", "e"),
            node("Slice", "e two six two", "k"),
        ),
        *(node("Shape", "x", "h"), node("Reshape", "x s", "q"), node("Transpose", "q", "v", perm=[0, 3, 1, 2])),
        *(node("Reshape", "v h", "z"), node("Clip", "z", "u"), node("Concat", "u x", "y", axis=1)),
    ]
    whole = model([*stem, *middle, *tail], weights=weights)
    return [whole, model(moves, weights=weights, outputs=["y", "k"]), by_hand()[0]]


def mutate(made: onnx.ModelProto, rng: np.random.Generator) -> bytes:
    """Change a field or a few bytes."""
    changed = copy.deepcopy(made)
    graph = changed.graph
    kind = int(rng.integers(6))
    huge = int(rng.choice([0, -1, 1, 7, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63)]))
    if kind == 0 and graph.initializer:
        tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
        if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = huge
    elif kind == 1:
        tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
        data = bytearray(tensor.raw_data)
        for _ in range(3):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        tensor.raw_data = bytes(data)
    elif kind == 2:
        place = graph.node[int(rng.integers(len(graph.node)))]
        names = [name for other in graph.node for name in (*other.input, *other.output)] + [""]
        if place.input:
            place.input[int(rng.integers(len(place.input)))] = str(rng.choice(names))
    elif kind == 3:
        place = graph.node[int(rng.integers(len(graph.node)))]
        for attribute in place.attribute:
            if attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = huge
            attribute.i = huge if attribute.HasField("i") else attribute.i
    elif kind == 4:
        graph.node[int(rng.integers(len(graph.node)))].op_type = str(rng.choice(cl.onnx.supported()))
    data = bytearray(changed.SerializeToString())
    if kind == 5:
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
    return bytes(data)


def main(count: int, seed: int = 0) -> None:
    """Load `count` mutations; print how many of them the onnx package parses, and `count`."""
    rng = np.random.default_rng(seed)
    originals, parsed = files(), 0
    for made in originals:
        cl.load(made)
    for i in range(count):
        data = mutate(originals[i % len(originals)], rng)
        try:
            onnx.ModelProto.FromString(data)
            parsed += 1
        except Exception:
            pass
        try:
            cl.load(data)
        except (ValueError, cl.UnsupportedError):
            pass
        except BaseException:
            print(f"mutation {i} of seed {seed}", file=sys.stderr)
            raise
    print(parsed, count)
