"""Saliency: the gradient of the score with respect to the input."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..nn import Network
from ..transform import GRADIENT
from ._again import explain
from ._canvas import Canvas
from ._explanation import Explanation
from ._registry import method


def _program(canvas: Canvas) -> tuple[str, ...]:
    return (canvas.gradient(canvas.images, GRADIENT, seed="saliency_seed"),)


@method(
    values="input",
    paper="Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, arXiv:1312.6034",
    program=_program,
)
def saliency(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Compute the gradient of the score with respect to the input.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or mapping of input name to array_like
        In the network's dtype, input range and axes: (N, H, W, C) where ``net.layout`` is "NHWC". Of a network of
        several inputs, all of them by name.
    target : None, int, int array (N,), tuple of int, list of N tuples, or float array, optional
        Which output is explained: a class for all images, one for each, a place such as ``(class, y, x)``, or a float
        array of the output's shape weighting it. None is the top class of each clean image; where there is none
        (several sigmoid outputs, outputs of more than two axes) it is an error. With ``of="loss"``, the labels.
    of : {"output", "loss"}
        Explain a logit, or the cross-entropy of the labels in `target`.
    output : str, optional
        The tensor to explain; None is the logits, also where the network ends in Softmax, LogSoftmax or Sigmoid.
    input : str, optional
        Which input is explained; the others are held as they are given. None is the first one of images or signals.
        Integers are explained at the embedding that they are read through.
    batch_size : int, optional
        Images run at once; None bounds the arena to 32 MB. The result has the same bits for any.

    Returns
    -------
    Explanation
        With values of the shape of the explained input, (N, C, H, W), signed. ``why.total()`` sums them for each image.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message says what would.
    UnsupportedError
        If an operation of the network has no gradient; the message names the node.

    Notes
    -----
    ``M = dS/dx``. The paper takes absolute values and the largest over the channels; both are left to the reader.
    The gradient of ReLU at 0 is 0; the first maximum of a tied pooling window wins.

    References
    ----------
    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models and
    Saliency Maps", arXiv:1312.6034.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    >>> images = np.ones((2, 1, 4, 4), np.float32)
    >>> why = explain.saliency(net, images, target=1)
    >>> np.array_equal(why.values[0].ravel(), net.parameters["linear1.weight"][1])
    True
    """
    return explain(net, "saliency", images, target, of=of, output=output, input=input, batch_size=batch_size)
