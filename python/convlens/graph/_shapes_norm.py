"""Shape rules of normalisations and dropout."""

from __future__ import annotations

import math

from .._errors import UnsupportedError
from ._ir import TensorType
from ._registry import FLOATS, Call, axis_of, shape_rule, show


# `momentum`, the share of the running statistics that stays, matters in training alone.
@shape_rule("BatchNormalization", "x scale bias mean var", epsilon=1e-5, momentum=0.9, training_mode=0)
def _batch_normalization(call: Call) -> TensorType:
    if call.attribute("training_mode"):
        raise UnsupportedError(
            "`training_mode` must be 0; in training, build it by transform.expand_batch_norm_training"
        )
    x = call.kind("x", FLOATS)
    if len(x.shape) < 2:
        raise ValueError("`x` must have a channel axis: (N, C, ...)")
    for name in ("scale", "bias", "mean", "var"):
        kind = call.kind(name, (x.dtype,))
        if kind.shape != (x.shape[1],):
            raise ValueError(f"`{name}` must have shape ({x.shape[1]},), one value a channel of the input")
    return x


# `scale` and `bias` are optional in each: a normalisation alone. ONNX asks for the scale; an export writes ones.
@shape_rule("LayerNormalization", "x scale? bias?", axis=-1, epsilon=1e-5, stash_type=1)
def _layer_normalization(call: Call) -> TensorType:
    x = call.kind("x")
    axis = axis_of(int(call.attribute("axis")), len(x.shape))
    if x.batched and axis == 0:
        raise ValueError(f"`axis` (={call.attribute('axis')}) is the batch; images do not share statistics")
    for name in ("scale", "bias"):
        if call.has(name) and call.kind(name, (x.dtype,)).shape != x.shape[axis:]:
            raise ValueError(f"`{name}` must have the shape of the normalised axes, {show(x.shape[axis:])}")
    return x


@shape_rule("InstanceNormalization", "x scale? bias?", epsilon=1e-5)
def _instance_normalization(call: Call) -> TensorType:
    x = call.kind("x")
    if len(x.shape) < 3:
        raise ValueError("`x` must have axes beyond the channels: (N, C, H, W)")
    return _per_channel(call, x)


@shape_rule("GroupNormalization", "x scale? bias?", num_groups=None, epsilon=1e-5, stash_type=1)
def _group_normalization(call: Call) -> TensorType:
    x, groups = call.kind("x"), call.attribute("num_groups")
    if len(x.shape) < 2:
        raise ValueError("`x` must have a channel axis: (N, C, ...)")
    if groups is None:
        raise ValueError("`num_groups` is missing")
    channels = int(x.shape[1])
    if groups < 1 or channels % groups:
        raise ValueError(f"`channels` (={channels}) must be divisible by `num_groups` (={groups})")
    return _per_channel(call, x)


def _per_channel(call: Call, x: TensorType) -> TensorType:
    for name in ("scale", "bias"):
        if call.has(name) and call.kind(name, (x.dtype,)).shape != (x.shape[1],):
            raise ValueError(f"`{name}` must have shape ({x.shape[1]},), one value a channel of the input")
    return x


# As inference has it: the input as it is. Training replaces the node by DropoutMask and arithmetic.
@shape_rule("Dropout", "x ratio? training_mode?", seed=None)
def _dropout(call: Call) -> TensorType:
    x = call.kind("x")
    if call.has("training_mode") and bool(call.constant("training_mode")):
        raise UnsupportedError("`training_mode` must be false; dropout is active in train.fit alone")
    if call.has("ratio") and not 0 <= float(call.constant("ratio")) <= 1:
        raise ValueError(f"`ratio` (={float(call.constant('ratio')):g}) must lie between 0 and 1")
    return x


# Ours: where dropout lets x pass. `key` holds (seed, step); `ratio` is the share that is dropped, `node` tells the
# masks of one step apart.
@shape_rule("DropoutMask", "x key", ratio=0.5, node=0)
def _dropout_mask(call: Call) -> TensorType:
    x = call.kind("x", FLOATS)
    if call.kind("key", ("int64",)).shape != (2,):
        raise ValueError("`key` must have shape (2,): seed and step")
    if not 0 <= call.attribute("ratio") <= 1:
        raise ValueError(f"`ratio` (={call.attribute('ratio'):g}) must lie between 0 and 1")
    if not 0 <= call.attribute("node") < 1 << 32:
        raise ValueError(f"`node` (={call.attribute('node')}) must lie between 0 and 2**32 - 1")
    if math.prod(x.per_image) >= 1 << 32:
        raise UnsupportedError("an image of 2**32 numbers or more has no mask")
    return TensorType("bool", x.shape)
