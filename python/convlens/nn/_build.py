"""From symbolic tensors to a graph with initial weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..graph import Graph, GraphBuilder
from ._initialise import generator, initialise
from ._layer import Layer, Tensor

#: The name of the last tensor, unless its layer was named or is a softmax.
LOGITS = "logits"


def build_graph(sources: Sequence[Tensor], ends: Sequence[Tensor], *, seed: int, dtype: str) -> Graph:
    """Emit every layer between `sources` and `ends`, in the order they were called.

    Parameters
    ----------
    sources : sequence of Tensor
        What :func:`convlens.nn.Input` returned.
    ends : sequence of Tensor
        The network's outputs.
    seed : int
        Of the initial weights.
    dtype : str
        float32 or float64.

    Returns
    -------
    Graph
        Nodes and tensors are named after the layers; parameters are its constants.
    """
    steps = _between(sources, ends)
    called = [source.name or "images" for source in sources]
    if len(set(called)) < len(called):
        raise ValueError(f"`inputs` are called {', '.join(map(repr, called))}: give each nn.Input a `name` of its own")
    names = _layer_names(steps, taken=set(called))
    builder = GraphBuilder()
    tensors = {}
    for source, given in zip(sources, called, strict=True):
        own = source.type.dtype
        tensors[source] = builder.input(given, dtype if own.startswith("float") else own, source.shape)
    owned: dict[Layer, dict[str, str]] = {}
    uses: dict[Layer, int] = {}
    for step in steps:
        layer = step.layer
        assert layer is not None
        specs = layer.parameters([tensor.type for tensor in step.inputs])
        if layer not in owned:
            index = len(owned)
            owned[layer] = {
                spec.suffix: builder.constant(
                    initialise(spec.scheme, spec.shape, dtype, generator(seed, index, position)),
                    f"{names[layer]}.{spec.suffix}",
                )
                for position, spec in enumerate(specs)
            }
        for spec in specs:
            there = builder.types[owned[layer][spec.suffix]].shape
            if there != spec.shape:
                raise ValueError(
                    f"layer {names[layer]!r} is used twice, on inputs that need a {spec.suffix} of shape {there} and "
                    f"of {spec.shape}: a layer used twice shares its parameters, so make a second layer"
                )
        uses[layer] = uses.get(layer, 0) + 1
        name = names[layer] if uses[layer] == 1 else builder.fresh(f"{names[layer]}_{uses[layer]}")
        anonymous_end = ends == [step] and layer.name is None and layer.stem not in ("softmax", "log_softmax")
        tensor = LOGITS if anonymous_end and LOGITS not in builder.types else name
        layer.emit(builder, [tensors[one] for one in step.inputs], owned[layer], name, tensor)
        tensors[step] = tensor
    return builder.build([tensors[end] for end in ends])


def _between(sources: Sequence[Tensor], ends: Iterable[Tensor]) -> list[Tensor]:
    """Every tensor the ends are computed from, in creation order, without the `sources`."""
    found: set[Tensor] = set()
    waiting = list(ends)
    while waiting:
        tensor = waiting.pop()
        if tensor in found or tensor in sources:
            continue
        if tensor.layer is None:
            raise ValueError(
                f"`outputs` depend on an nn.Input ({tensor.name!r}, {tensor.shape}) that is not among `inputs`"
            )
        found.add(tensor)
        waiting.extend(tensor.inputs)
    return sorted(found, key=lambda tensor: tensor.order)


def _layer_names(steps: Sequence[Tensor], taken: set[str]) -> Mapping[Layer, str]:
    """Given names as they are; the others numbered per kind, skipping what is taken."""
    layers = list(dict.fromkeys(step.layer for step in steps if step.layer is not None))
    names: dict[Layer, str] = {}
    for layer in layers:
        if layer.name is not None:
            if layer.name in taken:
                raise ValueError(f"`name` (={layer.name!r}) is used by two layers, or by a layer and the input")
            names[layer] = layer.name
            taken.add(layer.name)
    counts: dict[str, int] = {}
    for layer in layers:
        if layer.name is None:
            while True:
                counts[layer.stem] = counts.get(layer.stem, 0) + 1
                name = f"{layer.stem}{counts[layer.stem]}"
                if name not in taken:
                    break
            names[layer] = name
            taken.add(name)
    return names
