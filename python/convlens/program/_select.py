"""Second pass: runs of nodes become one instruction each. The graph is not rewritten; ops are claimed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..graph import one_row, pad_widths, resizing_of, window_of
from ._expression import apply
from ._flow import ELEMENTWISE, Flow, Geometry, Op, Step, chw
from ._resize import MOST_ATTRIBUTES, resize_attributes

Matcher = Callable[["Selection", Op], Step]


class Selection:
    """The ops not yet claimed, and the matchers' common moves."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.claimed: set[Op] = set()

    def step(
        self, op: str, inputs: list[str], outputs: list[str], attributes: list[int | float], ops: list[Op]
    ) -> Step:
        """Claim `ops` for one instruction."""
        self.claimed.update(ops)
        return Step(op, inputs, outputs, attributes, ops, ops[0].entry)

    def follow(self, name: str, entry: int, *wanted: str) -> Op | None:
        """The op that alone reads `name`, when it is one of `wanted` and free."""
        user = self.flow.only_use(name, entry)
        return user if user is not None and user.op in wanted and user not in self.claimed else None

    def residual(self, op: Op, name: str) -> str:
        """The other operand of an Add when it is a full tensor of the same shape; else ''."""
        other = self.flow.other(op, name)
        if not self.flow.dynamic(other) or not self.flow.types[other].batched or not self.flow.native(other):
            return ""
        return other if chw(self.flow.types[other]) == chw(self.flow.types[name]) else ""

    def zero_outside(self, op: Op, name: str) -> str:
        """The mask of `Where(mask, name, 0)`; '' for any other Where."""
        mask, kept, otherwise = op.inputs
        same = self.flow.root_of(kept) == self.flow.root_of(name) and self.flow.immediates.get(otherwise) == 0.0
        return mask if same and self.flow.dynamic(mask) and self.flow.native(mask) else ""

    def activation(self, y: str, entry: int) -> tuple[list[Op], str, list[int | float], str]:
        """Relu or Clip after `y` and the mask of it: (ops, the output, attributes, the mask or '')."""
        user = self.follow(y, entry, "Relu", "Clip")
        if user is None:
            return [], y, [0, 0.0, 0.0], ""
        out = user.outputs[0]
        if user.op == "Relu":
            mask = self.mask_of(out, entry)
            return [user, *([mask] if mask else [])], out, [1, 0.0, 0.0], mask.outputs[0] if mask else ""
        bounds = [self.flow.immediates.get(name) if name else None for name in [*user.inputs[1:], "", ""][:2]]
        if any(name and b is None for name, b in zip(user.inputs[1:], bounds, strict=False)):
            return [], y, [0, 0.0, 0.0], ""
        low = -math.inf if bounds[0] is None else bounds[0]
        high = math.inf if bounds[1] is None else bounds[1]
        masks = self.inside_of(out, entry, bounds)
        return [user, *masks], out, [2, low, high], masks[-1].outputs[0] if masks else ""

    def mask_of(self, y: str, entry: int) -> Op | None:
        """A free `Greater(y, 0)`."""
        for user in self.flow.uses(y):
            if user.op == "Greater" and user.entry == entry and user not in self.claimed:
                a, b = user.inputs
                if self.flow.root_of(a) == y and self.flow.immediates.get(b) == 0.0 and self.flow.native(a):
                    return user
        return None

    def inside_of(self, y: str, entry: int, bounds: Sequence[float | None]) -> list[Op]:
        """A free ``And(Greater(y, low), Greater(high, y))`` and what it reads, itself last."""
        sides: list[Op] = []
        for side, bound in enumerate(bounds):
            for user in self.flow.uses(y):
                if bound is None or user.op != "Greater" or user.entry != entry or user in self.claimed:
                    continue
                own, other = user.inputs[side], user.inputs[1 - side]
                if self.flow.root_of(own) == y and self.flow.native(own) and self.flow.immediates.get(other) == bound:
                    sides.append(user)
                    break
        if len(sides) < 2:
            return []
        both = {self.follow(side.outputs[0], entry, "And") for side in sides}
        mask = both.pop()
        return [*sides, mask] if not both and mask is not None else []


def select(flow: Flow) -> tuple[list[Step], list[Op]]:
    """Claim every op that is not element-wise.

    Returns
    -------
    steps : list of Step, in the order of the ops that began them
    rest : list of Op
        Element-wise ops that no step took up.

    Raises
    ------
    UnsupportedError
        When an op has no matcher; it names the node.
    """
    selection = Selection(flow)
    steps = []
    for op in flow.ops:
        if op in selection.claimed or op.op in ELEMENTWISE:
            continue
        matcher = MATCHERS.get(op.op)
        if matcher is None:
            op.unsupported(f"no instruction computes it; supported: {', '.join(sorted([*MATCHERS, *ELEMENTWISE]))}")
        steps.append(matcher(selection, op))
    return steps, [op for op in flow.ops if op.op in ELEMENTWISE and op not in selection.claimed]


def window(flow: Flow, op: Op) -> list[int | float]:
    """kernel, strides, leading pads and dilations as the instructions order them."""
    w = window_of(flow.node(op), flow.types)
    return [*w.kernel, *w.stride, w.pads[0], w.pads[1], *w.dilation]


def filters(shape: Sequence[int | str]) -> tuple[int, int, int, int]:
    """K, C / groups, R and S of a weight's shape; that of signals has one row."""
    return (int(shape[0]), int(shape[1]), *one_row(shape[2:]))


def _conv(s: Selection, op: Op, padding: Op | None = None) -> Step:
    """With bias, batch-norm, residual and activation after it, and zeros around its input before it."""
    flow = s.flow
    x, w = op.inputs[0], op.inputs[1]
    around = window(flow, op)
    if padding is not None:
        x = padding.inputs[0]
        widths = _widths(flow, padding)
        around[4], around[5] = around[4] + widths[0][0], around[5] + widths[1][0]
    bias = op.inputs[2] if len(op.inputs) > 2 else ""
    groups = int(op.attributes.get("group", 1))
    k, c, r, q = filters(flow.types[w].shape)
    y, ops, scale = op.outputs[0], [op], None
    residual = ""
    while (user := s.follow(y, op.entry, "Mul", "Add")) is not None:
        other = flow.other(user, y)
        if user.op == "Mul":
            constant = other in flow.constants and w in flow.constants and (not bias or bias in flow.constants)
            if not constant or not flow.is_channel_vector(other, y):
                break
            if any(after.op == "Round" for after in flow.uses(user.outputs[0])):
                break  # a quantised layer: sums of whole numbers stay exact
            factor = flow.constants[other].reshape((k,))
            scale = factor if scale is None else apply("Mul", scale, factor)
            if bias:
                bias = _folded(flow, "Mul", bias, other, k)
        elif flow.is_channel_vector(other, y):
            if not bias:
                bias = other
            elif bias in flow.constants and other in flow.constants:
                bias = _folded(flow, "Add", bias, other, k)
            else:
                break
        else:
            residual = s.residual(user, y)
            if residual:
                ops.append(user)
                y = user.outputs[0]
            break
        ops.append(user)
        y = user.outputs[0]
    more, y, activation, mask = s.activation(y, op.entry)
    ops += [*more, *([padding] if padding else [])]
    step = s.step("conv2d", [x, w, bias, residual], [y, mask], [*around, groups, *activation], ops)
    step.geometry, step.scale = Geometry(k, c * groups, r, q, groups), scale
    return step


def _folded(flow: Flow, op: str, a: str, b: str, channels: int) -> str:
    """A new constant: an operator over two channel vectors."""
    name = f"{op}({a}, {b})"
    flow.constants[name] = apply(op, flow.constants[a].reshape((channels,)), flow.constants[b].reshape((channels,)))
    flow.types[name] = type(flow.types[a])(flow.types[a].dtype, (channels,))
    return name


def _gradient_tail(s: Selection, dx: str, entry: int) -> tuple[list[Op], str, str, str]:
    """Add another gradient, then zero where the mask is: (ops, the output, the mask, the residual)."""
    ops: list[Op] = []
    residual = mask = ""
    user = s.follow(dx, entry, "Add")
    if user is not None:
        residual = s.residual(user, dx)
        if residual:
            ops.append(user)
            dx = user.outputs[0]
    user = s.follow(dx, entry, "Where")
    if user is not None:
        mask = s.zero_outside(user, dx)
        if mask:
            ops.append(user)
            dx = user.outputs[0]
    return ops, dx, mask, residual


def _conv_grad_input(s: Selection, op: Op) -> Step:
    """The gradient, or (with a bias) a transposed convolution."""
    flow = s.flow
    dy, w = op.inputs[:2]
    bias = op.inputs[2] if len(op.inputs) > 2 else ""
    groups = int(op.attributes.get("group", 1))
    k, c, r, q = filters(flow.types[w].shape)
    scale, before = None, []
    source = flow.producer(dy)
    free = source is not None and source.op == "Mul" and source not in s.claimed  # not by the convolution before
    if source is not None and free and w in flow.constants and s.follow(dy, source.entry, op.op) is op:
        a, b = source.inputs
        g, vector = (a, b) if b in flow.constants else (b, a)
        if vector in flow.constants and flow.is_channel_vector(vector, dy) and flow.native(g):
            scale, before, dy = flow.constants[vector].reshape((k,)), [source], g
    dx, around, cut = op.outputs[0], window(flow, op), s.follow(op.outputs[0], op.entry, "Pad")
    if cut is not None and (widths := _widths(flow, cut)) and all(side <= 0 for pair in widths for side in pair):
        # The gradient of a padded image: what lies in its padding is not computed.
        around[4], around[5] = around[4] - widths[0][0], around[5] - widths[1][0]
        before, dx = [*before, cut], cut.outputs[0]
    ops, dx, mask, residual = _gradient_tail(s, dx, op.entry)
    step = s.step("conv2d_grad_input", [dy, w, mask, residual, bias], [dx], [*around, groups], [op, *before, *ops])
    step.geometry, step.scale = Geometry(k, c * groups, r, q, groups), scale
    return step


def _conv_grad_weight(s: Selection, op: Op) -> Step:
    flow = s.flow
    groups = int(op.attributes.get("group", 1))
    k, c, r, q = filters(op.attributes["weight_shape"])
    step = s.step("conv2d_grad_weight", op.inputs[:2], op.outputs[:1], [*window(flow, op), groups], [op])
    step.geometry = Geometry(k, c * groups, r, q, groups)
    return step


def _linear(s: Selection, op: Op) -> Step:
    flow = s.flow
    x, w, bias = op.inputs
    y, ops = op.outputs[0], [op]
    if bias and not flow.is_channel_vector(bias, y):
        op.unsupported(f"c is {flow.types[bias]}; supported: one number an output feature, not batched")
    if not bias and (user := s.follow(y, op.entry, "Add")) is not None:
        other = flow.other(user, y)
        if flow.is_channel_vector(other, y):
            bias, y = other, user.outputs[0]
            ops.append(user)
    more, y, activation, mask = s.activation(y, op.entry)
    step = s.step("linear", [x, w, bias], [y, mask], activation, ops + more)
    step.geometry = op.attributes["geometry"]
    return step


def _linear_grad_input(s: Selection, op: Op) -> Step:
    ops, dx, mask, residual = _gradient_tail(s, op.outputs[0], op.entry)
    # A claimed Where or Add sees the bytes in the shape of the weight, not flat.
    s.flow.base[dx] = s.flow.base_of(op.outputs[0])
    step = s.step("linear_grad_input", [*op.inputs, mask, residual], [dx], [], [op, *ops])
    step.geometry = op.attributes["geometry"]
    return step


def _linear_grad_weight(s: Selection, op: Op) -> Step:
    step = s.step("linear_grad_weight", op.inputs, op.outputs, [], [op])
    step.geometry = op.attributes["geometry"]
    return step


def _max_pool(s: Selection, op: Op) -> Step:
    """MaxPool and MaxPoolOffset of one tensor, in whichever order they come."""
    values, offsets, ops = op.outputs[0] if op.op == "MaxPool" else "", "", [op]
    if op.op == "MaxPoolOffset":
        offsets = op.outputs[0]
    if op.op == "MaxPool" and len(op.outputs) > 1 and op.outputs[1]:
        op.unsupported("its second output is not supported; use MaxPoolOffset")
    kind = s.flow.types[op.outputs[0]].shape
    for user in s.flow.uses(op.inputs[0]):
        twin = {op.op, user.op} == {"MaxPool", "MaxPoolOffset"} and user.entry == op.entry
        if (
            twin
            and user not in s.claimed
            and window(s.flow, user) == window(s.flow, op)
            and s.flow.types[user.outputs[0]].shape == kind
        ):
            ops.append(user)
            values, offsets = values or user.outputs[0], offsets or user.outputs[0]
            break
    if not values:
        values = f"{offsets}/values"
        s.flow.types[values] = type(s.flow.types[offsets])(s.flow.types[op.inputs[0]].dtype, kind)
    return s.step("max_pool2d", [op.inputs[0]], [values, offsets], window(s.flow, op), ops)


def _average(flow: Flow, op: Op) -> list[int | float]:
    _, _, bottom, right = window_of(flow.node(op), flow.types).pads
    return [*window(flow, op), int(op.attributes.get("count_include_pad", 0)), bottom, right]


def _max_pool_grad(s: Selection, op: Op) -> Step:
    return s.step("max_pool2d_grad", op.inputs, op.outputs, window(s.flow, op), [op])


def _average_pool(s: Selection, op: Op) -> Step:
    return s.step("avg_pool2d", op.inputs, op.outputs[:1], _average(s.flow, op), [op])


def _average_pool_grad(s: Selection, op: Op) -> Step:
    return s.step("avg_pool2d_grad", op.inputs, op.outputs, _average(s.flow, op), [op])


def _global_average_pool(s: Selection, op: Op) -> Step:
    return s.step("reduce", op.inputs, op.outputs, [4, 1], [op])


def _global_max_pool(s: Selection, op: Op) -> Step:
    return s.step("reduce", op.inputs, op.outputs, [4, 2], [op])


def _reduce(s: Selection, op: Op) -> Step:
    flow = s.flow
    kind, x = flow.types[op.inputs[0]], op.inputs[0]
    rank = len(kind.shape)
    axes = op.attributes["axes"]
    code = {"ReduceSum": 0, "ReduceMean": 1, "ReduceMax": 2}[op.op]
    if not kind.batched:
        rows = flow.base_of(x)[1:] != (1, 1)
        return s.step("reduce", [x], op.outputs, [4 if rows else 2, code], [op])
    if axes == (0,) and op.op == "ReduceSum" and (update := _running_sum(s, op)):
        total, assign = update
        state = assign.attributes["state"]
        step = s.step("accumulate", [x, state], total.outputs[:1], [], [op, total, assign])
        step.assigns = {state: "0"}
        return step
    bits = (1 if 0 in axes else 0) | (2 if 1 in axes else 0) | (4 if any(a >= 2 for a in axes) else 0)
    if all(a in axes for a in range(1, rank) if kind.shape[a] != 1):
        bits, x = bits | 6, flow.root_of(x)  # over all of an image, whatever its shape
    return s.step("reduce", [x], op.outputs, [bits, code], [op])


def _running_sum(s: Selection, op: Op) -> tuple[Op, Op] | None:
    """The Add and the Assign of a sum over images that only goes on a state: ``state = state + sum``."""
    total = s.follow(op.outputs[0], op.entry, "Add")
    if total is None:
        return None
    state, assign = s.flow.other(total, op.outputs[0]), s.follow(total.outputs[0], op.entry, "Assign")
    goes_on = assign is not None and assign.attributes["state"] == state
    alike = chw(s.flow.types[state]) == chw(s.flow.types[op.outputs[0]])
    return (total, assign) if assign is not None and goes_on and alike and state in s.flow.updates else None


def _softmax(s: Selection, op: Op) -> Step:
    kind = s.flow.types[op.inputs[0]]
    axis = int(op.attributes.get("axis", -1)) % len(kind.shape)
    if not kind.batched or axis != 1:
        op.unsupported(f"axis {axis} of {kind}; supported: axis 1 of a batched tensor")
    return s.step("softmax", op.inputs, op.outputs, [int(op.op == "LogSoftmax")], [op])


def _widths(flow: Flow, pad: Op) -> list[tuple[int, int]]:
    """What a Pad puts before and after rows and columns."""
    widths = pad_widths(flow.call(pad))
    return list(widths[2:]) if len(widths) == 4 else [(0, 0), widths[2]]


def _is_padding_of(flow: Flow, conv: Op, widths: list[tuple[int, int]]) -> bool:
    """Whether zeros before a convolution could be its own padding: no window lies in them alone."""
    w = window_of(flow.node(conv), flow.types)
    reach = [(size - 1) * step for size, step in zip(w.kernel, w.dilation, strict=True)]
    own = [(w.pads[i], w.pads[i + 2]) for i in range(2)]
    return all(
        side >= 0 and side + mine <= most
        for pair, pads, most in zip(widths, own, reach, strict=True)
        for side, mine in zip(pair, pads, strict=True)
    )


def _pad(s: Selection, op: Op) -> Step:
    flow, value = s.flow, 0.0
    if len(op.inputs) > 2 and op.inputs[2]:
        value = flow.immediates[op.inputs[2]]
    widths = _widths(flow, op)
    user = s.follow(op.outputs[0], op.entry, "Conv") if value == 0 else None
    if user is not None and flow.root_of(user.inputs[0]) == op.outputs[0] and _is_padding_of(flow, user, widths):
        return _conv(s, user, op)
    return s.step("reorder", op.inputs[:1], op.outputs, [widths[0][0], widths[1][0], value], [op])


def _crop(s: Selection, op: Op) -> Step:
    return s.step("reorder", op.inputs, op.outputs, [op.attributes["top"], op.attributes["left"], 0.0], [op])


def _join(s: Selection, op: Op) -> Step:
    how = [op.attributes[name] for name in ("axis", "start", "groups")]
    return s.step("concat", op.inputs, op.outputs, how, [op])


def _copy(s: Selection, op: Op) -> Step:
    return s.step("strided_copy", op.inputs, op.outputs, list(op.attributes["walk"]), [op])


def _resize(s: Selection, op: Op) -> Step:
    attributes = resize_attributes(resizing_of(s.flow.call(op)), gradient=op.op == "ResizeGrad")
    if len(attributes) > MOST_ATTRIBUTES:
        op.unsupported(
            f"its rows and columns take {len(attributes)} numbers to describe; at most {MOST_ATTRIBUTES} are supported"
        )
    return s.step("resize", op.inputs[:1], op.outputs, attributes, [op])


def _cross_entropy(s: Selection, op: Op) -> Step:
    """The loss, with the log-probabilities its gradient reads when a LogSoftmax of the same logits asks for them."""
    logits, ops = op.inputs[0], [op]
    log_prob = op.outputs[1] if len(op.outputs) > 1 else ""
    if not log_prob:
        for user in s.flow.uses(logits):
            free = user.op == "LogSoftmax" and user.entry == op.entry and user not in s.claimed
            if free and s.flow.root_of(user.inputs[0]) == s.flow.root_of(logits) and s.flow.native(user.inputs[0]):
                log_prob = user.outputs[0]
                ops.append(user)
                break
    return s.step("cross_entropy", op.inputs, [op.outputs[0], log_prob], [], ops)


def _cross_entropy_grad(s: Selection, op: Op) -> Step:
    return s.step("cross_entropy_grad", op.inputs, op.outputs, [], [op])


def _dropout_mask(s: Selection, op: Op) -> Step:
    share, node = float(s.flow.call(op).attribute("ratio")), int(s.flow.call(op).attribute("node"))
    return s.step("dropout_mask", op.inputs, op.outputs, [round(share * 2**32), node], [op])


def _arg_max(s: Selection, op: Op) -> Step:
    least, last = op.op == "ArgMin", bool(op.attributes["last"])
    return s.step("arg_max", op.inputs, op.outputs, [int(least), int(last)], [op])


def _matmul(s: Selection, op: Op) -> Step:
    return s.step("matmul", op.inputs, op.outputs, [1, 1, 1, 1, 0, 0, 1, 1, op.attributes["matrices"]], [op])


def _gather(s: Selection, op: Op) -> Step:
    rows, *inner = (int(size) for size in s.flow.types[op.inputs[0]].shape)
    return s.step("gather", op.inputs, op.outputs, [rows, math.prod(inner)], [op])


MATCHERS: dict[str, Matcher] = {
    "Gather": _gather,
    "Conv": _conv,
    "ConvGradInput": _conv_grad_input,
    "ConvGradWeight": _conv_grad_weight,
    "Linear": _linear,
    "LinearGradInput": _linear_grad_input,
    "LinearGradWeight": _linear_grad_weight,
    "MaxPool": _max_pool,
    "MaxPoolOffset": _max_pool,
    "MaxPoolGrad": _max_pool_grad,
    "AveragePool": _average_pool,
    "AveragePoolGrad": _average_pool_grad,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "ReduceSum": _reduce,
    "ReduceMean": _reduce,
    "ReduceMax": _reduce,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "CrossEntropy": _cross_entropy,
    "CrossEntropyGrad": _cross_entropy_grad,
    "Pad": _pad,
    "Crop": _crop,
    "Join": _join,
    "Copy": _copy,
    "Resize": _resize,
    "ResizeGrad": _resize,
    "DropoutMask": _dropout_mask,
    "ArgMax": _arg_max,
    "MatMul": _matmul,
    "ArgMin": _arg_max,
}
