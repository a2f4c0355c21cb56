"""`convlens.load`: the reader of each kind of file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .nn import Network


def load(
    source: Any,
    *,
    outputs: str | Sequence[str] | None = None,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    layout: str | Mapping[str, str] | None = None,
    winograd: bool | str = True,
    memory: str = "fast",
    max_bytes: int | None = None,
) -> Network:
    """Read a network from a file.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        An .onnx file, its bytes or what the onnx package made of it (extra ``[onnx]``); or what ``net.save`` wrote, an
        .npz or a .safetensors file (extra ``[safetensors]``).
    outputs, input_shape, layout
        Of ONNX alone: see :func:`convlens.onnx.load`.
    winograd : bool or {"F(2,3)", "F(4,3)"}
        Whether 3 x 3 convolutions may go by Winograd's algorithm, where it pays: faster, with some three times the
        rounding. False for the least rounding in float32; see :class:`convlens.nn.Network`.
    memory : {"fast", "low"}
        "low" keeps one copy of the weights in memory, for up to 1.3 times the time; see :class:`convlens.nn.Network`.
    max_bytes : int, optional
        Bound on the memory that a call or an explanation works in at a time, with the same bits.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        The file is broken or holds no network, or an argument does not fit it.
    UnsupportedError
        The network has an operator that this version does not know.

    See Also
    --------
    nn.read_state_dict : Read the arrays of a PyTorch checkpoint, for a network built here.
    """
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix in (".npz", ".safetensors"):
        from .nn import load as load_saved

        if outputs is not None or input_shape is not None or layout is not None:
            raise ValueError("`outputs`, `input_shape` and `layout` are for ONNX files; a saved network has its own")
        return load_saved(source, winograd=winograd, memory=memory, max_bytes=max_bytes)
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix != ".onnx":
        raise ValueError(f"`source` (={str(source)!r}) must end in .onnx, .npz or .safetensors{_hint(Path(source))}")
    from .onnx import load as load_onnx

    options: dict[str, Any] = {"winograd": winograd, "memory": memory, "max_bytes": max_bytes}
    return load_onnx(source, outputs=outputs, input_shape=input_shape, layout=layout, **options)


def _hint(path: Path) -> str:
    from .nn._files import checkpoint_hint

    return checkpoint_hint(path)
