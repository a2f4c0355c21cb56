"""The registries: how ONNX operators become nodes of the graph, or numbers where all is known; and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from ..graph import Call
    from ._site import Site
    from ._writer import Writer

Array = npt.NDArray[Any]

# handler(site) emits nodes and returns the tensor that is the first output; one that names several itself returns None.
Handler = Callable[["Site"], "str | None"]
# fold(site, *inputs) computes with arrays, whose shapes may hold the number of images; an absent input is None.
Fold = Callable[..., "Array | Sequence[Array]"]

HANDLERS: dict[str, Handler] = {}
FOLDS: dict[str, Fold] = {}
# Operators of other domains than ONNX's own.
CONTRIBUTED: set[tuple[str, str]] = set()


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register the handler of an operator, for all its versions: ``site.opset`` tells them apart."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


def contributed(domain: str, *ops: str) -> Callable[[Handler], Handler]:
    """Register the handler of operators that another domain defines; their names are its own, or mean the same."""
    CONTRIBUTED.update((domain, op) for op in ops)
    return handles(*ops)


def folds(*ops: str) -> Callable[[Fold], Fold]:
    """Register how an operator is computed at import, where every input is known."""

    def register(fold: Fold) -> Fold:
        FOLDS.update(dict.fromkeys(ops, fold))
        return fold

    return register


def supported() -> tuple[str, ...]:
    """The ONNX operators that import, sorted."""
    return tuple(sorted(HANDLERS))


# form(writer, call) writes the ONNX nodes of a node of the graph; one without a row is written as it is.
Form = Callable[["Writer", "Call"], None]

FORMS: dict[str, Form] = {}


def writes(*ops: str) -> Callable[[Form], Form]:
    """Register how operators of the graph are written where ONNX has them in another form or not at all."""

    def register(form: Form) -> Form:
        FORMS.update(dict.fromkeys(ops, form))
        return form

    return register
