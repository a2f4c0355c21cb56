"""The table of explanation methods: tests, documentation and the command line read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
#: Appends a method to a graph and returns the tensors of its entry point.
Program = Callable[..., tuple[str, ...]]


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes
    ----------
    name : str
        The function's name, and the name of its entry point.
    function : callable
        ``function(net, images, target=None, *, ...) -> Explanation``.
    values : {"input", "map", "layer"}
        Shape of its values: that of the images ``(N, C, H, W)``, one map an image ``(N, 1, H, W)``, or a layer's.
    signed : bool
        Whether values of both signs mean something; the pictures choose their colours by it.
    paper : str
        Reference with its arXiv id.
    program : callable or None
        ``program(canvas, **options)`` appends the method to a graph; None for methods that sample or loop. They drive
        the program of another row.
    model_dependent : bool
        Whether the method claims to depend on the weights.
    needs_layer : bool
        Whether it reads an inner layer.
    seeded : bool
        Whether it draws noise; its function then takes ``seed``.
    options : mapping
        Keyword arguments that make a call cheap; the contract suite and quick demonstrations pass them.
    title : str
        How its paper writes the name; by default the name in words, "Integrated gradients".
    """

    name: str
    function: Callable[..., Any]
    values: Literal["input", "map", "layer"]
    signed: bool
    paper: str
    program: Program | None
    model_dependent: bool
    needs_layer: bool
    seeded: bool
    options: Mapping[str, Any]
    title: str


_METHODS: dict[str, Method] = {}


def method(
    *,
    values: Literal["input", "map", "layer"],
    paper: str,
    signed: bool = True,
    program: Program | None = None,
    model_dependent: bool = True,
    needs_layer: bool = False,
    seeded: bool = False,
    options: Mapping[str, Any] | None = None,
    title: str = "",
) -> Callable[[Function], Function]:
    """Register the decorated function as an explanation method; see :class:`Method` for the arguments."""
    if not re.search(r"arXiv:\d{4}\.\d{4,5}", paper):
        raise ValueError(f"`paper` (={paper!r}) must cite an arXiv id, such as arXiv:1312.6034")

    def register(function: Function) -> Function:
        name = function.__name__
        words = title or name.replace("_", " ").capitalize()
        extra = dict(options or {})
        _METHODS[name] = Method(
            name, function, values, signed, paper, program, model_dependent, needs_layer, seeded, extra, words
        )
        return function

    return register


def methods() -> Mapping[str, Method]:
    """Every registered method by name, in the order of registration."""
    return dict(_METHODS)


def find(name: str) -> Method:
    """The row of `name`; a typing error lists what there is."""
    if name not in _METHODS:
        raise ValueError(f"`method` (={name!r}) is not an explanation method; there are {', '.join(_METHODS)}")
    return _METHODS[name]


def programs() -> Iterator[Method]:
    """The methods that are pure programs, which a compiled file can hold."""
    return (row for row in _METHODS.values() if row.program is not None)
