"""The training graph: forward in training mode, loss, backward, and the update of every parameter."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import BATCH, Graph, GraphBuilder, Node
from ..transform import backward, expand_dropout
from ._optimizers import Optimizer


@dataclass(frozen=True)
class TrainingGraph:
    """A graph of one step and what its tensors mean.

    Attributes
    ----------
    graph : Graph
    images, labels, loss, logits : str
        Tensors: (N, C, H, W) and int64 (N,) go in, (N,) and (N, classes) come out.
    loss_gradient : str
        Input (N,): the weight of each image in the gradient, 1 / N for the mean.
    scalars : mapping of str to str
        The optimizer's numbers and the inputs that take them.
    corrections : mapping of str to int
        Inputs that take ``m / (m - 1)`` for ``m = N * value``, which unbiases the batch's variance.
    dropout_key : str
        Input that takes (seed, step), int64; "" for a network without dropout.
    updates : mapping of str to str
        State and the tensors of its new values.
    state : mapping of str to ndarray
        State's initial values: parameters, the optimizer's slots, running statistics.
    """

    graph: Graph
    images: str
    labels: str
    loss: str
    logits: str
    loss_gradient: str
    scalars: Mapping[str, str]
    corrections: Mapping[str, int]
    dropout_key: str
    updates: Mapping[str, str]
    state: Mapping[str, npt.NDArray[Any]]


@dataclass
class _Statistics:
    """What batch normalisation adds beside the forward pass."""

    updates: dict[str, str] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)


def training_graph(
    graph: Graph, logits: str, trainable: Collection[str], followed: Collection[str], optimizer: Optimizer
) -> TrainingGraph:
    """Build the step of softmax cross-entropy on `logits`.

    Parameters
    ----------
    graph : Graph
        The network, its parameters as constants.
    logits : str
        Tensor of shape (N, classes).
    trainable : collection of str
        Constants to learn.
    followed : collection of str
        Running statistics to follow; a batch normalisation whose statistics are not among them runs as in inference.
    optimizer : Optimizer
    """
    graph = graph.subgraph([logits])
    builder = GraphBuilder()
    ((images, kind),) = graph.inputs.items()
    builder.input(images, kind.dtype, kind.shape)
    state: dict[str, npt.NDArray[Any]] = {}
    for name, value in graph.constants.items():
        if name in trainable or name in followed:
            builder.input(name, value.dtype.name, value.shape)
            state[name] = value
        else:
            builder.constant(value, name)
    statistics = _Statistics()
    dropout_key = ""
    for node in graph.nodes:
        if node.op == "BatchNormalization" and node.inputs[3] in followed:
            _batch_normalization(builder, node, statistics)
        elif node.op == "Dropout":
            dropout_key = dropout_key or builder.input(builder.fresh("dropout_key"), "int64", (2,))
            ratio = float(builder.constants[node.inputs[1]]) if len(node.inputs) > 1 and node.inputs[1] else 0.5
            number = zlib.crc32(node.name.encode())  # of the name, so that other layers' masks stay as layers are added
            expand_dropout(
                builder, node.inputs[0], dropout_key, ratio, node=number, name=node.name, outputs=node.outputs[:1]
            )
        else:
            builder.add(node.op, node.inputs, node.attributes, name=node.name, outputs=node.outputs)
    labels = builder.input(builder.fresh("labels"), "int64", (BATCH,))
    outputs = [builder.fresh("loss"), builder.fresh("log_probabilities")]
    loss = builder.add("SoftmaxCrossEntropyLoss", [logits, labels], {"reduction": "none"}, outputs=outputs)
    seed = builder.fresh("loss_gradient")
    learned = [name for name in state if name in trainable]
    whole, gradients = backward(builder.build([loss, logits, *statistics.updates.values()]), loss, learned, seed=seed)

    builder = GraphBuilder(whole)
    updates = dict(statistics.updates)
    scalars = {name: builder.input(f"optimizer/{name}", kind.dtype, ()) for name in optimizer.scalars(1, 1.0)}
    for name in learned:
        slots = {}
        for slot in optimizer.slots:
            slots[slot] = builder.input(f"{name}/{slot}", kind.dtype, state[name].shape)
            state[slots[slot]] = np.zeros_like(state[name])
        updates[name], news = optimizer.update(builder, name, gradients[name], slots, scalars)
        updates.update({slots[slot]: tensor for slot, tensor in news.items()})
    return TrainingGraph(
        graph=builder.build([loss, logits, *updates.values()]),
        images=images,
        labels=labels,
        loss=loss,
        logits=logits,
        loss_gradient=seed,
        scalars=scalars,
        corrections=statistics.corrections,
        dropout_key=dropout_key,
        updates=updates,
        state=state,
    )


def _batch_normalization(builder: GraphBuilder, node: Node, statistics: _Statistics) -> None:
    """Normalise by the batch, and let the running statistics follow it.

    A layer used twice normalises each use by its own batch; the statistics follow the first use, then the second.
    """
    x, scale, bias, running_mean, running_var = node.inputs
    kind = builder.types[x]
    channels = kind.per_image[0]
    per_image = int(np.prod(kind.per_image[1:]))

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        return builder.add(op, inputs, attributes, name=builder.fresh(f"{node.name}/{op.lower()}"))

    def number(value: float) -> str:
        return builder.constant(np.array(value, kind.dtype))

    def shaped(vector: str, shape: tuple[int, ...]) -> str:
        return add("Reshape", vector, builder.constant(np.array(shape, np.int64)))

    rank = len(kind.shape)
    row, column = (channels,), (1, channels, *(1,) * (rank - 2))
    axes = builder.constant(np.array([0, *range(2, rank)], np.int64))
    mean = add("ReduceMean", x, axes, keepdims=1)
    centred = add("Sub", x, mean)
    variance = add("ReduceMean", add("Mul", centred, centred), axes, keepdims=1)
    deviation = add("Sqrt", add("Add", variance, number(node.attributes.get("epsilon", 1e-5))))
    normal = add("Div", centred, deviation)
    scaled = add("Mul", normal, shaped(scale, column))
    builder.add("Add", [scaled, shaped(bias, column)], name=node.name, outputs=node.outputs)

    keep = float(node.attributes.get("momentum", 0.9))
    correction = builder.input(builder.fresh(f"{node.name}/correction"), kind.dtype, ())
    statistics.corrections[correction] = per_image
    unbiased = add("Mul", shaped(variance, row), correction)
    for running, batch in ((running_mean, shaped(mean, row)), (running_var, unbiased)):
        before = statistics.updates.get(running, running)
        statistics.updates[running] = add("Add", add("Mul", before, number(keep)), add("Mul", batch, number(1 - keep)))
