"""The graph: SSA nodes with ONNX's operator names, over tensors whose first axis may be the symbolic batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

BATCH: Literal["N"] = "N"
Dim = int | Literal["N"]
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class TensorType:
    """A tensor's element type (a NumPy name: float32, float64, int64, int32, bool, uint8, int8) and shape."""

    dtype: str
    shape: Shape

    @property
    def batched(self) -> bool:
        """Whether the first axis is the symbolic batch."""
        return len(self.shape) > 0 and self.shape[0] == BATCH

    @property
    def per_image(self) -> tuple[int, ...]:
        """The shape without the batch axis."""
        dims = self.shape[1:] if self.batched else self.shape
        return tuple(int(d) for d in dims)

    def __str__(self) -> str:
        return f"{self.dtype}({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Node:
    """One operation. An absent optional input is the empty string, as in ONNX."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order over named tensors.

    ``inputs`` are given at every call; ``constants`` are part of the graph (weights are constants unless they are
    trained); ``types`` holds every tensor's inferred type. Build one with :class:`GraphBuilder`.
    """

    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[Any]]
    types: Mapping[str, TensorType]

    def __post_init__(self) -> None:
        for name in ("inputs", "constants", "types"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor; inputs and constants have none."""
        return {out: node for node in self.nodes for out in node.outputs if out}

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, in order."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    users.setdefault(name, []).append(node)
        return users

    def subgraph(self, outputs: Sequence[str]) -> Graph:
        """The part that `outputs` (any tensors) depend on; inputs and constants that nothing reads are left out."""
        for name in outputs:
            if name not in self.types:
                raise ValueError(f"output {name!r} is not a tensor of the graph")
        needed = set(outputs)
        nodes = []
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.outputs):
                nodes.append(node)
                needed.update(name for name in node.inputs if name)
        for node in nodes:
            needed.update(name for name in node.outputs if name)
        return Graph(
            {name: kind for name, kind in self.inputs.items() if name in needed},
            tuple(outputs),
            tuple(reversed(nodes)),
            {name: value for name, value in self.constants.items() if name in needed},
            {name: kind for name, kind in self.types.items() if name in needed},
        )

    def validate(self) -> None:
        """Check what :class:`GraphBuilder` guarantees, for graphs made by hand.

        Raises
        ------
        ValueError
            If a tensor is read before it is defined or defined twice, an output is missing, or a type in ``types``
            is not the inferred one.
        """
        from ._shapes import infer

        defined: dict[str, TensorType] = {}

        def define(name: str, kind: TensorType) -> None:
            if name in defined:
                raise ValueError(f"tensor {name!r} is defined twice")
            if self.types.get(name) != kind:
                raise ValueError(f"tensor {name!r} is {kind}, but `types` says {self.types.get(name)}")
            defined[name] = kind

        for name, kind in self.inputs.items():
            define(name, kind)
        for name, value in self.constants.items():
            define(name, TensorType(value.dtype.name, value.shape))
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in defined:
                    raise ValueError(f"node {node.name!r} ({node.op}) reads {name!r}, which is not defined before it")
            for name, kind in zip(node.outputs, infer(node, defined, self.constants), strict=False):
                if name:
                    define(name, kind)
        for name in self.outputs:
            if name not in defined:
                raise ValueError(f"output {name!r} is not a tensor of the graph")


class GraphBuilder:
    """Appends nodes and infers their types; starts empty or from an existing graph.

    >>> b = GraphBuilder()
    >>> x = b.input("images", "float32", ("N", 3, 8, 8))
    >>> y = b.add("Relu", [x])
    >>> b.build([y]).types[y]
    TensorType(dtype='float32', shape=('N', 3, 8, 8))
    """

    def __init__(self, graph: Graph | None = None) -> None:
        self._inputs: dict[str, TensorType] = dict(graph.inputs) if graph else {}
        self._nodes: list[Node] = list(graph.nodes) if graph else []
        self._constants: dict[str, npt.NDArray[Any]] = dict(graph.constants) if graph else {}
        self.types: dict[str, TensorType] = dict(graph.types) if graph else {}
        self._counts: dict[str, int] = {}

    @property
    def inputs(self) -> Mapping[str, TensorType]:
        """The inputs declared so far."""
        return MappingProxyType(self._inputs)

    @property
    def constants(self) -> Mapping[str, npt.NDArray[Any]]:
        """The constants added so far."""
        return MappingProxyType(self._constants)

    def input(self, name: str, dtype: str, shape: Sequence[Dim]) -> str:
        """Declare a graph input; the leading ``"N"`` of `shape` is the batch."""
        self._define(name, TensorType(np.dtype(dtype).name, tuple(shape)))
        self._inputs[name] = self.types[name]
        return name

    def constant(self, value: npt.ArrayLike, name: str | None = None) -> str:
        """Add a constant. Without a name, one is made."""
        array = np.asarray(value)
        name = name or self.fresh("constant")
        self._define(name, TensorType(array.dtype.name, array.shape))
        self._constants[name] = array
        return name

    def add(
        self,
        op: str,
        inputs: Iterable[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        outputs: Sequence[str] | None = None,
    ) -> str:
        """Append a node and return its first output's name. ``outputs`` names them; by default there is one."""
        from ._shapes import infer

        name = name or self.fresh(op.lower())
        outs = tuple(outputs) if outputs is not None else (self._unused(name),)
        node = Node(op, tuple(inputs), outs, attributes or {}, name)
        for tensor in node.inputs:
            if tensor and tensor not in self.types:
                raise ValueError(f"node {name!r} ({op}) reads {tensor!r}, which is not defined before it")
        kinds = infer(node, self.types, self._constants)
        if len(outs) > len(kinds):
            raise ValueError(f"node {name!r} ({op}) has {len(kinds)} outputs at most, {len(outs)} are named")
        for out, kind in zip(outs, kinds, strict=False):
            if out:
                self._define(out, kind)
        self._nodes.append(node)
        return outs[0]

    def copy(self, graph: Graph, nodes: Iterable[Node]) -> None:
        """Append nodes of `graph` as they are, with the constants that they read."""
        for node in nodes:
            for name in node.inputs:
                if name in graph.constants and name not in self.types:
                    self.constant(graph.constants[name], name)
            self.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)

    def inline(self, graph: Graph, inputs: Mapping[str, str], *, suffix: str = "") -> dict[str, str]:
        """Append a copy of `graph`, its inputs replaced by tensors of this one.

        Parameters
        ----------
        graph : Graph
        inputs : mapping of its input names to tensors here
        suffix : str
            Added to the names of its nodes and tensors, when they are taken here. Constants that both graphs hold
            under one name are shared if they are the same array, so that a second run uses the same weights.

        Returns
        -------
        dict
            The name here of each of the graph's tensors.
        """
        names: dict[str, str] = {}
        for name, kind in graph.inputs.items():
            if name not in inputs:
                raise ValueError(f"`inputs` gives nothing for the input {name!r}; it is {kind}")
            names[name] = inputs[name]
        for name, value in graph.constants.items():
            shared = self._constants.get(name) is value
            names[name] = name if shared else self.constant(value, self._unused(name, suffix))
        for node in graph.nodes:
            outputs = [self._unused(out, suffix) if out else "" for out in node.outputs]
            sources = [names[tensor] if tensor else "" for tensor in node.inputs]
            self.add(node.op, sources, node.attributes, name=node.name + suffix, outputs=outputs)
            names.update((old, new) for old, new in zip(node.outputs, outputs, strict=True) if old)
        return names

    def build(self, outputs: Sequence[str]) -> Graph:
        """Freeze what was added; `outputs` must be defined."""
        for name in outputs:
            if name not in self.types:
                raise ValueError(f"output {name!r} is not a tensor of the graph")
        return Graph(self._inputs, tuple(outputs), tuple(self._nodes), self._constants, self.types)

    def fresh(self, stem: str) -> str:
        """A name not used yet: the stem, then stem_1, stem_2 ..."""
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            name = stem if count == 0 else f"{stem}_{count}"
            if name not in self.types:
                return name

    def _unused(self, name: str, suffix: str = "") -> str:
        if name in self.types:
            name = name + suffix
        return name if name not in self.types else self.fresh(name)

    def _define(self, name: str, kind: TensorType) -> None:
        if name in self.types:
            raise ValueError(f"tensor {name!r} is defined twice")
        self.types[name] = kind
