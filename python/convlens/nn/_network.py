"""A network: a graph, the version of its weights, and the Programs compiled for it."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._arguments import max_bytes as check_bytes
from .._arguments import memory as check_memory
from .._arguments import winograd as check_winograd
from .._spill import spilled
from ..graph import Graph, GraphBuilder, channels_first, check_layout, default_layout, layout_of
from ._build import build_graph
from ._cache import ProgramCache
from ._check import check_images, check_inputs
from ._files import Said, graph_from_json, graph_to_json, load_graph, save_graph
from ._layer import Layer, Tensor
from ._names import answer_of, find, find_all
from ._records import LayerTable, buffers, grids, is_parameter, layer_records, says_how, summary, table_rows
from ._run import run
from ._sizes import Converted, OpenSizes, Source
from ._state_dict import LoadedKeys, match

if TYPE_CHECKING:
    from ..program import Entry, Program, Replay, Weights

Array = npt.NDArray[Any]

#: Batch sizes whose calls go straight to the Program.
REPLAYS = 16


class Network:
    """Run, describe, store and hold the weights of a convolutional network.

    Parameters
    ----------
    inputs : Tensor or sequence of Tensor, optional
        What :func:`convlens.nn.Input` returned.
    outputs : Tensor or sequence of Tensor, optional
        The ends of the network. One makes ``net(x)`` return an array, several a dict.
    graph : Graph, optional
        A graph instead of `inputs` and `outputs`. The first axis of every input is the batch.
    seed : int
        Of the initial weights: Kaiming for convolutions, Glorot for linear layers, zero biases; see
        :class:`convlens.nn.Conv2d`. The same seed gives the same bits.
    notes : sequence of str
        What was changed to make it, such as weights converted to float32; kept in :attr:`notes`.
    paths : mapping of str to str, optional
        Tensors by module path, such as ``layer4.1.relu``, of the source that the graph was exported from: more names
        for :meth:`find`.
    layouts : mapping of str to str, optional
        Layouts of inputs, "NCHW" or "NHWC", where the graph does not say so: a Transpose before the first convolution
        says that channels come last.
    source : optional
        What makes the network for images of another size, where a file leaves sizes open.
    open_axes : mapping, optional
        By input, the sizes of one image, None where open.
    winograd : bool or {"F(2,3)", "F(4,3)"}
        Whether 3 x 3 convolutions may go by Winograd's algorithm, where it pays: faster, with some three times the
        rounding; see :func:`convlens.program.compile`. In float64 and in training they do not.
    memory : {"fast", "low"}
        "low" keeps one copy of the weights, packed for the kernels, and none transformed for Winograd's algorithm,
        for up to 1.3 times the time. The parameters themselves lie in a temporary file without a name, and are read
        from there: when a new kind of call packs some, by ``net.parameters``, ``net.save`` and training. Results have
        the same bits. Where temporary files live in memory, set ``TMPDIR`` to a folder on a disk.
    max_bytes : int, optional
        Bound on the memory that a call, and every explanation, works in at a time, activations and scratch of all its
        threads: a batch is cut into parts that fit, with the same bits. Inputs, results and weights come beside it.
        None: 64 MB for calls, 32 MB for explanations, or one image's. See :attr:`max_bytes`.

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
        inputs: Tensor | Sequence[Tensor] | None = None,
        outputs: Tensor | Sequence[Tensor] | None = None,
        graph: Graph | None = None,
        seed: int = 0,
        notes: Sequence[str] = (),
        paths: Mapping[str, str] | None = None,
        layouts: Mapping[str, str] | None = None,
        source: Source | None = None,
        open_axes: Mapping[str, tuple[int | None, ...]] | None = None,
        winograd: bool | str = True,
        memory: str = "fast",
        max_bytes: int | None = None,
    ) -> None:
        if graph is None:
            if inputs is None or outputs is None:
                raise TypeError("Network needs `inputs` and `outputs`, the ends of a chain of layers, or a `graph`")
            graph = _described(inputs, outputs, seed)
        elif inputs is not None or outputs is not None:
            raise TypeError("Network takes `inputs` and `outputs`, or a `graph`, not both")
        if not graph.inputs or not all(kind.batched for kind in graph.inputs.values()):
            listed = ", ".join(f"{name!r} {kind}" for name, kind in graph.inputs.items()) or "none"
            raise ValueError(f"`graph` has the inputs {listed}: a network has at least one, each with the batch first")
        self.memory = check_memory("memory", memory)
        self.graph = _frozen(graph, self.memory)
        self.notes = tuple(notes)
        self.paths = MappingProxyType(dict(paths or {}))
        self.layouts = MappingProxyType(_layouts(self.graph, layouts or {}))
        self.version = 0
        self.winograd = check_winograd("winograd", winograd)
        self._sizes = OpenSizes(source, open_axes or {}) if source is not None else None
        self._programs = ProgramCache()
        self._replay: Replay | None = None
        self._max_bytes = check_bytes("max_bytes", max_bytes)
        self._lock = threading.Lock()
        self._weights: Weights | None = None
        self._weights_like: Network | None = None

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def input_name(self) -> str:
        """Name of the (first) input tensor."""
        return next(iter(self.graph.inputs))

    @property
    def layout(self) -> str:
        """Axes of the (first) input: "NCHW", or "NHWC" where channels are last; "NCL" and "NLC" of signals, else ""."""
        return self.layouts[self.input_name]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image, ``(C, H, W)``, of the (first) input."""
        return self.graph.inputs[self.input_name].per_image

    @property
    def output_name(self) -> str:
        """Name of the (first) output tensor."""
        return self.graph.outputs[0]

    @property
    def logits_name(self) -> str:
        """Name of the tensor that is trained and explained: the one before a final softmax or sigmoid."""
        return answer_of(self.graph, self.output_name).logits

    @property
    def dtype(self) -> str:
        """float32 or float64: what it takes and computes in."""
        kinds = self.graph.inputs.values() if self._takes_floats else self.graph.types.values()
        return next((kind.dtype for kind in kinds if kind.dtype.startswith("float")), "float32")

    @property
    def max_bytes(self) -> int | None:
        """Bound on the bytes that a call works in at a time; may be set. None: the usual ones."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int | None) -> None:
        with self._lock:
            self._max_bytes = check_bytes("max_bytes", value)
            self._replay = None  # calls that were not cut
            self._programs.clear()  # which keep the memory of such calls
            if self._sizes is not None:
                self._sizes.forget()

    @property
    def _takes_floats(self) -> bool:
        return any(kind.dtype.startswith("float") for kind in self.graph.inputs.values())

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
        return layer_records(self.graph, self.layouts)

    def summary(self) -> str:
        """Return a text of shapes, parameters, arithmetic and memory."""
        return summary(self.graph, self.layouts)

    def find(self, name: str, *, what: str = "layer") -> str:
        """Return the one tensor that `name` means: a tensor, a node, a module path, a glob or a unique ending.

        Raises
        ------
        ValueError
            `name` is unknown or ambiguous; the message, which calls it `what`, lists the five nearest.
        """
        return find(self.graph, name, what=what, paths=self.paths)

    # -- running -------------------------------------------------------------------------------------------------------

    def __call__(self, images: Any = None, /, *more: npt.ArrayLike, **named: npt.ArrayLike) -> Any:
        """Compute the outputs, as inference.

        Parameters
        ----------
        images : ndarray of shape (N, C, H, W), float32 (float64 after ``astype``)
            In the input's own axes: (N, H, W, C) where ``net.layout`` is "NHWC". Of a network of several inputs, the
            first, or all of them as a mapping of names to arrays.
        *more, **named
            The other inputs, in order or by name.

        Returns
        -------
        ndarray, or dict of name to ndarray where the network has several outputs

        Raises
        ------
        TypeError, ValueError
            dtype or shape do not fit; the message says what to do.

        Notes
        -----
        Where a file leaves height and width open, the first images of a size compile the network for it.
        """
        if more or named:
            return self._outputs(self._gathered((images, *more), named))
        if self._sizes is not None or len(self.graph.inputs) > 1:
            return self._outputs(images)
        replay = self._replay or self._new_replay()
        result = replay.call((images,), None)
        if result is NotImplemented:
            return replay.first(self._outputs, (images,), {})
        return self._outputs(images) if result is None else result

    def _outputs(self, images: Any) -> Any:
        results = self._forward(images, self.graph.outputs)
        return results if len(self.graph.outputs) > 1 else results[self.output_name]

    def _new_replay(self) -> Replay:
        """The calls of the current version; a call that began with another one is recorded among those, for nobody."""
        from ..program import Replay, ReplayTable

        with self._lock:
            if self._replay is None:
                self._replay = Replay(ReplayTable(REPLAYS), ("images",))
            return self._replay

    def activations(self, images: Any, names: str | Iterable[str]) -> dict[str, Array]:
        """Compute the tensors inside the network.

        Parameters
        ----------
        images : ndarray of shape (N, C, H, W), or mapping of input name to ndarray
        names : str or iterable of str
            Layers by name, ending or glob; ``"*"`` is every one.

        Returns
        -------
        dict of str to ndarray
            By the tensors' full names, in the order asked for.
        """
        return self._forward(images, find_all(self.graph, names, paths=self.paths))

    def _forward(self, images: Any, outputs: Sequence[str]) -> dict[str, Array]:
        if self._sizes is not None and (fitting := self.fitting(images)) is not self:
            return fitting._forward(images, outputs)
        checked = self.check_inputs(images)
        wanted = tuple(name for name in outputs if name not in checked)
        results = dict(checked)
        if wanted:
            program = self.program(("forward", wanted), lambda: self._forward_graph(wanted))
            needed = checked if len(checked) == 1 else {name: checked[name] for name in program.inputs("forward")}
            results |= run(program, "forward", needed, self.weights, self.max_bytes)
        return {name: results[name] for name in outputs}

    def _forward_graph(self, outputs: tuple[str, ...]) -> tuple[Graph, dict[str, Entry]]:
        from ..program import Entry

        graph = self.graph.subgraph(outputs)
        return graph, {"forward": Entry(inputs=tuple(graph.inputs), outputs=outputs)}

    def check_images(self, images: npt.ArrayLike, *, name: str = "images") -> Array:
        """Return `images` as the network takes them, or raise an error that says what to do, calling them `name`."""
        if len(self.graph.inputs) > 1:
            raise TypeError(
                f"`{name}` is one array, the network takes {', '.join(map(repr, self.graph.inputs))}: give a mapping "
                "of these names to arrays"
            )
        source = self.input_name
        kind = self.graph.inputs[source]
        rows = None if kind.dtype.startswith("float") else table_rows(self.graph).get(source)
        return check_images(name, images, kind, self.layouts[source], rows)

    def check_inputs(self, images: Any, *, name: str = "images") -> dict[str, Array]:
        """Return every input as the network takes it, by name.

        Parameters
        ----------
        images : array_like, or mapping of input name to array_like
        name : str
            What errors call the array of a network's only input.
        """
        if type(images) is np.ndarray or not isinstance(images, Mapping):  # the second takes long
            return {self.input_name: self.check_images(images, name=name)}
        return check_inputs(images, self.graph.inputs, self.layouts, table_rows(self.graph))

    def _gathered(self, placed: tuple[Any, ...], named: Mapping[str, npt.ArrayLike]) -> Any:
        """The inputs of a call by name."""
        names = list(self.graph.inputs)
        if len(placed) == 1 and placed[0] is None:
            placed = ()
            if list(named) == ["images"] and len(names) == 1:
                return named["images"]
        if len(placed) == 1 and isinstance(placed[0], Mapping):
            return {**placed[0], **named}
        if len(placed) > len(names):
            raise TypeError(f"the network takes {', '.join(map(repr, names))}, not {len(placed)} inputs")
        given = dict(zip(names, placed, strict=False))
        twice = [name for name in named if name in given]
        if twice:
            raise TypeError(f"`{twice[0]}` is given twice, by position and by name")
        return {**given, **named}

    def fitting(self, images: Any) -> Network:
        """The network for the size of `images`: this one, unless the file that it is from leaves sizes open."""
        if self._sizes is None:
            return self
        if isinstance(images, Mapping):
            shapes = self._sizes.wanted(self, images)
        else:
            shapes = self._sizes.wanted(self, {self.input_name: images}, "images")
        return self if shapes is None else self._sizes.network(self, shapes)

    def follow(self, net: Network, key: Hashable) -> None:
        """Keep Programs in the cache of `net`, under `key`; share its packed weights, its choices and bounds."""
        self.winograd, self.memory = net.winograd, net.memory
        self._max_bytes = net.max_bytes
        self._programs = net._programs.within(key)
        self._weights_like = net

    def program(
        self,
        key: Hashable,
        build: Callable[[], tuple[Graph, Mapping[str, Entry]]],
        *,
        updates: Mapping[str, str] | None = None,
        inside: Collection[str] | None = None,
        blocked: Collection[str] = (),
        tiled: Collection[str] | None = None,
    ) -> Program:
        """Return the Program kept under `key`; on a miss, compile what `build` returns.

        Parameters
        ----------
        key : hashable
            Says everything that the graph of `build` depends on, but for the weights.
        build : callable
            Returns a graph over this network's constants and the entry points to compile.
        updates, inside, blocked, tiled
            See :func:`convlens.program.compile`.
        """

        def make() -> Program:
            from ..program import compile as compile_program

            graph, entries = build()
            return compile_program(
                graph,
                entries,
                dtype=self.dtype,
                updates=updates,
                inside=inside,
                blocked=blocked,
                winograd=self.winograd,
                tiled=tiled,
                memory=self.memory,
            )

        return self._programs.get(key, make)

    def kept(self, key: Hashable) -> Any:
        """Return what :meth:`keep` left under `key`, None without."""
        return self._programs.kept(key)

    def keep(self, key: Hashable, program: Program, what: Any) -> None:
        """Leave something beside a Program, for its next call: until that is dropped, or new parameters are published.

        A call that was under way then may leave something of the old ones: compare their graph.
        """
        self._programs.keep(key, program, what)

    # -- weights -------------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Weights:
        """The weights of the current version, packed at first use and shared by every Program."""
        if (weights := self._weights) is not None:
            return weights
        with self._lock:
            if self._weights is None:
                from ..program import Weights

                like = None if self._weights_like is None else self._weights_like.weights
                self._weights = Weights(self.graph.constants, like=like)
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
            self.graph = _frozen(dataclasses.replace(graph, constants=constants), self.memory)
            self._weights = None
            self._replay = None
            self._programs.forget()
            self.version += 1
            if self._sizes is not None:
                self._sizes.forget()

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
        made = self._made()
        if self._sizes is not None:
            made["source"] = Converted(self._sizes.source, name)
        return Network(graph=_converted(self.graph, name), **made)

    def _said(self) -> Said:
        """What is known beside the graph, which copies and files keep."""
        return {"notes": list(self.notes), "paths": dict(self.paths), "layouts": dict(self.layouts)}

    def _made(self) -> dict[str, Any]:
        """What it was made from, beside its graph."""
        options = {"winograd": self.winograd, "memory": self.memory, "max_bytes": self.max_bytes}
        made: dict[str, Any] = {**self._said(), **options}
        if self._sizes is not None:
            made |= {"source": self._sizes.source, "open_axes": self._sizes.open_axes}
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write graph, weights, notes and module paths to one file, .npz or .safetensors (extra ``[safetensors]``).

        The file at `path` is replaced when the new one is whole. ``nn.load`` reads it; so does ``np.load``. It is of
        one size of images, ``net.input_shape``, whatever a file that the network is from leaves open.

        See Also
        --------
        convlens.onnx.export : Write an ONNX file.
        """
        said = self._said()
        said["layouts"] = {name: each for name, each in self.layouts.items() if _layouts(self.graph, {})[name] != each}
        save_graph(self.graph, path, said)

    def __repr__(self) -> str:
        given = (
            f"{name} {kind}{'' if channels_first(self.layouts[name]) else ' ' + self.layouts[name]}"
            for name, kind in self.graph.inputs.items()
        )
        kinds = f"{', '.join(given)} -> {', '.join(self.graph.outputs)}"
        count = sum(array.size for array in self.parameters.values())
        return f"Network({kinds}; {len(self.graph.nodes)} layers, {count:,} parameters, version {self.version})"

    def __getstate__(self) -> dict[str, Any]:
        graph = self.graph
        return {
            "graph": graph_to_json(graph),
            "constants": dict(graph.constants),
            "version": self.version,
            "made": self._made(),
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
    winograd, memory, max_bytes
        As :class:`Network` takes them.

    Examples
    --------
    >>> from convlens import nn
    >>> net = nn.Sequential(
    ...     nn.Conv2d(out_channels=32, kernel_size=3), nn.ReLU(), nn.MaxPool2d(kernel_size=2), nn.Flatten(),
    ...     nn.Linear(out_features=10), input_shape=(1, 28, 28), seed=0)
    >>> [layer.shape for layer in net.layers()]
    [('N', 32, 26, 26), ('N', 32, 26, 26), ('N', 32, 13, 13), ('N', 5408), ('N', 10)]
    """

    def __init__(
        self,
        *layers: Layer,
        input_shape: Sequence[int],
        seed: int = 0,
        winograd: bool | str = True,
        memory: str = "fast",
        max_bytes: int | None = None,
    ) -> None:
        from ._layer import Input

        if not layers:
            raise TypeError("Sequential needs at least one layer")
        x = source = Input(input_shape)
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = "unpack the list with *" if isinstance(layer, (list, tuple)) else "build it with ()"
                raise TypeError(f"`layers[{position}]` (={layer!r}) is not a layer: {hint}")
            x = layer(x)
        options: dict[str, Any] = {"winograd": winograd, "memory": memory, "max_bytes": max_bytes}
        super().__init__(inputs=source, outputs=x, seed=seed, **options)


def load(
    path: str | os.PathLike[str], *, winograd: bool | str = True, memory: str = "fast", max_bytes: int | None = None
) -> Network:
    """Read a network from what ``net.save`` wrote; ``convlens.load`` reads ONNX files too.

    Parameters
    ----------
    path : path-like
        An .npz, or a .safetensors file (extra ``[safetensors]``).
    winograd, memory, max_bytes
        As :class:`Network` takes them.

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
    return Network(graph=graph, winograd=winograd, memory=memory, max_bytes=max_bytes, **said)


def _described(inputs: Tensor | Sequence[Tensor], outputs: Tensor | Sequence[Tensor], seed: int) -> Graph:
    ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    sources: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not sources or not all(isinstance(source, Tensor) and source.layer is None for source in sources):
        raise TypeError(f"`inputs` (={inputs!r}) must be what nn.Input returned, or several of it")
    if not ends or not all(isinstance(end, Tensor) for end in ends):
        raise TypeError(f"`outputs` (={outputs!r}) must be the tensor, or the tensors, that layers returned")
    return build_graph(sources, ends, seed=seed, dtype="float32")


def _layouts(graph: Graph, given: Mapping[str, str]) -> dict[str, str]:
    """The layout of every input: as given, as the graph says, or channels first."""
    unknown = [name for name in given if name not in graph.inputs]
    if unknown:
        raise ValueError(f"`layouts` names {unknown[0]!r}; the inputs are {', '.join(map(repr, graph.inputs))}")
    return {
        name: check_layout(given[name], kind, name)
        if given.get(name)
        else layout_of(graph, name) or default_layout(kind)
        for name, kind in graph.inputs.items()
    }


def _frozen(graph: Graph, memory: str) -> Graph:
    """The graph with read-only views of its constants, so that weights change through `set_parameters` alone."""
    constants = {}
    for name, array in (spilled(graph.constants) if memory == "low" else graph.constants).items():
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
