"""Checkpoints: the State after a whole epoch, and what must be equal for the rest to have the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..nn._npz import read_npz, replacing, write_npz
from ._history import History

FORMAT = 1
_TEXT = "checkpoint.json"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Everything `fit` needs to go on after an epoch.

    Attributes
    ----------
    settings : mapping
        What decides the course of training but for its length.
    history : History
    state : mapping of str to ndarray
        Parameters, the optimizer's slots, running statistics.
    best : mapping of str to ndarray
        Parameters of the best epoch; empty without early stopping.
    """

    settings: Mapping[str, Any]
    history: History
    state: Arrays
    best: Arrays


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`; the old file stays until the new one is whole."""
    arrays = {f"state/{name}": np.asarray(value) for name, value in checkpoint.state.items()}
    arrays |= {f"best/{name}": np.asarray(value) for name, value in checkpoint.best.items()}
    text = {
        "format": FORMAT,
        "settings": dict(checkpoint.settings),
        "history": checkpoint.history.as_dict(),
    }
    with replacing(path) as file:
        write_npz(file, arrays, {_TEXT: json.dumps(text, indent=1)})


def read_checkpoint(path: Path, settings: Mapping[str, Any], state: Arrays) -> Checkpoint:
    """Read a checkpoint of the same training.

    Parameters
    ----------
    path : Path
    settings : mapping
        Of the training that wants to go on; a difference is an error that names it.
    state : mapping of str to ndarray
        Its State; names and shapes must agree.

    Raises
    ------
    ValueError
        The file is broken, or of another training.
    """
    arrays, texts = read_npz(path)
    try:
        data = json.loads(texts[_TEXT])
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}, this convlens reads {FORMAT}")
        stored, history = dict(data["settings"]), History(**data["history"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"`checkpoint` (={str(path)!r}) is not a checkpoint convlens can read: {error}") from error
    otherwise = "remove the file, give another path, or pass resume=False to begin anew"
    for key, value in json.loads(json.dumps(dict(settings))).items():
        if stored.get(key) != value:
            raise ValueError(
                f"`checkpoint` (={str(path)!r}) was written with {key}={stored.get(key)!r}, "
                f"now it is {value!r}: {otherwise}"
            )
    groups: dict[str, dict[str, npt.NDArray[Any]]] = {"state": {}, "best": {}}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        groups.get(group, {})[rest] = array
    for name, array in state.items():
        there = groups["state"].get(name)
        if there is None or there.shape != array.shape or there.dtype != array.dtype:
            raise ValueError(f"`checkpoint` (={str(path)!r}) is of another network: {name!r} differs; {otherwise}")
    return Checkpoint(stored, history, groups["state"], groups["best"])
