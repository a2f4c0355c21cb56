"""DeconvNet: positive signals alone are carried back, whether or not the unit was active."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..nn import Network
from ..transform import DECONVNET
from ._again import explain
from ._canvas import Canvas
from ._explanation import Explanation
from ._registry import method


def _program(canvas: Canvas) -> tuple[str, ...]:
    return (canvas.gradient(canvas.images, DECONVNET, seed="deconvnet_seed"),)


@method(
    title="DeconvNet",
    values="input",
    paper="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
    program=_program,
)
def deconvnet(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Propagate the score back, passing each ReLU what is positive.

    Parameters
    ----------
    net, images, target, of, output, input, batch_size
        As of :func:`convlens.explain.saliency`.

    Returns
    -------
    Explanation
        With values of shape (N, C, H, W), signed. Its notes name operators that the paper's rule was extended to.

    Notes
    -----
    At each ReLU, ``R_in = 1[R > 0] R``; max-pooling sends the signal to the recorded maximum ("switches"). The map
    depends little on the class (Adebayo et al., arXiv:1810.03292).

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901.
    """
    return explain(net, "deconvnet", images, target, of=of, output=output, input=input, batch_size=batch_size)
