"""What each instruction takes and makes: one letter an operand.

Activations: B blocked; P plain; Y plain, in any shape; Z plain, with a halo where windows look outside; A any; C all
in the step's layout; R blocked, or plain for few channels and single pixels; X blocked, or plain for a convolution of
few channels; N blocked, of one pixel also the caller's own memory; F as N, in the shape of the weight's geometry; S a
scalar, or one number an image; M a mask; O window offsets; L integers. Not batched: W packed by the step's geometry; V
one number a channel.
"""

from __future__ import annotations

INPUTS = {
    "reorder": "A",
    "conv2d": "XWVB",
    "conv2d_grad_input": "BWMBV",
    "conv2d_grad_weight": "BX",
    "conv2d_winograd": "BWVB",
    "conv2d_grad_input_winograd": "BWMBV",
    "conv2d_plain": "ZPP",
    "conv2d_grad_input_plain": "PP",
    "conv2d_grad_weight_plain": "PZ",
    "depthwise_plain": "PPP",
    "depthwise_grad_input_plain": "PP",
    "depthwise_grad_weight_plain": "PP",
    "linear": "FWV",
    "linear_grad_input": "NWMF",
    "linear_grad_weight": "BF",
    "max_pool2d": "B",
    "max_pool2d_grad": "BO",
    "avg_pool2d": "B",
    "avg_pool2d_grad": "B",
    "reduce": "A",
    "softmax": "N",
    "cross_entropy": "NL",
    "cross_entropy_grad": "NLS",
    "resize": "R",
    "strided_copy": "Y",
    "concat": "C" * 16,
    "dropout_mask": "L",
    "arg_max": "P",
    "matmul": "PP",
    "gather": "PL",
    "accumulate": "CC",
}
OUTPUTS = {
    "reorder": "B",
    "conv2d": "BM",
    "conv2d_grad_input": "B",
    "conv2d_grad_weight": "W",
    "conv2d_winograd": "BM",
    "conv2d_grad_input_winograd": "B",
    "conv2d_plain": "P",
    "conv2d_grad_input_plain": "P",
    "conv2d_grad_weight_plain": "P",
    "depthwise_plain": "P",
    "depthwise_grad_input_plain": "P",
    "depthwise_grad_weight_plain": "P",
    "linear": "NM",
    "linear_grad_input": "F",
    "linear_grad_weight": "W",
    "max_pool2d": "BO",
    "max_pool2d_grad": "B",
    "avg_pool2d": "B",
    "avg_pool2d_grad": "B",
    "reduce": "A",
    "softmax": "N",
    "cross_entropy": "SN",
    "cross_entropy_grad": "N",
    "resize": "R",
    "strided_copy": "P",
    "concat": "C",
    "dropout_mask": "M",
    "arg_max": "P",
    "matmul": "P",
    "gather": "P",
    "accumulate": "C",
}
# Those that work on plain tensors as well, when all of their operands are.
PLANES = frozenset({"max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad"})
# Instructions with twins, "_plain", for plain tensors and weights, and how many operands they take.
PLAIN_TWINS = {"conv2d": 3, "conv2d_grad_input": 2, "conv2d_grad_weight": 2}
MOST_PLAIN_TAPS = 1 << 10  # of a kernel, and phases of a stride, that instructions on plain tensors take
# Those that write the caller's memory, without halo and padding: images, and what has one pixel.
_WRITES = frozenset({"reorder", "resize", "elementwise", "strided_copy", "concat", "arg_max", "matmul", "gather"})
WRITES_IMAGES = _WRITES | {"conv2d", "conv2d_grad_input"}
WRITES_PIXELS = _WRITES | {"linear", "linear_grad_input", "softmax", "cross_entropy", "cross_entropy_grad"}
