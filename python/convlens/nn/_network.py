"""A network: a graph, the version of its weights, and the Programs compiled for it."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..graph import Graph, GraphBuilder
from ._build import build_graph
from ._cache import ProgramCache
from ._check import check_images
from ._files import Said, graph_from_json, graph_to_json, load_graph, save_graph
from ._layer import Layer, Tensor
from ._names import find, find_all, logits_of
from ._records import LayerTable, buffers, grids, is_parameter, layer_records, says_how, summary
from ._run import run
from ._state_dict import LoadedKeys, match

if TYPE_CHECKING:
    from ..program import Entry, Program, Weights

Array = npt.NDArray[Any]


class Network:
    """Run, describe, store and hold the weights of a convolutional network.

    Parameters
    ----------
    inputs : Tensor, optional
        What :func:`convlens.nn.Input` returned.
    outputs : Tensor or sequence of Tensor, optional
        The ends of the network. One makes ``net(x)`` return an array, several a dict.
    graph : Graph, optional
        A graph with one input, instead of `inputs` and `outputs`.
    seed : int
        Of the initial weights: Kaiming for convolutions, Glorot for linear layers, zero biases; see
        :class:`convlens.nn.Conv2d`. The same seed gives the same bits.
    notes : sequence of str
        What was changed to make it, such as weights converted to float32; kept in :attr:`notes`.
    paths : mapping of str to str, optional
        Tensors by module path, such as ``layer4.1.relu``, of the source that the graph was exported from: more names
        for :meth:`find`.

    Notes
    -----
    ``net(x)`` is always inference. Any number of threads may call it; ``set_parameters`` publishes a new version, and
    calls under way finish with the one they began with.

    Examples
    --------
    >>> from convlens import nn
    >>> x = nn.Input((3, 16, 16))
    >>> y = nn.ReLU()(nn.Conv2d(out_channels=3, kernel_size=3, padding="same", name="conv")(x))
    >>> net = nn.Network(inputs=x, outputs=nn.Add(name="sum")(x, y), seed=0)
    >>> net.output_name, sorted(net.parameters)
    ('sum', ['conv.bias', 'conv.weight'])
    """

    def __init__(
        self,
        *,
        inputs: Tensor | None = None,
        outputs: Tensor | Sequence[Tensor] | None = None,
        graph: Graph | None = None,
        seed: int = 0,
        notes: Sequence[str] = (),
        paths: Mapping[str, str] | None = None,
    ) -> None:
        if graph is None:
            if inputs is None or outputs is None:
                raise TypeError("Network needs `inputs` and `outputs`, the ends of a chain of layers, or a `graph`")
            graph = _described(inputs, outputs, seed)
        elif inputs is not None or outputs is not None:
            raise TypeError("Network takes `inputs` and `outputs`, or a `graph`, not both")
        if len(graph.inputs) != 1:
            raise ValueError(f"`graph` has the inputs {list(graph.inputs)}: a network has exactly one")
        self.graph = _frozen(graph)
        self.notes = tuple(notes)
        self.paths = MappingProxyType(dict(paths or {}))
        self.version = 0
        self._programs = ProgramCache()
        self._lock = threading.Lock()
        self._weights: Weights | None = None

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def input_name(self) -> str:
        """Name of the input tensor."""
        return next(iter(self.graph.inputs))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image, ``(C, H, W)``."""
        return self.graph.inputs[self.input_name].per_image

    @property
    def output_name(self) -> str:
        """Name of the (first) output tensor."""
        return self.graph.outputs[0]

    @property
    def logits_name(self) -> str:
        """Name of the tensor that is trained and explained: the one before a final softmax or sigmoid."""
        return logits_of(self.graph, self.output_name)

    @property
    def dtype(self) -> str:
        """float32 or float64: what it takes and computes in."""
        return self.graph.inputs[self.input_name].dtype

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Every weight, bias and running statistic by name, read-only; change them with :meth:`set_parameters`."""
        graph = self.graph
        return MappingProxyType({n: array for n, array in graph.constants.items() if is_parameter(graph, n)})

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that training learns: all but running statistics and what is quantised."""
        still = buffers(self.graph) | grids(self.graph)
        return tuple(name for name in self.parameters if name not in still)

    def layers(self) -> LayerTable:
        """Return name, operator, shape, parameters and receptive field of every layer; it prints as a table."""
        return layer_records(self.graph)

    def summary(self) -> str:
        """Return a text of shapes, parameters, arithmetic and memory."""
        return summary(self.graph)

    def find(self, name: str, *, what: str = "layer") -> str:
        """Return the one tensor that `name` means: a tensor, a node, a module path, a glob or a unique ending.

        Raises
        ------
        ValueError
            `name` is unknown or ambiguous; the message, which calls it `what`, lists the five nearest.
        """
        return find(self.graph, name, what=what, paths=self.paths)

    # -- running -------------------------------------------------------------------------------------------------------

    def __call__(self, images: npt.ArrayLike) -> Any:
        """Compute the outputs, as inference.

        Parameters
        ----------
        images : ndarray of shape (N, C, H, W), float32 (float64 after ``astype``)

        Returns
        -------
        ndarray, or dict of name to ndarray where the network has several outputs

        Raises
        ------
        TypeError, ValueError
            dtype or shape do not fit; the message says what to do.
        """
        results = self._forward(images, self.graph.outputs)
        return results if len(self.graph.outputs) > 1 else results[self.output_name]

    def activations(self, images: npt.ArrayLike, names: str | Iterable[str]) -> dict[str, Array]:
        """Compute the tensors inside the network.

        Parameters
        ----------
        images : ndarray of shape (N, C, H, W)
        names : str or iterable of str
            Layers by name, ending or glob; ``"*"`` is every one.

        Returns
        -------
        dict of str to ndarray
            By the tensors' full names, in the order asked for.
        """
        return self._forward(images, find_all(self.graph, names, paths=self.paths))

    def _forward(self, images: npt.ArrayLike, outputs: Sequence[str]) -> dict[str, Array]:
        checked = self.check_images(images)
        wanted = tuple(name for name in outputs if name != self.input_name)
        results = {self.input_name: checked}
        if wanted:
            program = self.program(("forward", wanted), lambda: self._forward_graph(wanted))
            results |= run(program, "forward", {self.input_name: checked}, self.weights)
        return {name: results[name] for name in outputs}

    def _forward_graph(self, outputs: tuple[str, ...]) -> tuple[Graph, dict[str, Entry]]:
        from ..program import Entry

        graph = self.graph.subgraph(outputs)
        return graph, {"forward": Entry(inputs=(self.input_name,), outputs=outputs)}

    def check_images(self, images: npt.ArrayLike, *, name: str = "images") -> Array:
        """Return `images` as the network takes them, or raise an error that says what to do, calling them `name`."""
        return check_images(name, images, self.graph.inputs[self.input_name])

    def program(self, key: Hashable, build: Callable[[], tuple[Graph, Mapping[str, Entry]]]) -> Program:
        """Return the Program kept under `key`; on a miss, compile what `build` returns.

        Parameters
        ----------
        key : hashable
            Says everything that the graph of `build` depends on, but for the weights.
        build : callable
            Returns a graph over this network's constants and the entry points to compile.
        """
        from ..program import compile as compile_program

        def make() -> Program:
            graph, entries = build()
            return compile_program(graph, entries, dtype=self.dtype)

        return self._programs.get(key, make)

    # -- weights -------------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Weights:
        """The weights of the current version, packed at first use and shared by every Program."""
        from ..program import Weights

        with self._lock:
            if self._weights is None:
                self._weights = Weights(self.graph.constants)
            return self._weights

    def set_parameters(self, parameters: Mapping[str, npt.ArrayLike]) -> None:
        """Replace some or all parameters and publish them as a new version.

        Parameters
        ----------
        parameters : mapping of str to array_like
            By the names of :attr:`parameters`; each of the shape it replaces. Copied.

        Raises
        ------
        ValueError
            A name is unknown, a shape differs.
        """
        with self._lock:
            graph = self.graph
            constants = dict(graph.constants)
            for name, value in parameters.items():
                constants[name] = self._parameter(name, value)
            self.graph = _frozen(dataclasses.replace(graph, constants=constants))
            self._weights = None
            self.version += 1

    def load_state_dict(
        self,
        state_dict: Mapping[str, npt.ArrayLike],
        *,
        strict: bool = True,
        prefix: str = "",
        names: Mapping[str, str] | None = None,
    ) -> LoadedKeys:
        """Replace the parameters by those of a PyTorch state dict, and publish them as a new version.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            What :func:`convlens.nn.read_state_dict` returned. BatchNorm's ``num_batches_tracked`` is ignored, and
            listed in ``ignored_keys``: running statistics here have no use for it.
        strict : bool
            Whether a missing or an unexpected name is an error. A differing shape always is.
        prefix : str
            Taken from the front of names that have it, such as ``"module."`` of a DataParallel module.
        names : mapping of str to str, optional
            After that, new names by old, of parameters or of modules: ``{"fc": "head"}`` renames ``fc.weight`` and
            ``fc.bias``.

        Returns
        -------
        LoadedKeys
            The names in ``missing_keys``, ``unexpected_keys`` and ``ignored_keys``.

        Raises
        ------
        ValueError
            Names or shapes do not fit; nothing was changed. The message lists all of them.

        Examples
        --------
        >>> from convlens import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2, name="head"), input_shape=(1, 1, 3))
        >>> arrays = {"module.fc.weight": np.ones((2, 3)), "module.fc.bias": np.zeros(2)}
        >>> net.load_state_dict(arrays, prefix="module.", names={"fc": "head"})
        LoadedKeys(missing_keys=(), unexpected_keys=(), ignored_keys=())
        """
        found, keys = match(self.parameters, state_dict, strict=strict, prefix=prefix, names=names or {})
        self.set_parameters(found)
        return keys

    def _parameter(self, name: str, value: npt.ArrayLike) -> Array:
        """A new value for a parameter, copied and checked."""
        known = self.parameters
        if name not in known:
            raise ValueError(f"`parameters` holds {name!r}, which the network does not have; it has {', '.join(known)}")
        array = np.array(value, dtype=self.dtype, order="C")
        if array.shape != known[name].shape:
            raise ValueError(f"`parameters[{name!r}]` has shape {array.shape}, it must have {known[name].shape}")
        return array

    def astype(self, dtype: npt.DTypeLike) -> Network:
        """Return a copy that computes in `dtype`, float32 or float64.

        Examples
        --------
        >>> from convlens import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(out_features=2), input_shape=(1, 4, 4))
        >>> net.astype("float64").dtype
        'float64'
        """
        name = np.dtype(dtype).name
        if name not in ("float32", "float64"):
            raise ValueError(f"`dtype` (={name!r}) must be float32 or float64")
        return Network(graph=_converted(self.graph, name), **self._said())

    def _said(self) -> Said:
        """What is known beside the graph, which copies and files keep."""
        return {"notes": list(self.notes), "paths": dict(self.paths)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write graph, weights, notes and module paths to one file, .npz or .safetensors (extra ``[safetensors]``).

        The file at `path` is replaced when the new one is whole. ``nn.load`` reads it; so does ``np.load``.

        See Also
        --------
        convlens.onnx.export : Write an ONNX file.
        """
        save_graph(self.graph, path, self._said())

    def __repr__(self) -> str:
        kinds = f"{self.input_name} {self.graph.inputs[self.input_name]} -> {', '.join(self.graph.outputs)}"
        count = sum(array.size for array in self.parameters.values())
        return f"Network({kinds}; {len(self.graph.nodes)} layers, {count:,} parameters, version {self.version})"

    def __getstate__(self) -> dict[str, Any]:
        graph = self.graph
        return {
            "graph": graph_to_json(graph),
            "constants": dict(graph.constants),
            "version": self.version,
            "made": self._said(),
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Network.__init__(self, graph=graph_from_json(state["graph"], state["constants"]), **state["made"])
        self.version = state["version"]


class Sequential(Network):
    """Chain layers into a network.

    Parameters
    ----------
    *layers : Layer
        In order. The same object twice is one layer used twice.
    input_shape : sequence of int
        Shape of one image, such as ``(1, 28, 28)``; input channels and features are inferred from it.
    seed : int
        Of the initial weights.

    Examples
    --------
    >>> from convlens import nn
    >>> net = nn.Sequential(
    ...     nn.Conv2d(out_channels=32, kernel_size=3), nn.ReLU(), nn.MaxPool2d(kernel_size=2), nn.Flatten(),
    ...     nn.Linear(out_features=10), input_shape=(1, 28, 28), seed=0)
    >>> [layer.shape for layer in net.layers()]
    [('N', 32, 26, 26), ('N', 32, 26, 26), ('N', 32, 13, 13), ('N', 5408), ('N', 10)]
    """

    def __init__(self, *layers: Layer, input_shape: Sequence[int], seed: int = 0) -> None:
        from ._layer import Input

        if not layers:
            raise TypeError("Sequential needs at least one layer")
        x = source = Input(input_shape)
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = "unpack the list with *" if isinstance(layer, (list, tuple)) else "build it with ()"
                raise TypeError(f"`layers[{position}]` (={layer!r}) is not a layer: {hint}")
            x = layer(x)
        super().__init__(inputs=source, outputs=x, seed=seed)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network from what ``net.save`` wrote; ``convlens.load`` reads ONNX files too.

    Parameters
    ----------
    path : path-like
        An .npz, or a .safetensors file (extra ``[safetensors]``).

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        The file is broken or holds no network.
    UnsupportedError
        The network has an operator that this version does not know.

    See Also
    --------
    read_state_dict : Read the arrays of a PyTorch checkpoint, for a network built here.
    """
    graph, said = load_graph(path)
    return Network(graph=graph, **said)


def _described(inputs: Tensor, outputs: Tensor | Sequence[Tensor], seed: int) -> Graph:
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not isinstance(inputs, Tensor) or inputs.layer is not None:
        raise TypeError(f"`inputs` (={inputs!r}) must be what nn.Input returned")
    if not ends or not all(isinstance(end, Tensor) for end in ends):
        raise TypeError(f"`outputs` (={outputs!r}) must be the tensor, or the tensors, that layers returned")
    return build_graph(inputs, ends, seed=seed, dtype="float32")


def _frozen(graph: Graph) -> Graph:
    """The graph with read-only views of its constants, so that weights change through `set_parameters` alone."""
    constants = {}
    for name, array in graph.constants.items():
        view = array.view()
        view.flags.writeable = False
        constants[name] = view
    return dataclasses.replace(graph, constants=constants)


def _number(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """An array in another type; a single number, such as a bound, as it was written: 0.3 is not float32's 0.3."""
    return np.array(str(array) if array.ndim == 0 else array).astype(dtype)


def _converted(graph: Graph, dtype: str) -> Graph:
    builder = GraphBuilder()
    for name, kind in graph.inputs.items():
        builder.input(name, dtype if kind.dtype.startswith("float") else kind.dtype, kind.shape)
    for name, array in graph.constants.items():
        number = array.dtype.kind == "f" and not says_how(graph, name)
        builder.constant(_number(array, dtype) if number else array, name)
    for node in graph.nodes:
        builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    return builder.build(graph.outputs)
