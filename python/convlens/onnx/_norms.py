"""Normalisations and dropout."""

from __future__ import annotations

import numpy as np

from .._errors import UnsupportedError
from ._registry import handles
from ._site import Site


@handles("BatchNormalization")
def _batch_normalization(site: Site) -> str:
    if site.opset < 9 and not site.attribute("spatial", 1):
        raise UnsupportedError("`spatial` (=0) normalises every element; supported: 1, every channel")
    if site.attribute("training_mode", 0):
        raise UnsupportedError("`training_mode` (=1): the file is exported for training; export it after model.eval()")
    attributes = {"epsilon": float(site.attribute("epsilon", 1e-5)), "momentum": float(site.attribute("momentum", 0.9))}
    return site.finish("BatchNormalization", [site.tensor(i) for i in range(5)], **attributes)


@handles("InstanceNormalization")
def _instance_normalization(site: Site) -> str:
    inputs = [site.tensor(i) for i in range(3)]
    return site.finish("InstanceNormalization", inputs, epsilon=float(site.attribute("epsilon", 1e-5)))


@handles("LayerNormalization")
def _layer_normalization(site: Site) -> str:
    x, rank = site.tensor(0), site.rank(0)
    axis = site.axis(int(site.attribute("axis", -1)), rank)
    site.keep_images_apart(x, [axis], "axis")
    shape = tuple(int(size) for size in site.shape(0)[axis:])
    inputs = [x]
    for index in range(1, len(site.inputs)):
        tensor = site.tensor(index)
        if tensor and site.shape(index) != shape and site.knows(index):
            value = np.broadcast_to(site.known(index, "scale"), shape)
            tensor = site.constant(value, f"{site.inputs[index]}.spread")
        inputs.append(tensor)
    epsilon = float(site.attribute("epsilon", 1e-5))
    if site.asks_for(1) or site.asks_for(2):
        along = site.numbers(list(range(axis, rank)), "axes")
        off = site.emit("Sub", [x, site.emit("ReduceMean", [x, along])])
        variance = site.emit("ReduceMean", [site.emit("Mul", [off, off]), along])
        deviation = site.emit("Sqrt", [site.emit("Add", [variance, site.scalar(epsilon, x)])])
        site.output(1, "ReduceMean", [x, along])
        site.output(2, "Reciprocal", [deviation])
    return site.finish("LayerNormalization", inputs, axis=axis, epsilon=epsilon)


@handles("GroupNormalization")
def _group_normalization(site: Site) -> str:
    """Before opset 21 scale and bias are one value a group."""
    groups, channels = int(site.attribute("num_groups", 0)), site.sizes(0)[0]
    if groups < 1 or channels % groups:
        raise ValueError(f"the {channels} channels must be divisible by `num_groups` (={groups})")
    inputs = [site.tensor(0)]
    for index in (1, 2):
        tensor = site.tensor(index)
        if site.opset < 21:
            value = np.repeat(site.known(index, "scale"), channels // groups)
            tensor = site.constant(value, f"{site.inputs[index]}.channels")
        inputs.append(tensor)
    epsilon = float(site.attribute("epsilon", 1e-5))
    return site.finish("GroupNormalization", inputs, num_groups=groups, epsilon=epsilon)


@handles("Dropout")
def _dropout(site: Site) -> str:
    if site.has(2) and bool(site.known(2, "training_mode")):
        raise UnsupportedError("`training_mode` is true: the file is exported for training")
    x = site.tensor(0)
    if site.asks_for(1):  # everything passes
        site.output(1, "Not", [site.emit("Greater", [x, x])])
    ratio = site.known(1, "ratio").item() if site.has(1) else site.attribute("ratio", 0.5)
    return site.finish("Dropout", [x, site.scalar(float(ratio), x)])


@handles("LpNormalization")
def _lp_normalization(site: Site) -> str:
    x, axis = site.tensor(0), site.axis(int(site.attribute("axis", -1)), site.rank(0))
    site.keep_images_apart(x, [axis], "axis")
    along = site.numbers([axis], "axes")
    if int(site.attribute("p", 2)) == 1:
        norm = site.emit("ReduceSum", [site.emit("Abs", [x]), along])
    else:
        norm = site.emit("ReduceL2", [x, along])
    some = site.emit("Greater", [norm, site.scalar(0.0, x)])  # what is all zeros stays so
    return site.finish("Div", [x, site.emit("Where", [some, norm, site.scalar(1.0, x)])])
