"""One right call of every function of :mod:`convlens.ops`: what tests that go through all of them start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from convlens import ops

NOT_KERNELS = {"get_num_threads", "set_num_threads"}
NAMES = sorted(name for name in dir(ops) if not name.startswith("_") and callable(getattr(ops, name)))
FUNCTIONS = [name for name in NAMES if name not in NOT_KERNELS]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers between 0.5 and 1.5, where every function is smooth enough and defined."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


X, V, W = numbers(2, 4, 5, 6), numbers(4), numbers(6, 2, 3, 2)
X1, W1 = numbers(2, 4, 7), numbers(6, 2, 3)
UNARY = {"x": X}
UNARY_GRAD = {"grad_output": X, "x": X}
BINARY = {"a": X, "b": numbers(4, 1, 1)}
BINARY_GRAD = {"grad_output": X, **BINARY}
CONV = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}
TRANSPOSED = {**CONV, "output_padding": 1}
POOL = {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": False}
STATISTICS = {"running_mean": V, "running_var": V, "weight": V}
GRID = {"scale": 0.25, "zero_point": 2, "quant_min": 0, "quant_max": 7}
CHANNEL_GRID = {"scale": [0.25, 0.5, 0.125, 1.0], "zero_point": [2, 0, 7, 1], "axis": 1, "quant_min": 0, "quant_max": 7}
REDUCED = {"axis": (1, 2), "keepdims": True}
Y, Y1 = (2, 6, 3, 4), (2, 6, 4)
T, T1 = (2, 4, 10, 11), (2, 4, 14)
TW, TW1 = numbers(4, 2, 3, 2), numbers(4, 2, 3)

#: What is wrong for most parameters that are no arrays.
WRONG_VALUES = [
    0, -1, -7, 2.5, 300, 2**31, 2**63, 10**30, None, "cat", "", b"x", (), (1,), (1,) * 7, (-1, -1), (0, 0),
    (1.5, 1.5), (2**62, 2**62), (None, 3), [[1]], ((1, 2), (3, 4)), float("nan"), float("inf"),
    1 + 2j, object(), {"a": 1},
    np.array([1, 2]), np.array(2), np.int64(2), np.float32(0.5),
]  # fmt: skip

CALLS: dict[str, dict[str, Any]] = {
    "adaptive_avg_pool1d": {"x": X1, "output_size": 3},
    "adaptive_avg_pool2d": {"x": X, "output_size": (3, 4)},
    "adaptive_avg_pool2d_grad": {"grad_output": numbers(2, 4, 3, 4), "input_shape": X.shape},
    "adaptive_max_pool1d": {"x": X1, "output_size": 3},
    "adaptive_max_pool2d": {"x": X, "output_size": (3, 4)},
    "adaptive_max_pool2d_grad": {"grad_output": numbers(2, 4, 3, 4), "x": X},
    "avg_pool1d": {"x": X1, **POOL, "count_include_pad": True},
    "avg_pool1d_grad": {"grad_output": numbers(2, 4, 4), "input_shape": X1.shape, **POOL},
    "avg_pool2d": {"x": X, **POOL, "count_include_pad": True},
    "avg_pool2d_grad": {"grad_output": numbers(2, 4, 3, 4), "input_shape": X.shape, **POOL},
    "batch_norm": {"x": X, **STATISTICS, "bias": V, "training": False, "momentum": 0.1, "eps": 1e-5},
    "batch_norm_grad": {"grad_output": X, "x": X, **STATISTICS, "training": True, "eps": 1e-5},
    "clip": {"x": X, "min": 0.7, "max": 1.2},
    "clip_grad": {**UNARY_GRAD, "min": 0.7, "max": 1.2},
    "concat": {"arrays": [X, X], "axis": 1},
    "concat_grad": {"grad_output": X, "sizes": (1, 3), "axis": 1},
    "conv1d": {"x": X1, "weight": W1, "bias": numbers(6), **CONV},
    "conv1d_grad_bias": {"grad_output": numbers(*Y1)},
    "conv1d_grad_input": {"grad_output": numbers(*Y1), "weight": W1, "input_shape": X1.shape, **CONV},
    "conv1d_grad_weight": {"grad_output": numbers(*Y1), "x": X1, "weight_shape": W1.shape, **CONV},
    "conv2d": {"x": X, "weight": W, "bias": numbers(6), **CONV},
    "conv2d_grad_bias": {"grad_output": numbers(*Y)},
    "conv2d_grad_input": {"grad_output": numbers(*Y), "weight": W, "input_shape": X.shape, **CONV},
    "conv2d_grad_weight": {"grad_output": numbers(*Y), "x": X, "weight_shape": W.shape, **CONV},
    "conv_transpose1d": {"x": X1, "weight": TW1, "bias": V, **TRANSPOSED},
    "conv_transpose1d_grad_input": {
        "grad_output": numbers(*T1), "weight": TW1, "input_shape": X1.shape, **TRANSPOSED
    },
    "conv_transpose1d_grad_weight": {
        "grad_output": numbers(*T1), "x": X1, "weight_shape": TW1.shape, **TRANSPOSED
    },
    "conv_transpose2d": {"x": X, "weight": TW, "bias": V, **TRANSPOSED},
    "conv_transpose2d_grad_input": {"grad_output": numbers(*T), "weight": TW, "input_shape": X.shape, **TRANSPOSED},
    "conv_transpose2d_grad_weight": {"grad_output": numbers(*T), "x": X, "weight_shape": TW.shape, **TRANSPOSED},
    "embedding": {"x": np.array([[3, 0], [-1, 1]]), "weight": numbers(4, 5)},
    "cross_entropy": {"logits": numbers(3, 4), "labels": np.array([0, 3, 1]), "reduction": "mean"},
    "cross_entropy_grad": {
        "logits": numbers(3, 4), "labels": np.array([0, 3, 1]), "grad_output": 1.5, "reduction": "mean"
    },
    "dropout": {"x": X, "p": 0.25, "seed": 3, "step": 1},
    "dropout_grad": {"grad_output": X, "p": 0.25, "seed": 3, "step": 1},
    "elu": {**UNARY, "alpha": 0.5},
    "elu_grad": {**UNARY_GRAD, "alpha": 0.5},
    "expand": {"x": numbers(4, 1), "shape": (2, 4, 3)},
    "expand_grad": {"grad_output": numbers(2, 4, 3), "input_shape": (4, 1)},
    "fake_quantize_per_channel_affine": {"x": X, **CHANNEL_GRID},
    "fake_quantize_per_channel_affine_grad": {**UNARY_GRAD, **CHANNEL_GRID},
    "fake_quantize_per_tensor_affine": {"x": X, **GRID},
    "fake_quantize_per_tensor_affine_grad": {**UNARY_GRAD, **GRID},
    "flatten": {"x": X, "start_dim": 1},
    "gelu": {**UNARY, "approximate": "tanh"},
    "gelu_grad": {**UNARY_GRAD, "approximate": "none"},
    "group_norm": {"x": X, "num_groups": 2, "weight": V, "bias": V, "eps": 1e-5},
    "group_norm_grad": {**UNARY_GRAD, "num_groups": 2, "weight": V, "eps": 1e-5},
    "hardtanh": {**UNARY, "min_val": 0.7, "max_val": 1.2},
    "hardtanh_grad": {**UNARY_GRAD, "min_val": 0.7, "max_val": 1.2},
    "instance_norm": {"x": X, "weight": V, "bias": V, "eps": 1e-5},
    "instance_norm_grad": {**UNARY_GRAD, "weight": V, "eps": 1e-5},
    "interpolate": {"x": X, "size": (7, 8), "mode": "bilinear", "align_corners": True},
    "interpolate_grad": {
        "grad_output": numbers(2, 4, 10, 12), "input_shape": X.shape, "scale_factor": 2.0, "mode": "nearest"
    },
    "layer_norm": {"x": X, "normalized_shape": (5, 6), "weight": X[0, 0], "bias": X[0, 0], "eps": 1e-5},
    "layer_norm_grad": {**UNARY_GRAD, "normalized_shape": (5, 6), "weight": X[0, 0], "eps": 1e-5},
    "leaky_relu": {**UNARY, "negative_slope": 0.1},
    "leaky_relu_grad": {**UNARY_GRAD, "negative_slope": 0.1},
    "linear": {"x": numbers(3, 4), "weight": numbers(5, 4), "bias": numbers(5)},
    "linear_grad_bias": {"grad_output": numbers(3, 5)},
    "linear_grad_input": {"grad_output": numbers(3, 5), "weight": numbers(5, 4)},
    "linear_grad_weight": {"grad_output": numbers(3, 5), "x": numbers(3, 4)},
    "log_softmax": {"x": X, "axis": 1},
    "log_softmax_grad": {"grad_output": X, "output": -X, "axis": 1},
    "max_pool1d": {"x": X1, **POOL, "dilation": 1, "return_indices": True},
    "max_pool1d_grad": {
        "grad_output": numbers(2, 4, 4),
        "indices": np.tile([0, 1, 3, 5], (2, 4, 1)),
        "input_shape": X1.shape,
        **POOL,
        "dilation": 1,
    },
    "max_pool2d": {"x": X, **POOL, "dilation": 1, "return_indices": True},
    "max_pool2d_grad": {
        "grad_output": numbers(2, 4, 3, 4),
        "indices": np.tile(np.add.outer([0, 6, 18], [0, 1, 3, 5]), (2, 4, 1, 1)),
        "input_shape": X.shape,
        **POOL,
        "dilation": 1,
    },
    "narrow": {"x": X, "axis": 1, "start": 1, "length": 2},
    "narrow_grad": {"grad_output": numbers(2, 2, 5, 6), "input_shape": X.shape, "axis": 1, "start": 1},
    "pad": {"x": X, "padding": (1, 2), "value": 0.5},
    "permute": {"x": X, "dims": (0, 2, 3, 1)},
    "prelu": {"x": X, "weight": V},
    "prelu_grad": {**UNARY_GRAD, "weight": V},
    "relu_grad": {"grad_output": X, "output": X},
    "reshape": {"x": X, "shape": (2, -1)},
    "sigmoid_grad": {"grad_output": X, "output": X},
    "softmax": {"x": X, "axis": 1},
    "softmax_grad": {"grad_output": X, "output": X, "axis": 1},
    "split": {"x": X, "sizes": (1, 3), "axis": 1},
    "tanh_grad": {"grad_output": X, "output": X},
    "transpose": {"x": X, "dim0": 1, "dim1": 3},
    "where": {"condition": X > 1, **BINARY},
    "where_grad": {"grad_output": X, "condition": X > 1, **BINARY},
    **{name: {**UNARY, **REDUCED} for name in ("sum", "mean", "amax", "amin")},
    **{
        f"{name}_grad": {"grad_output": numbers(2, 1, 1, 6), "input_shape": X.shape, **REDUCED}
        for name in ("sum", "mean")
    },
    **{f"{name}_grad": {"grad_output": numbers(2, 1, 1, 6), "x": X, **REDUCED} for name in ("amax", "amin")},
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "pow"), BINARY),
    **{f"{name}_grad": BINARY_GRAD for name in ("add", "sub", "mul", "div", "maximum", "minimum", "pow")},
    **dict.fromkeys(("equal", "greater", "greater_equal", "less", "less_equal"), BINARY),
    **dict.fromkeys(
        ("abs", "erf", "exp", "expm1", "hardsigmoid", "hardswish", "log", "log1p", "mish", "neg", "reciprocal",
        "relu", "relu6", "round", "selu", "sigmoid", "sign", "silu", "softplus", "sqrt", "tanh"), UNARY),
    **{
        f"{name}_grad": UNARY_GRAD
        for name in (
            "abs", "erf", "exp", "expm1", "hardsigmoid", "hardswish", "log", "log1p", "mish", "reciprocal", "relu6",
            "selu", "silu", "softplus", "sqrt",
        )
    },
}  # fmt: skip
