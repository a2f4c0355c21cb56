"""Input x gradient: the first-order share of each input value in the score."""

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
    gradient = canvas.gradient(canvas.images, GRADIENT, seed="input_x_gradient_seed")
    return (canvas.add("Mul", [canvas.images, gradient], name="input_x_gradient"),)


@method(
    title="Input × gradient",
    values="input",
    paper="Shrikumar et al., Not Just a Black Box, arXiv:1605.01713",
    program=_program,
)
def input_x_gradient(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Multiply the input by the gradient of the score.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`.

    Returns
    -------
    Explanation
        With values of shape (N, C, H, W), signed.

    Notes
    -----
    ``x * dS/dx``. On a network of convolutions, ReLU and max-pooling without biases the values sum to the score and
    equal integrated gradients from zero.

    References
    ----------
    Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences", arXiv:1605.01713.

    Examples
    --------
    >>> import numpy as np
    >>> from convlens import explain, nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=3), input_shape=(1, 4, 4), seed=0)
    >>> why = explain.input_x_gradient(net, np.full((1, 1, 4, 4), 2, np.float32), target=1)
    >>> bool(np.allclose(why.total(), why.score))
    True
    """
    return explain(net, "input_x_gradient", images, target, of=of, output=output, input=input, batch_size=batch_size)
