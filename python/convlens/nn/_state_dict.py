"""Which array of a state dict is which parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class LoadedKeys(NamedTuple):
    """What ``load_state_dict`` could not use.

    Attributes
    ----------
    missing_keys : tuple of str
        Parameters that the state dict lacks; they keep their values.
    unexpected_keys : tuple of str
        Names of the state dict that the network lacks.
    ignored_keys : tuple of str
        Its counts of batches that BatchNorm has seen.
    """

    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    ignored_keys: tuple[str, ...]


def match(
    parameters: Mapping[str, Array],
    state_dict: Mapping[str, npt.ArrayLike],
    *,
    strict: bool,
    prefix: str,
    names: Mapping[str, str],
) -> tuple[dict[str, npt.ArrayLike], LoadedKeys]:
    """Return the arrays by the parameters' names, and the names that fit nothing.

    Raises
    ------
    ValueError
        A shape differs, two names become one, or `strict` and a name fits nothing.
    """
    found: dict[str, npt.ArrayLike] = {}
    origins: dict[str, str] = {}
    unexpected: list[str] = []
    ignored: list[str] = []
    differing: list[str] = []
    for key, value in state_dict.items():
        name = _renamed(key.removeprefix(prefix), names)
        if name not in parameters:
            (ignored if name.rpartition(".")[2] == "num_batches_tracked" else unexpected).append(key)
            continue
        if name in origins:
            raise ValueError(
                f"`state_dict` has {origins[name]!r} and {key!r}, which `prefix` and `names` both make {name!r}"
            )
        origins[name] = key
        shape = np.shape(value)
        if shape != parameters[name].shape:
            differing.append(f"{key!r} has shape {shape}, the network's {name!r} has {parameters[name].shape}")
        found[name] = value
    missing = [name for name in parameters if name not in found]
    problems = list(differing)
    if strict and missing:
        problems.append(f"it lacks {_listed(missing)}")
    if strict and unexpected:
        problems.append(f"the network lacks {_listed(unexpected)}")
    if problems:
        remedy = _remedy(missing, unexpected) if strict else ""
        raise ValueError(f"`state_dict` does not fit the network: {'; '.join(problems)}{remedy}")
    return found, LoadedKeys(tuple(missing), tuple(unexpected), tuple(ignored))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The name after `names`: that of the parameter itself, or of the innermost module that is in it."""
    head, tail = key, ""
    while head:
        if head in names:
            return names[head] + tail
        head, dot, last = head.rpartition(".")
        tail = dot + last + tail
    return key


def _remedy(missing: list[str], unexpected: list[str]) -> str:
    if missing and unexpected:
        # A wrapper, such as DataParallel, puts one prefix before every name.
        for key in unexpected:
            prefix = key.removesuffix(missing[0])
            if prefix and prefix != key and set(missing) <= {one.removeprefix(prefix) for one in unexpected}:
                return f": take {prefix!r} off with prefix={prefix!r}"
        return f": rename with `names`, such as names={{{_module(unexpected[0])!r}: {_module(missing[0])!r}}}"
    if missing or unexpected:
        return ": strict=False loads what fits"
    return ""


def _module(name: str) -> str:
    return name.rpartition(".")[0] or name


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
