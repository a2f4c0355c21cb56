"""Every operator's shape rule: one hand-written case each, their errors, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlens import UnsupportedError
from convlens.graph import OPERATORS, GraphBuilder, Node, TensorType, broadcast, infer

F, I64, B, U8 = "float32", "int64", "bool", "uint8"
N = "N"
POOL = {"kernel_shape": (2, 2), "strides": (2, 2)}


def ints(*values):
    return np.array(values, np.int64)


def scalar(value=0.0):
    return np.array(value, np.float32)


# operator, operands (a type, or a constant's value), attributes, the types of the outputs
CASES = [
    ("Conv", [(F, N, 4, 9, 7), (F, 6, 2, 3, 3), (F, 6)], {"group": 2, "pads": (1, 0, 2, 1)}, [(F, N, 6, 10, 6)]),
    ("Conv", [(F, N, 4, 9, 7), (F, 6, 4, 3, 1)], {"strides": (2, 3), "dilations": (2, 1)}, [(F, N, 6, 3, 3)]),
    ("Conv", [(F, 5, 4, 9, 7), (F, 6, 4, 9, 7)], {"kernel_shape": (9, 7)}, [(F, 5, 6, 1, 1)]),
    (
        "ConvGradInput",
        [(F, N, 6, 4, 7), (F, 6, 4, 3, 1)],
        {"input_shape": (4, 9, 7), "strides": (2, 1)},
        [(F, N, 4, 9, 7)],
    ),
    (
        "ConvGradWeight",
        [(F, N, 6, 4, 7), (F, N, 4, 9, 7)],
        {"weight_shape": (6, 4, 3, 1), "strides": (2, 1)},
        [(F, 6, 4, 3, 1)],
    ),
    (
        "ConvTranspose",
        [(F, N, 4, 5, 7), (F, 4, 3, 3, 2), (F, 6)],
        {"group": 2, "strides": (2, 3), "pads": (1, 0, 2, 1), "output_padding": (1, 2), "dilations": (2, 1)},
        [(F, N, 6, 11, 21)],
    ),
    ("ConvTranspose", [(F, N, 4, 5), (F, 4, 3, 4)], {"strides": (2,)}, [(F, N, 3, 12)]),
    ("Conv", [(F, N, 4, 9), (F, 6, 2, 3)], {"group": 2, "pads": (1, 2), "strides": (2,)}, [(F, N, 6, 5)]),
    ("ConvGradInput", [(F, N, 6, 4), (F, 6, 4, 3)], {"input_shape": (4, 9), "strides": (2,)}, [(F, N, 4, 9)]),
    ("ConvGradWeight", [(F, N, 6, 4), (F, N, 4, 9)], {"weight_shape": (6, 4, 3), "strides": (2,)}, [(F, 6, 4, 3)]),
    ("MaxPool", [(F, N, 3, 7)], {"kernel_shape": (2,), "strides": (2,), "ceil_mode": 1}, [(F, N, 3, 4)]),
    ("MaxPool", [(F, N, 3, 7, 6)], POOL, [(F, N, 3, 3, 3)]),
    ("MaxPool", [(F, N, 3, 7, 6)], {**POOL, "ceil_mode": 1}, [(F, N, 3, 4, 3)]),
    # Rounded up there are 3 windows; the third would start at row 6 - 1 = 5, past the input's 4: it is dropped.
    (
        "MaxPool",
        [(F, N, 1, 4, 4)],
        {"kernel_shape": (2, 2), "strides": (3, 3), "pads": (1, 1, 1, 1), "ceil_mode": 1},
        [(F, N, 1, 2, 2)],
    ),
    ("AveragePool", [(F, N, 3, 7, 6)], {**POOL, "pads": (1, 1, 0, 0), "count_include_pad": 1}, [(F, N, 3, 4, 3)]),
    ("MaxPoolOffset", [(F, N, 3, 7, 6)], POOL, [(U8, N, 3, 3, 3)]),
    ("MaxPoolGrad", [(F, N, 3, 3, 3), (U8, N, 3, 3, 3)], {**POOL, "input_shape": (3, 7, 6)}, [(F, N, 3, 7, 6)]),
    ("AveragePoolGrad", [(F, N, 3, 3, 3)], {**POOL, "input_shape": (3, 7, 6)}, [(F, N, 3, 7, 6)]),
    ("GlobalAveragePool", [(F, N, 3, 7, 6)], {}, [(F, N, 3, 1, 1)]),
    ("GlobalMaxPool", [(F, N, 3, 7, 6)], {}, [(F, N, 3, 1, 1)]),
    ("GlobalAveragePool", [(F, N, 3, 7)], {}, [(F, N, 3, 1)]),
    ("Gemm", [(F, N, 5), (F, 3, 5), (F, 3)], {"transB": 1}, [(F, N, 3)]),
    ("Gemm", [(F, N, 5), (F, N, 3)], {"transA": 1}, [(F, 5, 3)]),
    ("BatchNormalization", [(F, N, 3, 7, 6), *[(F, 3)] * 4], {"epsilon": 1e-3, "momentum": 0.5}, [(F, N, 3, 7, 6)]),
    *[
        (op, [(F, N, 3)], {}, [(F, N, 3)])
        for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Sign", "Round", "StopGradient")
    ],
    *[
        (op, [(F, N, 3)], {}, [(F, N, 3)])
        for op in ("Erf", "Softplus", "Mish", "HardSwish", "Reciprocal", "Expm1", "Log1p", "LeakyRelu", "Elu", "Selu")
    ],
    ("HardSigmoid", [(F, N, 3)], {"alpha": 0.5}, [(F, N, 3)]),
    ("Gelu", [(F, N, 3)], {"approximate": "tanh"}, [(F, N, 3)]),
    ("PRelu", [(F, N, 3, 4, 5), (F, 3, 1, 1)], {}, [(F, N, 3, 4, 5)]),
    ("Pow", [(F, N, 3, 4), scalar(2)], {}, [(F, N, 3, 4)]),
    ("LayerNormalization", [(F, N, 3, 4), (F, 3, 4), (F, 3, 4)], {"axis": 1}, [(F, N, 3, 4)]),
    ("LayerNormalization", [(F, N, 3, 4)], {"axis": -1}, [(F, N, 3, 4)]),
    ("InstanceNormalization", [(F, N, 3, 4, 5), (F, 3)], {}, [(F, N, 3, 4, 5)]),
    ("GroupNormalization", [(F, N, 6, 4), (F, 6), (F, 6)], {"num_groups": 3}, [(F, N, 6, 4)]),
    ("Dropout", [(F, N, 3), scalar(0.5)], {}, [(F, N, 3)]),
    ("DropoutMask", [(F, N, 3, 4), (I64, 2)], {"ratio": 0.25}, [(B, N, 3, 4)]),
    ("Identity", [(B, N, 3)], {}, [(B, N, 3)]),
    ("Clip", [(F, N, 3), scalar(0), scalar(6)], {}, [(F, N, 3)]),
    ("Quantize", [(F, N, 3, 4, 5), (F, 3, 1, 1), scalar(0)], {"low": 0, "high": 255}, [(F, N, 3, 4, 5)]),
    ("Dequantize", [(F, N, 3, 4, 5), scalar(2), scalar(0)], {}, [(F, N, 3, 4, 5)]),
    ("Dequantize", [(U8, 8, 3, 2, 2), (F, 8, 1, 1, 1), (F, 8, 1, 1, 1)], {}, [(F, 8, 3, 2, 2)]),
    *[
        (op, [(F, N, 3, 4, 5), (F, 3, 1, 1)], {}, [(F, N, 3, 4, 5)])
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")
    ],
    ("Add", [(F, N, 1, 4), (F, 3, 1)], {}, [(F, N, 3, 4)]),
    *[
        (op, [(F, N, 3), scalar()], {}, [(B, N, 3)])
        for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
    ],
    *[(op, [(B, N, 3), (B, 3)], {}, [(B, N, 3)]) for op in ("And", "Or")],
    ("Not", [(B, N, 3)], {}, [(B, N, 3)]),
    ("Where", [(B, N, 3), scalar(), (F, N, 1)], {}, [(F, N, 3)]),
    ("Softmax", [(F, N, 3, 4)], {"axis": 1}, [(F, N, 3, 4)]),
    ("LogSoftmax", [(F, N, 3)], {}, [(F, N, 3)]),
    ("SoftmaxCrossEntropyLoss", [(F, N, 3), (I64, N)], {}, [(F,), (F, N, 3)]),
    ("SoftmaxCrossEntropyLoss", [(F, N, 3, 2), (I64, N, 2)], {"reduction": "none"}, [(F, N, 2), (F, N, 3, 2)]),
    ("SoftmaxCrossEntropyLossGrad", [(F, N, 3), (I64, N), (F,)], {}, [(F, N, 3)]),
    ("Flatten", [(F, N, 3, 4)], {}, [(F, N, 12)]),
    ("Reshape", [(F, N, 3, 4), ints(0, -1, 2)], {}, [(F, N, 6, 2)]),
    ("Reshape", [(F, N, 3, 4), ints(-1, 12)], {}, [(F, N, 12)]),
    ("Reshape", [(F, 3, 4), ints(2, -1)], {}, [(F, 2, 6)]),
    ("Pad", [(F, N, 3, 4, 5), ints(0, 0, 1, -2, 0, 0, 3, 0)], {}, [(F, N, 3, 8, 3)]),
    ("ReduceSum", [(F, N, 3, 4), ints(-1)], {}, [(F, N, 3, 1)]),
    ("ReduceMean", [(F, N, 3, 4), ints(0, 2)], {"keepdims": 0}, [(F, 3)]),
    ("ReduceMean", [(F, N, 3, 4)], {"axes": (2,), "keepdims": 0}, [(F, N, 3)]),
    ("ReduceMax", [(F, N, 3, 4)], {"keepdims": 0}, [(F,)]),
    ("ReduceMin", [(F, N, 3, 4), ints(2)], {}, [(F, N, 3, 1)]),
    ("MatMul", [(F, N, 3, 4), (F, N, 4, 2)], {}, [(F, N, 3, 2)]),
    ("ArgMax", [(F, N, 3, 4)], {"axis": 1}, [(I64, N, 1, 4)]),
    ("ArgMin", [(F, N, 3, 4)], {"axis": -1, "keepdims": 0}, [(I64, N, 3)]),
    ("ReduceL2", [(F, N, 3, 4), ints(2, 1)], {"keepdims": 0}, [(F, N)]),
    ("Concat", [(F, N, 3, 4), (F, N, 1, 4), (F, N, 3, 4)], {"axis": 1}, [(F, N, 7, 4)]),
    ("Concat", [(I64, 3, 4), (I64, 3, 2)], {"axis": -1}, [(I64, 3, 6)]),
    ("Slice", [(F, N, 9, 7), ints(-3, 5), ints(99, -8), ints(1, 2), ints(1, -2)], {}, [(F, N, 3, 3)]),
    ("Slice", [(B, N, 9), ints(0, 1), ints(2**63 - 1, 9)], {}, [(B, N, 8)]),
    (
        "SliceGrad",
        [(F, N, 3, 3)],
        {"axes": (2,), "starts": (5,), "steps": (-2,), "input_shape": (3, 7)},
        [(F, N, 3, 7)],
    ),
    ("Split", [(F, N, 7, 2), ints(3, 4)], {"axis": 1}, [(F, N, 3, 2), (F, N, 4, 2)]),
    ("Split", [(F, N, 7)], {"axis": -1, "num_outputs": 3}, [(F, N, 3), (F, N, 3), (F, N, 1)]),
    ("Gather", [(F, 7, 5, 2), (I64, N, 3)], {}, [(F, N, 3, 5, 2)]),
    ("Gather", [(F, 7, 5), (I64, 4)], {"axis": 1}, [(F, 7, 4)]),
    ("Transpose", [(F, N, 3, 4, 5)], {"perm": (0, 2, 3, 1)}, [(F, N, 4, 5, 3)]),
    ("Transpose", [(F, 3, 4)], {}, [(F, 4, 3)]),
    ("Expand", [(F, N, 3, 1), ints(1, 3, 4)], {}, [(F, N, 3, 4)]),
    ("Expand", [(F, 3, 1), ints(2, 1, 4)], {}, [(F, 2, 3, 4)]),
    ("Squeeze", [(F, N, 1, 3, 1), ints(-1)], {}, [(F, N, 1, 3)]),
    ("Squeeze", [(F, N, 1, 3, 1)], {}, [(F, N, 3)]),
    ("Unsqueeze", [(F, N, 3), ints(1, -1)], {}, [(F, N, 1, 3, 1)]),
    ("Resize", [(F, N, 3, 4, 5), None, np.array([1, 1, 2, 1.5], np.float32)], {"mode": "linear"}, [(F, N, 3, 8, 7)]),
    ("Resize", [(F, N, 3, 4, 5), None, None, ints(9, 2)], {"axes": (2, 3)}, [(F, N, 3, 9, 2)]),
    ("Resize", [(F, N, 3, 5), None, np.array([1, 1, 2.5])], {"mode": "linear"}, [(F, N, 3, 12)]),
    ("ResizeGrad", [(F, N, 3, 9, 2)], {"input_shape": (3, 4, 5), "mode": "area"}, [(F, N, 3, 4, 5)]),
]


def inferred(op, operands, attributes):
    types, constants, names = {}, {}, []
    for i, operand in enumerate(operands):
        names.append(f"t{i}" if operand is not None else "")
        if isinstance(operand, np.ndarray):
            constants[names[-1]] = operand
            types[names[-1]] = TensorType(operand.dtype.name, operand.shape)
        elif operand is not None:
            types[names[-1]] = TensorType(operand[0], operand[1:])
    return infer(Node(op, tuple(names), ("y",), attributes, "node1"), types, constants)


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "outputs"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_an_operator_has_the_types_worked_out_by_hand(op, operands, attributes, outputs):
    assert inferred(op, operands, attributes) == tuple(TensorType(o[0], o[1:]) for o in outputs)


def test_every_operator_has_a_case():
    assert {case[0] for case in CASES} == set(OPERATORS)


X = (F, N, 4, 8, 8)
ERRORS = [
    ("Gather", [(F, 7, 5), (F, N, 3)], {}, r"`indices` must be int64 or int32, not float32"),
    ("Conv", [X, (F, 8, 3, 3, 3)], {}, r"node 'node1' \(Conv\): `weight` expects 3 input channels "
     r"a group, the input has 4 \[`x` 't0' is float32\(N, 4, 8, 8\); `weight` 't1' is float32\(8, 3, 3, 3\)\]"),
    ("Conv", [X, (F, 8, 2, 3, 3)], {"group": 4}, r"expects 2 .* a group, the input has 4 in 4 groups, 1 a group"),
    ("Conv", [X, (F, 8, 2, 3, 3)], {"group": 3}, r"`in_channels` \(=4\) must be divisible by `group` \(=3\)"),
    ("Conv", [X, (F, 7, 2, 3, 3)], {"group": 2}, r"`out_channels` \(=7\) must be divisible by `group` \(=2\)"),
    ("Conv", [X, (F, 8, 4, 9, 3)], {}, r"a window of height 9 is larger than the padded input \(0 \+ 8 \+ 0\)"),
    ("Conv", [X, (F, 8, 4, 3, 5)], {"dilations": (1, 2)}, r"width 5 \(dilated by 2: 9\) is larger"),
    ("Conv", [X, (F, 8, 4, 3, 3)], {"kernel_shape": (3, 2)}, r"`kernel_shape` \(=\(3, 2\)\) must be the axes"),
    ("Conv", [X, (F, 8, 4, 3, 3)], {"strides": (0, 1)}, r"`strides` \(=\(0, 1\)\) must be at least 1"),
    ("Conv", [X, (F, 8, 4, 3, 3)], {"pads": (1, 1)}, r"`pads` \(=\(1, 1\)\) must have 4 numbers"),
    ("Conv", [X, (F, 8, 4, 3, 3), (F, 4)], {}, r"`bias` must have shape \(8,\)"),
    ("Conv", [X, ("float64", 8, 4, 3, 3)], {}, r"`weight` must be float32, not float64"),
    ("Conv", [(F, N, 4), (F, 8, 4, 3)], {}, r"`x` must have 4 axes \(N, C, H, W\) or 3 \(N, C, L\), not 2"),
    ("Conv", [(F, N, 4, 8), (F, 8, 4, 3, 3)], {}, r"`weight` must have 3 axes, not 4"),
    ("Conv", [(F, N, 4, 8), (F, 8, 4, 9)], {}, r"a window of length 9 is larger than the padded input \(0 \+ 8 \+ 0\)"),
    ("Conv", [(F, N, 4, 8), (F, 8, 4, 3)], {"pads": (1, 1, 1, 1)}, r"must have 2 numbers, as signals have one axis"),
    ("MaxPool", [(F, N, 4, 8)], POOL, r"`kernel_shape` \(=\(2, 2\)\) must have a number for each axis of \(N, 4, 8\)"),
    ("ConvTranspose", [X, (F, 8, 3, 3, 3)], {}, r"`weight` \(8, 3, 3, 3\) is for 8 channels, the input has 4"),
    ("ConvTranspose", [X, (F, 4, 3, 3, 3)], {"group": 3}, r"`in_channels` \(=4\) must be divisible by `group` \(=3\)"),
    ("ConvTranspose", [X, (F, 4, 3, 3, 3), (F, 4)], {}, r"`bias` must have shape \(3,\)"),
    ("ConvTranspose", [X, (F, 4, 3, 3, 3)], {"output_padding": (1, 0)},
     r"`output_padding` \(=1 of height\) must be .* less than `strides` \(=1\) plus the padding at the end \(=0\)"),
    ("ConvTranspose", [(F, N, 4, 1, 1), (F, 4, 3, 3, 3)], {"pads": (1, 1, 2, 1)}, r"`pads` \(1, 2\) leave nothing of"),
    ("Conv", [X], {}, r"`weight` \(input 1\) is missing"),
    ("Conv", [X, (F, 8, 4, 3, 3)], {"stride": (1, 1)}, r"`stride` is not one of its attributes \(dilations, group,"),
    ("MaxPool", [X], {}, r"`kernel_shape` is missing"),
    ("PRelu", [X, (F, 4)], {}, r"do not broadcast: axis 3 has 8 and 4"),
    ("Gelu", [X], {"approximate": "fast"}, r"`approximate` \(='fast'\) must be 'none' or 'tanh'"),
    ("LayerNormalization", [X, (F, 8)], {"axis": 2}, r"`scale` must have the shape of the normalised axes, \(8, 8\)"),
    ("LayerNormalization", [X], {"axis": 0}, r"`axis` \(=0\) is the batch"),
    ("InstanceNormalization", [X, (F, 8)], {}, r"`scale` must have shape \(4,\)"),
    ("GroupNormalization", [X], {"num_groups": 3}, r"`channels` \(=4\) must be divisible by `num_groups` \(=3\)"),
    ("GroupNormalization", [X], {}, r"`num_groups` is missing"),
    ("Dropout", [X, scalar(2)], {}, r"`ratio` \(=2\) must lie between 0 and 1"),
    ("DropoutMask", [X, (I64, 3)], {}, r"`key` must have shape \(2,\)"),
    ("MaxPool", [X], {"kernel_shape": (2, 2), "pads": (2, 0, 0, 0)}, r"window 0 along height lies in the padding"),
    ("MaxPoolGrad", [(F, N, 3, 3, 4), (U8, N, 3, 3, 4)], {**POOL, "input_shape": (3, 7, 6)},
     r"`dy` must have shape \(N, 3, 3, 3\)"),
    ("Gemm", [(F, N, 5), (F, 4, 3)], {}, r"`a` has 5 columns and `b` 4 rows"),
    ("Gemm", [(F, 3, 5), (F, N, 5)], {"transB": 1}, r"the batch N would become the second axis"),
    ("Gemm", [(F, N, 5), (F, 5, 3), (F, 4)], {}, r"shapes \(N, 3\) and \(4\) do not broadcast"),
    ("Add", [(F, N, 3), (F, 2)], {}, r"shapes \(N, 3\) and \(2\) do not broadcast: axis 1 has 3 and 2"),
    ("Add", [(F, N, 3), (F, 7, 3)], {}, r"axis 0 has N and 7"),
    ("Add", [(F, 4, 1), (F, N,)], {}, r"put the batch N at axis 1; it must stay the first axis"),
    ("Add", [(F, N), (I64, N)], {}, r"one dtype, not float32 and int64"),
    ("Relu", [(I64, N)], {}, r"`x` must be float32 or float64, not int64"),
    ("Softmax", [(F, N, 3)], {"axis": 2}, r"`axis` \(=2\) must lie in \[-2, 1\]"),
    ("Softmax", [(F, N, 3)], {"axis": 0}, r"`axis` \(=0\) is the batch"),
    ("BatchNormalization", [X, (F, 4), (F, 4), (F, 3), (F, 4)], {}, r"`mean` must have shape \(4,\)"),
    ("SoftmaxCrossEntropyLoss", [(F, N, 3), (I64, N, 3)], {}, r"`labels` must have shape \(N\)"),
    ("SoftmaxCrossEntropyLoss", [(F, N, 3), (I64, N)], {"reduction": "max"}, r"`reduction` \(='max'\) must be"),
    ("Reshape", [(F, N, 3, 4), ints(1, 12)], {}, r"must keep the batch N as the first axis"),
    ("Reshape", [(F, N, 3, 4), ints(0, 5, -1)], {}, r"must keep the number of elements, 12 an image"),
    ("Reshape", [(F, 3, 4), ints(-1, -1)], {}, r"may hold one -1"),
    ("Pad", [X, ints(1, 0, 0, 0, 0, 0, 0, 0)], {}, r"`pads` must be 0 for the batch axis"),
    ("Pad", [X, ints(1, 0, 0)], {}, r"must have 8 numbers"),
    ("ReduceSum", [X, ints(4)], {}, r"`axes` \(=4\) must lie in \[-4, 3\]"),
    ("Concat", [X, (F, N, 4, 8, 7)], {"axis": 1}, r"equal sizes but along `axis` \(=1\), not "
     r"\(N, 4, 8, 8\) and \(N, 4, 8, 7\)"
     r" \[`x\[0\]` 't0' is float32\(N, 4, 8, 8\); `x\[1\]` 't1'"),
    ("Concat", [X, (F, N, 4, 8)], {"axis": 1}, r"must have equal sizes"),
    ("Concat", [X, ("float64", N, 4, 8, 8)], {"axis": 1}, r"one dtype, not float32 and float64"),
    ("Concat", [X], {}, r"`axis` is missing"),
    ("Slice", [X, ints(8), ints(9), ints(2)], {}, r"\[8:9:1\] leaves nothing of axis 2, which has 8"),
    ("Slice", [X, ints(0), ints(9), ints(2), ints(0)], {}, r"`steps` \(=\[0\]\) must not be 0"),
    ("Slice", [X, ints(0, 0), ints(9), ints(2)], {}, r"must be of one length"),
    ("Slice", [X, ints(0, 0), ints(9, 9), ints(2, -2)], {}, r"names axis 2 twice"),
    ("SliceGrad", [(F, N, 3)], {"axes": (1,), "starts": (5,), "steps": (1,), "input_shape": (7,)},
     r"`dy` \(N, 3\) reaches beyond `input_shape` \(=\(N, 7\)\)"),
    ("SliceGrad", [(F, N, 3)], {}, r"`input_shape` \(=None\) must be the sliced tensor's 1 sizes"),
    ("Split", [X, ints(3, 2)], {"axis": 1}, r"`split` \(=\[3, 2\]\) must be sizes of at least 1 that add up to the 4"),
    ("Transpose", [X], {"perm": (0, 1, 1, 2)}, r"`perm` \(=\(0, 1, 1, 2\)\) must hold each of the 4 axes once"),
    ("Expand", [X, ints(3, 1, 1)], {}, r"do not broadcast: axis 1 has 4 and 3"),
    ("Squeeze", [X, ints(1)], {}, r"must have size 1; axis 1 has 4"),
    ("Unsqueeze", [X, ints(1, 1)], {}, r"names an axis twice"),
    ("Resize", [X], {}, r"exactly one of `scales` and `sizes`"),
    ("Resize", [X, None, None, ints(9, 9)], {"axes": (2, 3), "mode": "windows", "window_shape": (2, 3)},
     r"`window_shape` \(=\(2, 3\)\) must divide the sizes"),
    ("ResizeGrad", [X], {"input_shape": (3, 4, 4)}, r"`input_shape` \(=\(3, 4, 4\)\) must be"),
    ("Where", [(F, N), (F, N), (F, N)], {}, r"`condition` must be bool, not float32"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "operands", "attributes", "text"), ERRORS)
def test_a_broken_rule_is_named_with_node_and_shapes(op, operands, attributes, text):
    with pytest.raises(ValueError, match=text) as caught:
        inferred(op, operands, attributes)
    assert str(caught.value).startswith(f"node 'node1' ({op}): ")


UNSUPPORTED = [
    ("MaxPoolOffset", [(F, N, 4, 20, 20)], {"kernel_shape": (17, 17)}, r"must have at most 256 elements"),
    ("LSTM", [X], {}, r"no such operator; the operator set is Abs, Add"),
    ("Gather", [X, (I64, N, 3)], {}, r"`data` is float32\(N, 4, 8, 8\); a table must be the same for all images"),
    ("Gather", [(F, 7, 5), (I64, N, 3)], {"axis": 1}, r"`axis` \(=1\) must be 0 where the indices are given for each"),
    ("Dropout", [X, scalar(0.5), np.array(True)], {}, r"`training_mode` must be false; dropout is active in train.fit"),
    ("Reshape", [(F, N, 3), (I64, 2)], {}, r"`shape` \('t1'\) must be a constant: shapes that depend on data"),
    ("Pad", [X, ints(*[0] * 8)], {"mode": "reflect"}, r"`mode` \(='reflect'\) must be 'constant'"),
    ("Resize", [X, None, np.ones(4, np.float32)], {"mode": "lanczos"}, r"`mode` \(='lanczos'\) must be 'linear' or"),
    ("Resize", [X, None, np.ones(4, np.float32)], {"antialias": 1}, r"`antialias` \(=1\) is for the modes linear"),
    ("Resize", [X, None, np.array([1, 2, 1, 1.0])], {}, r"resize the channels; only height and width can be"),
    ("BatchNormalization", [X, *[(F, 4)] * 4], {"training_mode": 1}, r"`training_mode` must be 0; in training, build"),
    ("Flatten", [X], {"axis": 2}, r"`axis` \(=2\) must be 1"),
    ("Concat", [X, X], {"axis": 0}, r"`axis` \(=0\) is the batch; images are joined by the caller"),
    ("Slice", [X, ints(0), ints(1)], {}, r"cut the batch; slice the images"),
    ("Split", [X], {"axis": 0}, r"`axis` \(=0\) is the batch"),
    ("Transpose", [X], {}, r"`perm` \(=\(3, 2, 1, 0\)\) must begin with 0"),
    ("Unsqueeze", [X, ints(0)], {}, r"must not hold 0: the batch N stays the first axis"),
    ("SoftmaxCrossEntropyLoss", [(F, N, 3), (I64, N), (F, 3)], {}, r"`weights` of classes are unsupported"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "operands", "attributes", "text"), UNSUPPORTED)
def test_what_is_unsupported_says_what_is(op, operands, attributes, text):
    with pytest.raises(UnsupportedError, match=text):
        inferred(op, operands, attributes)


shapes = st.lists(st.integers(1, 3), max_size=4).map(tuple)


@given(st.lists(shapes, min_size=1, max_size=3))
def test_broadcasting_is_numpys(parts):
    try:
        expected = np.broadcast_shapes(*parts)
    except ValueError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast(*parts)
    else:
        assert broadcast(*parts) == expected


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_reshape_with_minus_one_finds_what_numpy_finds(sizes, data):
    total = int(np.prod(sizes))
    divisor = data.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
    (kind,) = inferred("Reshape", [(F, N, *sizes), ints(0, divisor, -1)], {})
    assert kind.per_image == np.zeros(sizes).reshape(divisor, -1).shape
    assert kind.batched


def test_a_builder_refuses_more_outputs_than_the_operator_has():
    b = GraphBuilder()
    x = b.input("x", F, (N, 3))
    with pytest.raises(ValueError, match=r"node 'relu' \(Relu\) has 1 outputs at most, 2 are named"):
        b.add("Relu", [x], outputs=["y", "z"])
