"""Which 3 x 3 convolutions go by Winograd's algorithm, and by which of its tiles."""

from __future__ import annotations

import dataclasses

from .._arguments import WINOGRAD_TILES, winograd
from ._expression import Expression
from ._flow import Flow, Step

_TWINS = ("conv2d", "conv2d_grad_input")
_DEFINED = [3, 3, 1, 1, 1, 1, 1]  # kernel, strides, dilations, groups


def wanted_unit(option: bool | str, dtype: str) -> int | None:
    """The tile that `winograd` asks for everywhere, 0 for nowhere, None for where it pays."""
    option = winograd("winograd", option)
    if isinstance(option, str):
        return WINOGRAD_TILES[option]
    return None if option and dtype == "float32" else 0


def take_winograd(flow: Flow, step: Step, wanted: int | None, memory: str) -> bool:
    """Make a convolution the instruction of Winograd's algorithm where that was asked for, or pays.

    Its weights are transformed beforehand where `memory` is "fast" and :func:`keeps_transformed` says so.
    """
    if flow.tiled is not None:
        unit = 4 if any(out in flow.tiled for op in step.ops for out in op.outputs) else 0
    else:
        unit = _pays(flow, step) if wanted is None else wanted
    if unit == 0 or step.op not in _TWINS or not _is_defined(flow, step):
        return False
    g = step.geometry
    assert g is not None
    rows, columns = flow.base_of(step.outputs[0])[1:]
    kept = memory == "fast" and keeps_transformed(unit, g.C, g.K, -(-rows // unit) * -(-columns // unit))
    if step.op == "conv2d_grad_input":
        # A gradient has a copy packed as it reads it, and takes as long as the forward direction: exchanging channels
        # on the way takes 1.1 to 2 times that of one image. (Saliency of ResNet-18 and VGG-16: 0.93 of the time.) Of
        # F(2,3) a second transformed copy would be larger than what it saves.
        kept = kept and unit == 4
        if memory == "fast":
            g = dataclasses.replace(g, K=g.C, C=g.K, exchanged=True)
        step.attributes = [*step.attributes, int(g.exchanged)]
    step.geometry = dataclasses.replace(g, winograd=unit if kept else 0)
    step.op, step.attributes = f"{step.op}_winograd", [*step.attributes, unit]
    return True


def _is_defined(flow: Flow, step: Step) -> bool:
    """Whether kernel, stride and weights are such: weights that change are packed otherwise, whole numbers exact."""
    weight = flow.constants.get(step.inputs[1])
    shape = [int(a) for a in (*step.attributes[:4], *step.attributes[6:9])]
    return weight is not None and shape == _DEFINED and not _is_quantised(weight)


def _is_quantised(weight: Expression) -> bool:
    return weight.op == "Dequantize" or any(map(_is_quantised, weight.inputs))


def _pays(flow: Flow, step: Step) -> int:
    """The tile of the shape, 0 for none."""
    geometry = step.geometry
    if geometry is None:
        return 0
    return best_unit(geometry.C, geometry.K, *flow.base_of(step.outputs[0])[1:])


def best_unit(c: int, k: int, height: int, width: int) -> int:
    """The tile that is fastest for this many channels each way and rows and columns of output, 0 for none.

    Few channels make transforms of what a product costs. F(2,3) was ahead where a map of few tiles reads transformed
    weights from memory; transformed on the way, those of F(4,3) are. (Layers of 512 channels 7 x 7, Zen 4: ResNet-18
    forward 0.99 of the time of F(2,3), 8 images 0.92, two threads 0.98 and 0.91; their gradients 0.75, 4 images 0.6.)
    """
    return 0 if min(c, k) < 16 or min(height, width) < 6 else 4


def keeps_transformed(unit: int, c: int, k: int, tiles: int) -> bool:
    """Whether the weights are kept transformed, rather than as they are and transformed whenever they are read.

    Kept, there are 1.8 times (F(2,3)) or 4 times (F(4,3)) as many to read. Transforming them for every task costs
    little where sums over few channels end in one go, and where so many meet few tiles that reading takes long.
    """
    return not (unit == 4 and (min(c, k) <= 64 or tiles <= _most_tiles(c * k)))


def _most_tiles(products: int) -> int:
    """Of so many pairs of channels: up to so many tiles, weights are transformed whenever they are read."""
    return 16 if products >= 256 * 256 else 4 if products > 128 * 128 else 0


#: Milliseconds for an image by the direct kernel, F(2,3) and F(4,3), with bias and ReLU: AMD EPYC 9004, AVX-512, one
#: thread, medians of alternated calls, November 2026. On two threads the same are ahead.
MEASURED = {
    "n1 c16 h32 w32 k16 r3 s3 st1 p1 d1 g1 f32 fwd": (0.050, 0.049, 0.032),
    "n1 c32 h56 w56 k32 r3 s3 st1 p1 d1 g1 f32 fwd": (0.602, 0.471, 0.320),
    "n1 c32 h28 w28 k32 r3 s3 st1 p1 d1 g1 f32 fwd": (0.134, 0.094, 0.062),
    "n1 c32 h14 w14 k32 r3 s3 st1 p1 d1 g1 f32 fwd": (0.036, 0.026, 0.023),
    "n1 c32 h8 w8 k32 r3 s3 st1 p1 d1 g1 f32 fwd": (0.014, 0.011, 0.008),
    "n1 c64 h224 w224 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (39.62, 25.09, 18.24),
    "n1 c64 h112 w112 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (8.558, 5.394, 3.626),
    "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (2.378, 1.519, 0.943),
    "n1 c64 h28 w28 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (0.534, 0.336, 0.228),
    "n1 c64 h14 w14 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (0.133, 0.081, 0.066),
    "n1 c64 h7 w7 k64 r3 s3 st1 p1 d1 g1 f32 fwd": (0.041, 0.035, 0.027),
    "n1 c96 h35 w35 k96 r3 s3 st1 p1 d1 g1 f32 fwd": (2.130, 1.319, 0.941),
    "n1 c128 h112 w112 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (33.22, 18.15, 12.31),
    "n1 c128 h28 w28 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (2.289, 1.293, 0.903),
    "n1 c128 h14 w14 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (0.551, 0.386, 0.326),
    "n1 c128 h7 w7 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (0.153, 0.134, 0.114),
    "n1 c160 h17 w17 k160 r3 s3 st1 p1 d1 g1 f32 fwd": (1.256, 0.811, 0.666),
    "n1 c256 h56 w56 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (37.04, 19.39, 13.61),
    "n1 c256 h28 w28 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (8.898, 5.557, 3.936),
    "n1 c256 h14 w14 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (2.592, 1.854, 1.628),
    "n1 c256 h7 w7 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (0.560, 0.419, 0.407),
    "n1 c512 h28 w28 k512 r3 s3 st1 p1 d1 g1 f32 fwd": (36.32, 20.86, 14.09),
    "n1 c512 h14 w14 k512 r3 s3 st1 p1 d1 g1 f32 fwd": (9.102, 5.278, 4.476),
    "n1 c512 h7 w7 k512 r3 s3 st1 p1 d1 g1 f32 fwd": (2.257, 1.516, 1.600),
    "n1 c64 h224 w224 k64 r3 s3 st1 p1 d1 g1 f32 grad_input": (36.24, 24.03, 19.36),
    "n1 c64 h56 w56 k64 r3 s3 st1 p1 d1 g1 f32 grad_input": (2.255, 1.472, 1.094),
    "n1 c128 h28 w28 k128 r3 s3 st1 p1 d1 g1 f32 grad_input": (2.441, 1.741, 1.697),
    "n1 c256 h56 w56 k256 r3 s3 st1 p1 d1 g1 f32 grad_input": (33.66, 18.83, 14.91),
    "n1 c256 h14 w14 k256 r3 s3 st1 p1 d1 g1 f32 grad_input": (2.518, 2.181, 2.198),
    "n1 c512 h28 w28 k512 r3 s3 st1 p1 d1 g1 f32 grad_input": (35.15, 24.47, 24.69),
    "n1 c512 h14 w14 k512 r3 s3 st1 p1 d1 g1 f32 grad_input": (10.64, 10.30, 8.868),
    "n1 c512 h7 w7 k512 r3 s3 st1 p1 d1 g1 f32 grad_input": (2.957, 1.546, 1.489),
    "n8 c512 h7 w7 k512 r3 s3 st1 p1 d1 g1 f32 fwd": (2.189, 1.437, 0.996),
    "n8 c256 h14 w14 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (2.106, 1.149, 1.017),
    "n8 c256 h7 w7 k256 r3 s3 st1 p1 d1 g1 f32 fwd": (0.558, 0.387, 0.281),
    "n8 c160 h7 w7 k160 r3 s3 st1 p1 d1 g1 f32 fwd": (0.210, 0.155, 0.106),
    "n8 c128 h14 w14 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (0.535, 0.321, 0.268),
    "n8 c128 h7 w7 k128 r3 s3 st1 p1 d1 g1 f32 fwd": (0.133, 0.096, 0.065),
}
