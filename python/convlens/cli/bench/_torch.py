"""PyTorch, eager: the functions its users' modules call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import UnsupportedError
from ...graph import BATCH, ConvProblem, Graph, Node, attribute, call_of, window_of
from ._call import Call, has_both_bounds, unsupported
from ._case import Case

_Step = Callable[..., Any]


def make(case: Case, threads: int) -> Call:
    """Contiguous tensors."""
    return _make(case, threads, channels_last=False)


def make_channels_last(case: Case, threads: int) -> Call:
    """Tensors and weights are channels-last before the clock starts."""
    return _make(case, threads, channels_last=True)


def _make(case: Case, threads: int, *, channels_last: bool) -> Call:
    import torch

    torch.set_num_threads(threads)
    form = torch.channels_last if channels_last else torch.contiguous_format

    def tensor(array: Any) -> Any:
        made = torch.from_numpy(array.copy())
        return made.contiguous(memory_format=form) if made.ndim == 4 else made

    if case.problem is not None and case.problem.direction != "fwd":
        run = _derivative(case, {name: tensor(array) for name, array in case.arrays.items()})
    else:
        constants = {name: tensor(array) for name, array in case.graph.constants.items()}
        run = _forward(case.graph, constants, tensor(case.arrays["x"]))

    def inference() -> Any:
        with torch.inference_mode():
            return run()

    return Call(inference, lambda y: y.contiguous().numpy())


def _derivative(case: Case, a: dict[str, Any]) -> Callable[[], Any]:
    """What autograd calls for the gradient wanted, alone."""
    import torch

    aten = torch.ops.aten
    p = case.problem
    assert p is not None
    (top, left, bottom, right), stride = p.pads, list(p.stride)
    if (top, left) != (bottom, right):
        raise UnsupportedError("PyTorch's derivatives take symmetric padding")
    pads, dy, x = [top, left], a["grad_output"], a["x"]
    if isinstance(p, ConvProblem):
        mask = [p.direction == "grad_input", p.direction == "grad_weight", False]
        dilation, weight, index = list(p.dilation), a["weight"], mask.index(True)
        return lambda: aten.convolution_backward(
            dy, x, weight, None, stride, pads, dilation, False, [0, 0], p.groups, mask
        )[index]
    kernel = [p.r, p.s]
    if p.kind == "avg":
        return lambda: aten.avg_pool2d_backward(dy, x, kernel, stride, pads, False, True, None)
    indices = a["indices"]
    return lambda: aten.max_pool2d_with_indices_backward(dy, x, kernel, stride, pads, [1, 1], False, indices)


def _forward(graph: Graph, constants: dict[str, Any], x: Any) -> Callable[[], Any]:
    steps = [(_step(node, graph), [i for i in node.inputs if i], node.outputs[0]) for node in graph.nodes]
    output = graph.outputs[0]

    def run() -> Any:
        values = dict(constants)
        values[next(iter(graph.inputs))] = x
        for step, inputs, name in steps:
            values[name] = step(*(values[i] for i in inputs))
        return values[output]

    return run


def _step(node: Node, graph: Graph) -> _Step:
    """The function of one node, its attributes bound."""
    import torch
    import torch.nn.functional as F

    simple: dict[str, _Step] = {
        "Relu": torch.relu,
        "Clip": torch.clamp,
        "Add": torch.add,
        "Sub": torch.sub,
        "Mul": torch.mul,
        "Div": torch.div,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "Identity": lambda x: x,
        "Flatten": lambda x: torch.flatten(x, 1),
        "GlobalAveragePool": lambda x: F.adaptive_avg_pool2d(x, 1),
    }
    if node.op in simple and (node.op != "Clip" or has_both_bounds(node)):
        return simple[node.op]
    if node.op in ("Conv", "MaxPool", "AveragePool"):
        return _window_step(node, graph)
    if node.op == "Gemm" and attribute(node, "alpha") == 1 == attribute(node, "beta") and not attribute(node, "transA"):
        return F.linear if attribute(node, "transB") else lambda x, w, b=None: F.linear(x, w.T, b)
    if node.op in ("Softmax", "LogSoftmax"):
        axis = int(attribute(node, "axis"))
        function = torch.softmax if node.op == "Softmax" else torch.log_softmax
        return lambda x: function(x, axis)
    if node.op == "Reshape":
        kind = graph.types[node.outputs[0]]
        if kind.shape[0] == BATCH:
            return lambda x, _: x.reshape(len(x), *kind.per_image)
    if node.op == "BatchNormalization":
        eps = float(attribute(node, "epsilon"))
        return lambda x, weight, bias, mean, var: F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)
    if node.op == "Pad" and attribute(node, "mode") == "constant" and len(node.inputs) == 2:
        before_after = [int(v) for v in call_of(node, graph.types, graph.constants).constant("pads")]
        rank = len(before_after) // 2
        pads = [v for axis in reversed(range(rank)) for v in (before_after[axis], before_after[axis + rank])]
        return lambda x, _: F.pad(x, pads)
    raise unsupported("PyTorch", node.op)


def _window_step(node: Node, graph: Graph) -> _Step:
    import torch.nn.functional as F

    window = window_of(node, graph.types)
    top, left, bottom, right = window.pads
    even = (top, left) == (bottom, right)
    pads, sides = (top, left) if even else (0, 0), (left, right, top, bottom)
    if node.op == "Conv":
        groups = int(attribute(node, "group"))
        if even:
            return lambda x, w, b=None: F.conv2d(x, w, b, window.stride, pads, window.dilation, groups)
        return lambda x, w, b=None: F.conv2d(F.pad(x, sides), w, b, window.stride, 0, window.dilation, groups)
    if not even:
        raise unsupported("PyTorch", f"{node.op} with asymmetric padding")
    if node.op == "MaxPool":
        return lambda x: F.max_pool2d(x, window.kernel, window.stride, pads, window.dilation, window.ceil_mode)
    counted = bool(attribute(node, "count_include_pad"))
    return lambda x: F.avg_pool2d(x, window.kernel, window.stride, pads, window.ceil_mode, counted)
