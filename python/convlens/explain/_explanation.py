"""What a method returns: the raw values and everything needed to trust, draw and store them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph, channels_first
from ._registry import find
from ._rows import rows

if TYPE_CHECKING:
    from ..image import Recipe
    from ..plot import Picture

Array = npt.NDArray[Any]
_ARRAYS = ("values", "target", "score", "probability", "layer_values", "delta", "standard_error")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Values that say what each image's score rests on.

    Attributes
    ----------
    values : ndarray of shape (N, C, H, W), (N, 1, H, W) or the layer's
        Raw and signed; ``np.asarray(why)`` is this array. NaN where an interrupted call got nothing.
    method : str
    target : ndarray of shape (N,), int64
        The class explained, the label where ``of="loss"``; (N, axes) for places, (N, ...) for weightings.
    score : ndarray of shape (N,), float64
        What was explained: the logit, the weighted sum, or the loss.
    probability : ndarray of shape (N,), float64, or None
        The target's probability, where the network computes one.
    output : str
        The tensor that `score` was read from.
    input : str
        The input that was explained, or the embedding that integers are read through.
    layout : str
        Its axes: "NCHW", or "NHWC" where channels are last; "NCL" and "NLC" of signals, else "". Those of `values` too,
        but for a layer's.
    layer : str or None
        The inner layer that was read.
    layer_values : ndarray of shape (N, 1, h, w) or None
        The map at the layer's own size, before upsampling.
    delta : ndarray of shape (N,), float64, or None
        Sum of the values minus what they should sum to, from the method's own forward passes; None where the method
        promises no such sum. The values are never rescaled to meet it.
    standard_error : ndarray of the shape of `values`, or None
        What another seed changes a value by, as a standard deviation, where a method estimates it.
    converged : bool
        False if the call was interrupted or stopped at a cap; `notes` says which.
    notes : tuple of str
        What must be known to read the values: an extension beyond the method's paper, an interrupted loop.
    arguments : mapping of str to object
        What the method was called with.
    signed : bool
        Whether both signs mean something; pictures choose their colours by it.
    """

    values: Array
    method: str
    target: Array
    score: Array
    output: str
    probability: Array | None = None
    input: str = ""
    layout: str = "NCHW"
    layer: str | None = None
    layer_values: Array | None = None
    delta: Array | None = None
    standard_error: Array | None = None
    converged: bool = True
    notes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = True
    model: Graph | str = field(default="", repr=False)

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Explanation:
        """Make one of all of its fields at once, as it would be copied: `__init__` sets one after the other."""
        made = cls.__new__(cls)
        made.__dict__.update(fields)
        return made

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy or (dtype is not None and np.dtype(dtype) != self.values.dtype):
            return self.values.astype(dtype or self.values.dtype)
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, image: int | slice) -> Explanation:
        """The explanation of one image (its batch axis stays, with length 1) or of a slice of them."""
        if isinstance(image, (int, np.integer)):
            if not -len(self) <= image < len(self):
                raise IndexError(f"image {image} of an explanation of {len(self)}")
            start = int(image) % len(self)
            image = slice(start, start + 1)
        given: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        taken: dict[str, Any] = {name: None if array is None else array[image] for name, array in given.items()}
        return replace(self, **taken)

    def __iter__(self) -> Iterator[Explanation]:
        return (self[image] for image in range(len(self)))

    @property
    def channels_first(self) -> Array:
        """The values with channels on axis 1, as pictures are drawn: of an input whose channels are last, turned."""
        if channels_first(self.layout) or find(self.method).values == "layer":
            return self.values
        return np.moveaxis(self.values, -1, 1)

    def total(self) -> Array:
        """Sum of each image's values, in double: shape (N,)."""
        return np.asarray(rows(self.values).sum(axis=1, dtype=np.float64))

    def plot(self, picture: npt.ArrayLike | None = None, **options: Any) -> Picture:
        """Draw the map of one image over its picture (extra ``[plot]``).

        Parameters
        ----------
        picture : array_like of shape (H, W), (H, W, 3) or (C, H, W), optional
            What to show underneath, such as the second result of :func:`convlens.image.load`.
        **options
            Of :func:`convlens.plot.signed_map`, or :func:`convlens.plot.overlay` for unsigned maps.

        Returns
        -------
        Picture
            A Matplotlib figure: ``why[0].plot(picture).savefig("why.png")``.
        """
        from .. import plot

        if len(self) != 1:
            raise ValueError(f"an explanation of {len(self)} images cannot be drawn as one: take why[0].plot(picture)")
        return plot.explanation(self, picture, **options)

    @property
    def model_hash(self) -> str:
        """SHA-256 of the network's nodes and weights, as hexadecimal digits."""
        return self.model if isinstance(self.model, str) else hash_of(self.model)

    def describe(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON can hold it."""
        from .. import __version__, _core

        return {
            "method": self.method,
            "arguments": {name: _plain(value) for name, value in self.arguments.items()},
            "images": len(self),
            "output": self.output,
            "input": self.input,
            "layout": self.layout,
            "layer": self.layer,
            "signed": self.signed,
            "converged": self.converged,
            "notes": list(self.notes),
            "seed": self.arguments.get("seed"),
            "model_hash": self.model_hash,
            "isa": _core.info()["isa"],
            "versions": {"convlens": __version__, "numpy": np.__version__, "python": platform.python_version()},
        }

    def save(self, path: str | os.PathLike[str], *, recipe: Recipe | None = None) -> tuple[Path, Path]:
        """Write the arrays to ``<path>.npz`` and their description to ``<path>.json``.

        Parameters
        ----------
        path : path-like
            With or without one of the two endings.
        recipe : Recipe, optional
            How the images were made; stored with the description.

        Returns
        -------
        tuple of Path
            The two files. :func:`convlens.explain.load` reads them.
        """
        stem = Path(path)
        if stem.suffix in (".npz", ".json"):
            stem = stem.with_suffix("")
        arrays, description = stem.with_name(stem.name + ".npz"), stem.with_name(stem.name + ".json")
        np.savez(arrays, **{name: array for name in _ARRAYS if (array := getattr(self, name)) is not None})
        known = self.describe()
        if recipe is not None:
            known["recipe"] = recipe.describe()
        description.write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return arrays, description

    def __repr__(self) -> str:
        lines = [f"{self.method} of {self.output!r}: values {self.values.dtype}{self.values.shape}"]
        if self.layer:
            lines.append(f"  layer {self.layer!r}")
        if len(self) and self.target.ndim == 1:
            shown = ", ".join(
                f"{target} ({score:.4g})" for target, score in zip(self.target[:6], self.score[:6], strict=True)
            )
            lines.append(f"  target (score) {shown}{', ...' if len(self) > 6 else ''}")
        if self.delta is not None and len(self):
            lines.append(f"  delta at most {np.abs(self.delta).max():.2g}")
        if not self.converged:
            lines.append("  not converged")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def __getstate__(self) -> dict[str, Any]:
        # The network stays behind: its hash is what a stored explanation needs of it.
        return {**self.__dict__, "model": self.model_hash, "arguments": dict(self.arguments)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def load(path: str | os.PathLike[str]) -> Explanation:
    """Read an explanation that :meth:`Explanation.save` wrote.

    Parameters
    ----------
    path : path-like
        As it was given to ``save``.

    Returns
    -------
    Explanation
    """
    stem = Path(path)
    if stem.suffix in (".npz", ".json"):
        stem = stem.with_suffix("")
    known = json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8"))
    with np.load(stem.with_name(stem.name + ".npz"), allow_pickle=False) as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    return Explanation(
        **stored,
        method=known["method"],
        output=known["output"],
        input=known.get("input", ""),
        layout=known.get("layout", "NCHW"),
        layer=known["layer"],
        signed=known["signed"],
        converged=known["converged"],
        notes=tuple(known["notes"]),
        arguments=known["arguments"],
        model=known["model_hash"],
    )


def hash_of(graph: Graph) -> str:
    """SHA-256 over the nodes and the constants of a graph."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        attributes = sorted((key, _plain(value)) for key, value in node.attributes.items())
        digest.update(json.dumps([node.op, node.inputs, node.outputs, attributes], default=str).encode())
    for name in sorted(graph.constants):
        array = graph.constants[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON holds it; large arrays by their shape and hash."""
    if isinstance(value, np.ndarray):
        if value.size <= 64:
            return value.tolist()
        return f"{value.dtype.name}{value.shape} sha256 {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "describe"):
        return value.describe()
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)
