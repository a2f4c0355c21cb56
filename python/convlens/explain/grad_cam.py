"""Grad-CAM: a layer's channels, weighted by the mean of their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from ..graph import Node, channels_first, spatial_axes
from ..nn import Network
from ..transform import GRADIENT
from ._again import explain
from ._canvas import Canvas
from ._explanation import Explanation
from ._registry import method


def _program(canvas: Canvas, *, relu: bool = True, upsample: str | None = "bilinear") -> tuple[str, ...]:
    layer = canvas.layer
    where = spatial_axes(canvas.layout)
    sizes = [canvas.shape(canvas.images)[axis - 1] for axis in where]
    if len(canvas.shape(layer)) not in (2, 3):
        kind = canvas.graph.types[layer]
        raise ValueError(f"`layer` (={layer!r}) is {kind}; Grad-CAM needs a layer with height and width, (N, K, h, w)")
    if upsample is not None and len(canvas.shape(layer)) != 1 + len(sizes):
        raise ValueError(
            f"`layer` (={layer!r}) is {canvas.graph.types[layer]} and the images {canvas.graph.types[canvas.images]}: "
            "a map of other axes cannot be upsampled to them; pass upsample=None"
        )
    rank = 1 + len(canvas.shape(layer))
    first, axes = (1, tuple(range(2, rank))) if not canvas.layer_last else (rank - 1, tuple(range(1, rank - 1)))
    gradient = canvas.gradient(layer, GRADIENT, seed="grad_cam_seed")
    weights = _mean(canvas, gradient, axes)
    weighted = canvas.add("Mul", [layer, weights])
    raw = canvas.add("ReduceSum", [weighted, canvas.integers([first])], keepdims=1, name="grad_cam_layer")
    if canvas.layer_last:  # one channel: only its axis moves
        raw = canvas.add("Transpose", [raw], perm=(0, rank - 1, *axes), name="grad_cam_layer")
        axes = tuple(range(2, rank))
    if relu:
        raw = canvas.add("Relu", [raw], name="grad_cam_layer_relu")
    if upsample is None and channels_first(canvas.layout):
        return (raw,)
    if upsample is None:
        return canvas.add("Transpose", [raw], perm=(0, *axes, 1), name="grad_cam_channels_last"), raw
    full = canvas.add(
        "Resize",
        [raw, "", "", canvas.integers(sizes)],
        name="grad_cam",
        axes=axes,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    if not channels_first(canvas.layout):
        full = canvas.add("Transpose", [full], perm=(0, *axes, 1), name="grad_cam_channels_last")
    return full, raw


def _mean(canvas: Canvas, gradient: str, axes: tuple[int, ...]) -> str:
    """The mean over height and width. A pool hands on all of what it gets: the sum is known before it is spread."""
    made, pixels = canvas.graph.producers(), math.prod(canvas.shape(gradient)[axis - 1] for axis in axes)
    source = gradient
    while (node := made.get(source)) is not None and _keeps_sums(node):
        source = node.inputs[0]
    if source == gradient:
        return canvas.add("ReduceMean", [gradient, canvas.integers(axes)], keepdims=1)
    if any(canvas.shape(source)[axis - 1] != 1 for axis in axes):
        source = canvas.add("ReduceSum", [source, canvas.integers(axes)], keepdims=1)
    return canvas.add("Mul", [source, canvas.number(1 / pixels, like=gradient)])


def _keeps_sums(node: Node) -> bool:
    """Whether an operator's result adds up, channel by channel, to what it spreads."""
    if node.op == "AveragePoolGrad":
        whole = not any(node.attributes.get("pads", ())) and not node.attributes.get("ceil_mode", 0)
        return whole or not node.attributes.get("count_include_pad", 0)
    return node.op == "MaxPoolGrad"


@method(
    title="Grad-CAM",
    values="map",
    signed=False,
    paper="Selvaraju et al., Grad-CAM, arXiv:1610.02391",
    program=_program,
    needs_layer=True,
)
def grad_cam(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    layer: str | None = None,
    relu: bool = True,
    upsample: str | None = "bilinear",
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Weight a layer's channels by the mean of their gradients and add them up.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`.
    layer : str, optional
        A layer by name, ending or glob; see ``net.layers()``. None is the last one with height and width that every
        path crosses, after its activation and before the final pooling; ``why.layer`` says which.
    relu : bool
        Keep what speaks for the target, as in the paper; False keeps the sign.
    upsample : {"bilinear", None}
        Resize the map to the images (half-pixel centres), or leave it at the layer's size.

    Returns
    -------
    Explanation
        With values of shape (N, 1, H, W), (N, 1, L) for signals, with the images' own axes (N, H, W, 1) where channels
        are last; or (N, 1, h, w) without upsampling. The map at the layer's size is ``layer_values``.
        ``relu=False, upsample=None`` is Captum's LayerGradCam.

    Notes
    -----
    ``L = ReLU(sum_k a_k A_k)`` with ``a_k = mean_ij dS/dA_kij``. The backward pass ends at the layer; all of it,
    resizing included, is one program, which a compiled file can hold.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    arXiv:1610.02391.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(
    ...     nn.Conv2d(out_channels=4, kernel_size=3), nn.ReLU(), nn.MaxPool2d(kernel_size=2), nn.Flatten(),
    ...     nn.Linear(out_features=3), input_shape=(1, 8, 8), seed=0)
    >>> why = explain.grad_cam(net, np.ones((2, 1, 8, 8), np.float32))
    >>> why.layer, why.values.shape, why.layer_values.shape
    ('relu1', (2, 1, 8, 8), (2, 1, 6, 6))
    """
    if upsample not in ("bilinear", None):
        raise ValueError(f'`upsample` (={upsample!r}) must be "bilinear" or None')
    return explain(
        net,
        "grad_cam",
        images,
        target,
        of=of,
        output=output,
        input=input,
        batch_size=batch_size,
        layer=layer,
        options={"relu": bool(relu), "upsample": upsample},
        why_empty="nothing at the layer speaks for the target; see relu=False" if relu else "",
    )
