"""Fourth pass, first half: each tensor's home layout. Element-wise programs take what costs the fewest reorders."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from ..graph import TensorType
from ._elementwise import ElementwiseStep, is_full, step_batched, step_elements, step_out
from ._expression import Expression, constants_of, integers
from ._flow import Flow, Geometry, Step, chw
from ._ports import INPUTS, MOST_PLAIN_TAPS, OUTPUTS, PLAIN_TWINS, PLANES
from ._target import spreads_its_products, tiles_have_few_rows
from ._tensors import BLOCKED, PACKED, PLAIN
from ._winograd import take_winograd
from ._zeros import keeps_zero

_FIXED = {"B": BLOCKED, "X": BLOCKED, "F": BLOCKED, "N": BLOCKED, "M": BLOCKED, "O": BLOCKED, "P": PLAIN, "Y": PLAIN}
_PAGE_BYTES = 4096
_FEW_CHANNELS = 8  # below: a block is half padding or more
MOST_EXCHANGED = 1 << 19  # weights of several taps that a gradient has a copy of


def resize_layout(flow: Flow, step: Step) -> str:
    """The layout a resize works in: blocked, unless a block would be mostly padding or one pixel says nothing of it."""
    shapes = (flow.base_of(step.outputs[0]), chw(flow.types[step.inputs[0]]))
    few = shapes[0][0] < _FEW_CHANNELS or any(shape[1:] == (1, 1) for shape in shapes)
    return PLAIN if few else BLOCKED


def lay_side_by_side(flow: Flow, step: Step) -> None:
    """Lay out a plain 1 x 1 weight for tiles of few rows: rows side by side by threes, and zeros to whole sixes.

    As it is, each tile reads three or six rows that begin anew pages further on. (Zen 3, with a loop of its own, of the
    time as it is: c512 k256 28 x 28 0.96, c256 k1024 14 x 14 0.92, c128 k256 stride 2 0.89, c96 k24 56 x 56 0.97.)
    For long sums of few rows by small planes, which are read in place (ops/panel.hpp), that is no gain: c144 k24 28 x
    28 1.07.
    """
    g, weight = step.geometry, flow.constants.get(step.inputs[1])
    if g is None or weight is None or g.R * g.S > 1 or g.groups > 1 or not tiles_have_few_rows():
        return
    kind, pixels = flow.types[step.inputs[1]], math.prod(flow.base_of(step.outputs[0])[1:])
    small = max(step.attributes[2:4]) == 1 and pixels * (8 if kind.dtype == "float64" else 4) <= _PAGE_BYTES
    if small and g.K < 32 and g.C > 96:
        return
    name, rows = f"{step.inputs[1]}/side by side", -(-g.K // 6) * 6
    pads = integers(0, 0, 0, 0, rows - g.K, 0, 0, 0)
    whole = Expression((rows, g.C, 1, 1), "Pad", (weight.reshape((g.K, g.C, 1, 1)), pads))
    threes = whole.reshape((rows // 3, 3, g.C))
    turned = Expression((rows // 3, g.C, 3), "Transpose", (threes,), (("perm", (0, 2, 1)),))
    flow.constants[name] = turned.reshape((rows, g.C, 1, 1))
    flow.types[name] = TensorType(kind.dtype, (rows, g.C, 1, 1))
    step.inputs, step.attributes = [step.inputs[0], name, *step.inputs[2:]], [*step.attributes, 1]


def phases_of(g: Geometry, attributes: Sequence[int | float]) -> tuple[tuple[int, ...], ...]:
    """The taps of each phase of a strided gradient, as conv2d_grad_input reads them; none where all are one."""
    stride_h, stride_w, _, _, dilation_h, dilation_w = (int(a) for a in attributes[2:8])
    if stride_h * stride_w == 1 or g.R * g.S == 1:
        return ()
    phases: dict[tuple[int, int], list[int]] = {}
    for tap in range(g.R * g.S):
        r, s = tap // g.S * dilation_h, tap % g.S * dilation_w
        phases.setdefault((r % stride_h, s % stride_w), []).append(tap)
    return tuple(tuple(taps) for _, taps in sorted(phases.items()))


class Homes:
    """The layout each tensor is made in.

    Attributes
    ----------
    layout : root -> layout, for tensors made by a step
    packing : root -> Geometry, for those that are packed (states too)
    """

    def __init__(self, flow: Flow, steps: list[Step], winograd: int | None = 0, memory: str = "fast") -> None:
        self.flow = flow
        self.winograd = winograd
        self.memory = memory
        self.layout: dict[str, str] = {}
        self.packing: dict[str, Geometry] = {}
        self._wanted: dict[str, set[str]] = {}
        made = [flow.constants[name] for step in steps for name in step.inputs if name in flow.constants]
        self._readers = Counter(name for expression in made for name in constants_of(expression))
        for step in steps:
            self._note_fixed(step)
        self._spread_packing([s for s in steps if isinstance(s, ElementwiseStep)])
        for step in steps:
            self._choose(step)

    def _note_fixed(self, step: Step) -> None:
        for name, port in zip(step.inputs, INPUTS.get(step.op, ""), strict=False):
            if not self.flow.dynamic(name):
                continue
            root = self.flow.root_of(name)
            if port == "W" and step.geometry is not None and step.scale is None:
                if root in self.flow.updates:
                    self.packing.setdefault(root, step.geometry)
            elif port == "R":
                self._wanted.setdefault(root, set()).add(resize_layout(self.flow, step))
            elif port in _FIXED:
                self._wanted.setdefault(root, set()).add(_FIXED[port])
        if step.op.endswith("grad_weight") and step.geometry is not None:
            self.packing[self.flow.root_of(step.outputs[0])] = step.geometry

    def _spread_packing(self, steps: list[ElementwiseStep]) -> None:
        """Moments and gradients live packed as their weight does: an update then needs no reorder."""
        changed = True
        while changed:
            changed = False
            for step in steps:
                geometry = self._packing_of(step)
                if geometry is None or not keeps_zero(self.flow, step):
                    continue
                for root in [self.flow.root_of(n) for n in self._full(step)] + list(step.assigns):
                    made = root in self.flow.updates or self.flow.producer(root) in step.ops
                    if made and root not in self.packing:
                        self.packing[root] = geometry
                        changed = True
                for out in step.outputs:
                    if out and out not in self.packing:
                        self.packing[out] = geometry
                        changed = True

    def _full(self, step: ElementwiseStep) -> list[str]:
        if step_elements(self.flow, step) == 1:
            return []
        return [name for name in step.inputs if self.flow.dynamic(name) and is_full(self.flow, step, name)]

    def _packing_of(self, step: ElementwiseStep) -> Geometry | None:
        if step_batched(self.flow, step):
            return None
        for root in [*step.assigns, *(self.flow.root_of(name) for name in self._full(step))]:
            if root in self.packing:
                return self.packing[root]
        return None

    def _choose(self, step: Step) -> None:
        if not isinstance(step, ElementwiseStep):
            for name, port in zip(step.outputs, OUTPUTS[step.op], strict=False):
                if name and self.flow.root_of(name) not in self.packing:
                    narrow = step.op == "reduce" and self.flow.base_of(name)[1:] != (1, 1)  # one channel
                    few = port == "R" and resize_layout(self.flow, step) == PLAIN
                    plain = port == "P" or narrow or few or not self.flow.types[name].batched
                    self.layout[name] = PLAIN if plain else BLOCKED
            if step.op == "reorder":
                self._choose_reorder(step)
            if step.op == "concat":
                step.layout = self.layout[step.outputs[0]] = self._join_layout(step)
            if step.op == "accumulate":
                step.layout = BLOCKED if step.inputs[1] in self.flow.blocked else PLAIN
            if take_winograd(self.flow, step, self.winograd, self.memory):
                return
            if self.flow.inside is None and self._passes_through(step):
                self._keep_plain(step)
            if step.op in ("conv2d", "conv2d_grad_input") and self._leaves_plain(step):
                self.layout[step.outputs[0]] = PLAIN
            if step.op == "conv2d_grad_input" and self.memory == "fast":
                self._exchange(step)
            return
        layout = PLAIN
        if step_batched(self.flow, step):
            layout = self._cheapest(step)
        elif self._packing_of(step) is not None and keeps_zero(self.flow, step):
            layout = PACKED
        step.layout = layout
        for name in step.outputs:
            if name:
                self.layout[name] = layout

    def _choose_reorder(self, step: Step) -> None:
        """A padded image nobody computes with goes out as it came."""
        out = step.outputs[0]
        if not self._wanted.get(out) and not self.flow.uses(out) and out not in self.flow.blocked:
            self.layout[out] = PLAIN

    def _join_layout(self, step: Step) -> str:
        """A view of other bytes, and what is not batched, is plain."""
        seen = [*step.inputs, *step.outputs]
        images = step_batched(self.flow, step) and all(self.flow.native(name) for name in seen)
        return self._cheapest(step) if images else PLAIN

    def _passes_through(self, step: Step) -> bool:
        """Whether a step reads constants and, alone, inputs as they come from the caller, and nobody what it makes."""
        flow = self.flow
        if any(name in flow.blocked for name in (*step.inputs, *step.outputs)):
            return False
        for name in step.inputs:
            if not name or name in flow.constants:
                continue
            given = name in flow.graph.inputs and name not in flow.updates and flow.native(name)
            here = flow.input_entry.get(name, 0) == step.entry
            # A reader beside it may want a halo around the same bytes.
            if not (given and here and all(op in step.ops for op in flow.uses(name))):
                return False
        users = [op.op for name in step.outputs if name for op in flow.uses(name)]
        # A 1 x 1 convolution may be spread by copies, which take plain tensors too: faster by tiles of few rows.
        spread = step.op == "conv2d" and step.attributes[:2] == [1, 1] and all(op == "Copy" for op in users)
        return not users or (spread and tiles_have_few_rows())

    def _keep_plain(self, step: Step) -> None:
        """Compute on the caller's tensors as they are, where there is an instruction for it."""
        if step.op in PLAIN_TWINS:
            operands = PLAIN_TWINS[step.op]
            if any(step.inputs[operands:]) or any(step.outputs[1:]) or any(step.attributes[9:]):
                return  # fused
            if self._slides_over_planes(step):
                step.op = step.op.replace("conv2d", "depthwise")
            elif not self._is_product(step):
                return
            step.inputs, step.outputs, step.attributes = step.inputs[:operands], step.outputs[:1], step.attributes[:9]
            if step.op == "conv2d" and self.memory == "fast":
                lay_side_by_side(self.flow, step)
            step.op = f"{step.op}_plain"
            self.packing.pop(self.flow.root_of(step.outputs[0]), None)
        elif step.op not in PLANES:
            return
        else:
            # Lanes are neighbouring windows; of few, or far apart, channels do better, unless each is a run of memory.
            x, y = (step.outputs[0], step.inputs[0]) if step.op.endswith("_grad") else (step.inputs[0], step.outputs[0])
            few = self.flow.base_of(y)[2] < 4 or (step.attributes[3] > 2 and not step.op.endswith("_grad"))
            if few and step.op != "max_pool2d_grad" and not (step.op.startswith("avg") and self._is_run(step, x, y)):
                return
        step.plain = True
        self.layout.update({name: PLAIN for name in step.outputs if name})

    def _is_run(self, step: Step, x: str, y: str) -> bool:
        """Whether a pool's windows are as wide as their plane, and lie one below the other."""
        r, s, stride_h, _, *rest = (int(a) for a in step.attributes[:8])
        (_, height, width), (_, rows, columns) = self.flow.base_of(x), self.flow.base_of(y)
        below = r <= height if rows == 1 else rows * stride_h == height
        return rest == [0, 0, 1, 1] and s == width and columns == 1 and below

    def _leaves_plain(self, step: Step) -> bool:
        """Whether a convolution's result goes out as it comes, in planes."""
        out, geometry = step.outputs[0], step.geometry
        assert geometry is not None
        plain = 3 if step.op == "conv2d" else 2
        extras = any(step.inputs[plain:]) or any(step.outputs[1:]) or geometry.groups > 1
        if self.flow.base_of(out)[1:] == (1, 1):
            return False  # one pixel is the same bytes
        if out in self.flow.blocked:
            return False
        users = self.flow.uses(out)
        return not extras and (all(op.op == "Copy" for op in users) if users else out in self.flow.requested)

    def _exchange(self, step: Step) -> None:
        """Give a gradient weights of its own, packed as it reads them, where that costs little memory.

        Transposed on the way they cost as much as the products of some ten pixels. A kernel of several taps reads its
        map as often, and has most of a network's weights: large ones stay in memory once. Those that no other step
        reads do so too, packed for the gradient.
        """
        g = step.geometry
        assert g is not None
        small = g.R * g.S == 1 or g.K * g.C * g.R * g.S <= MOST_EXCHANGED
        weight = self.flow.constants.get(step.inputs[1])
        if weight is None or g.groups > 1:
            return
        if small or all(self._readers[name] == 1 for name in constants_of(weight)):
            phases = phases_of(g, step.attributes)
            step.geometry = dataclasses.replace(g, K=g.C, C=g.K, exchanged=True, phases=phases)
            step.attributes = [*step.attributes, 2 if phases else 1]

    def _slides_over_planes(self, step: Step) -> bool:
        """Whether the instructions of plain depthwise convolutions take it."""
        r, s, stride_h, stride_w, pad_top, pad_left, *dilation, groups = (int(a) for a in step.attributes[:9])
        geometry = step.geometry
        assert geometry is not None
        if not (groups == geometry.K == geometry.C > 1 and r == s in (3, 5)) or step.scale is not None:
            return False
        x, y = step.inputs[0], step.outputs[0]
        if step.op != "conv2d":
            x, y = (step.inputs[1] if step.op == "conv2d_grad_weight" else y), x
        (_, height, width), (_, rows, columns) = self.flow.base_of(x), self.flow.base_of(y)
        bottom, right = (rows - 1) * stride_h - pad_top + r - height, (columns - 1) * stride_w - pad_left + s - width
        return stride_h == stride_w <= 2 and dilation == [1, 1] and max(pad_top, pad_left, bottom, right) < r

    def _is_product(self, step: Step) -> bool:
        """Whether it pays to multiply panels of pixels by the weight as it is given."""
        r, s, stride_h, stride_w = (int(a) for a in step.attributes[:4])
        geometry = step.geometry
        assert geometry is not None
        if any(name in self.flow.constants for name in step.inputs):
            return self._plain_wins(step)
        # Lanes are pixels and rows channels: too few of these a group, and a tile has nothing to do.
        narrow = geometry.groups > 1 and min(geometry.K, geometry.C) < 8 * geometry.groups
        return not narrow and max(r * s, stride_h * stride_w) <= MOST_PLAIN_TAPS

    def _plain_wins(self, step: Step) -> bool:
        """Whether a weight that could be packed beforehand is better left as it is.

        Packed, its lanes are channels, which must be brought into planes afterwards: too dear after few products.
        (Batch 1, AVX-512, time by OpenBLAS's product: c64 k64 56 x 56 0.95, packed 1.24; c512 k128 28 x 28 0.97, packed
        0.91; c144 k24 56 x 56 0.81, packed 1.08; c160 k960 7 x 7 1.12, packed 0.87; c128 k512 28 x 28 0.97, packed
        1.03. c192 k32 28 x 28 0.96 times the packed one's.)

        Always by tiles of few rows, which take their weight laid out for them. (Zen 3, by the packed one's time: c1024
        k256 14 x 14 0.90, c1024 k512 0.90, c512 k1024 stride 2 0.87; c256 k512 stride 2 7 x 7 0.90, c960 k320 7 x 7
        1.01, 8 images 0.76 and 0.87; c512 k512 6 x 6 1.09 and 0.91, 4 x 4 0.81 and 0.82, 3 x 3 1.43 and 0.87.)

        So is a gradient that lies among zeros, unless transposing the weight is dear. (Stride 2, likewise: c64 k128
        56 x 56 0.77, packed and spread afterwards 1.06; c128 k256 28 x 28 0.87 and 1.04; c256 k512 56 x 56 0.99 and
        0.97, 14 x 14 1.21 and 0.93.)
        """
        g = step.geometry
        assert g is not None
        if step.scale is not None or g.groups > 1:
            return False
        if g.C < _FEW_CHANNELS:
            return True
        pixels = math.prod(self.flow.base_of(step.outputs[0] if step.op == "conv2d" else step.inputs[0])[1:])
        if step.op == "conv2d_grad_input" and g.R * g.S == 1:
            strided = max(step.attributes[2:4]) > 1 and not any(step.attributes[4:6])
            return strided and spreads_its_products(g.C, g.K)
        few = g.C < 96 or g.K <= 32 or (g.C <= 128 and g.K >= 4 * g.C and pixels >= 512) or tiles_have_few_rows()
        return step.op == "conv2d" and g.R * g.S == 1 and few and pixels >= (16 if tiles_have_few_rows() else 128)

    def _cheapest(self, step: Step) -> str:
        flow = self.flow
        domain = flow.base_of(step_out(step))
        if domain[1:] == (1, 1):
            return PLAIN  # the same bytes, and the caller's own memory will do
        tensors = [name for name in [*step.inputs, *step.outputs] if name and flow.dynamic(name)]
        if any(flow.types[name].dtype == "bool" and flow.root_of(name) not in flow.graph.inputs for name in tensors):
            return BLOCKED  # masks are kept blocked everywhere
        cost = {BLOCKED: 0.0, PLAIN: 0.5}
        for name in step.inputs:
            if flow.dynamic(name) and flow.types[name].batched:
                root = flow.root_of(name)
                if step.op == "elementwise" and not is_full(flow, step, name):
                    continue
                home = self.layout.get(root, BLOCKED if root in flow.blocked else PLAIN)
                for layout in cost:
                    if layout != home and layout not in self._wanted.get(root, ()):
                        cost[layout] += 1
        for name in step.outputs:
            asked = BLOCKED if name in flow.blocked else PLAIN
            wanted = self._wanted.get(name, set()) | ({asked} if name in flow.requested else set())
            for layout in cost:
                cost[layout] += len(wanted - {layout})
        return min(cost, key=lambda layout: cost[layout])
