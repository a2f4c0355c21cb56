"""Activations: what a layer computes."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..nn import Network
from ._canvas import Canvas
from ._explanation import Explanation
from ._registry import method
from ._task import Task


def _program(canvas: Canvas) -> tuple[str, ...]:
    return (canvas.layer,)


@method(
    values="layer",
    paper="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
    program=_program,
    needs_layer=True,
)
def activations(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    layer: str | None = None,
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Compute the values of an inner layer.

    Parameters
    ----------
    net, images, output, input, batch_size
        As of :func:`convlens.explain.saliency`.
    target : optional
        Which score is reported; it does not change the values.
    layer : str, optional
        A layer by name, ending or glob; see ``net.layers()``. None is Grad-CAM's choice.

    Returns
    -------
    Explanation
        With the layer's own values, (N, K, h, w) after a convolution.

    Notes
    -----
    ``net.activations`` gives several layers at once, without the record.

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Conv2d(out_channels=4, kernel_size=3), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(out_features=3), input_shape=(1, 8, 8), seed=0)
    >>> why = explain.activations(net, np.ones((2, 1, 8, 8), np.float32), layer="relu1")
    >>> why.values.shape, why.layer
    ((2, 4, 6, 6), 'relu1')
    """
    arguments = {"layer": layer}
    task = Task(
        net,
        "activations",
        images,
        target=target,
        output=output,
        input=input,
        layer=layer,
        batch_size=batch_size,
        arguments=arguments,
    )
    clean, (values,) = task.vectors()
    return task.explanation(values, clean)
