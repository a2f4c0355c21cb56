"""Guided backpropagation: only positive gradients pass, through active units."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from ..nn import Network
from ..transform import GUIDED
from ._again import explain
from ._canvas import Canvas
from ._explanation import Explanation
from ._registry import method


def _program(canvas: Canvas) -> tuple[str, ...]:
    return (canvas.gradient(canvas.images, GUIDED, seed="guided_backprop_seed"),)


@method(
    values="input",
    paper="Springenberg et al., Striving for Simplicity, arXiv:1412.6806",
    program=_program,
)
def guided_backprop(
    net: Network,
    images: npt.ArrayLike,
    target: Any = None,
    *,
    of: str = "output",
    output: str | None = None,
    input: str | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Propagate the score back, passing each ReLU only what is positive and belongs to an active unit.

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
    At each ReLU, ``R_in = 1[x > 0] 1[R > 0] R``; elsewhere the gradient. The rule belongs to the graph, so a ReLU used
    twice, or written as a function, is no exception. The map depends little on the class and on the weights of the
    upper layers (Adebayo et al., arXiv:1810.03292): read it as what the network looks at, not as why it chose.

    References
    ----------
    Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity: The All Convolutional Net",
    arXiv:1412.6806.
    """
    return explain(net, "guided_backprop", images, target, of=of, output=output, input=input, batch_size=batch_size)
