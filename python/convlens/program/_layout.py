"""Fourth pass, second half: every operand becomes a tensor in a layout its instruction takes, by way of reorders."""

from __future__ import annotations

import math

from ..graph import BATCH, TensorType
from ._choose import Homes, resize_layout
from ._elementwise import ElementwiseStep, is_full, step_out
from ._flow import Chw, Flow, Geometry, Step, chw
from ._move import shape_of
from ._ports import INPUTS, OUTPUTS, WRITES_IMAGES, WRITES_PIXELS
from ._target import Target, most_reach
from ._tensors import (
    ARENA,
    BLOCKED,
    EXTERNAL,
    INT64,
    MASK,
    PACKED,
    PLAIN,
    REAL,
    STATE,
    UINT8,
    WEIGHT,
    Instruction,
    Layouted,
    Port,
    Tensor,
    WeightKey,
)

_DTYPES = {"float32": REAL, "float64": REAL, "bool": MASK, "uint8": UINT8, "int64": INT64}


class Layouter:
    """Holds the versions of each tensor while instructions are written, entry by entry."""

    def __init__(
        self, flow: Flow, steps: list[Step], target: Target, winograd: int | None = 0, memory: str = "fast"
    ) -> None:
        self.flow, self.steps, self.target = flow, steps, target
        self.homes = Homes(flow, steps, winograd, memory)
        self.versions: dict[str, list[Tensor]] = {}
        self.code: list[list[Instruction]] = [[] for _ in flow.entries]
        self.ports: list[list[Port]] = []
        self.weights: dict[WeightKey, Tensor] = {}
        self.states: list[tuple[str, Tensor, tuple[int, ...]]] = []
        self.outputs: dict[str, list[tuple[int, Tensor]]] = {}

    def run(self) -> Layouted:
        """Write all instructions."""
        self._declare_states()
        self._declare_ports()
        at = 0
        for entry in range(len(self.code)):
            while at < len(self.steps) and self.steps[at].entry == entry:
                self._emit(self.steps[at])
                at += 1
            self._write_outputs(entry)
        return Layouted(self.code, list(self.flow.entries), self.ports, self.weights, self.states)

    # -- what is given -------------------------------------------------------------------------------------------------

    def _declare_states(self) -> None:
        for slot, name in enumerate(self.flow.updates):
            kind = self.flow.types[name]
            geometry = self.homes.packing.get(name)
            layout, shape, dims = self._held(name, kind)
            tensor = self._new(name, kind, PACKED if geometry else layout, shape, STATE, geometry)
            tensor.slot = slot
            self.versions[name] = [tensor]
            self.states.append((name, tensor, dims))

    def _declare_ports(self) -> None:
        slot = 0
        for index, entry in enumerate(self.flow.entries.values()):
            ports = []
            for is_output, names in ((False, entry.inputs), (True, entry.outputs)):
                for name in names:
                    kind = self.flow.types[name]
                    layout, shape, dims = self._held(name, kind)
                    tensor = self._new(name, kind, layout, shape, EXTERNAL)
                    tensor.dtype = REAL if kind.dtype == "bool" else tensor.dtype
                    tensor.slot, tensor.entry = slot, index
                    ports.append(Port(name, tensor.dtype, kind.batched, dims, is_output, kind.dtype))
                    if is_output:
                        self.outputs.setdefault(self.flow.root_of(name), []).append((index, tensor))
                    else:
                        self.versions[name] = [tensor]
                    slot += 1
            self.ports.append(ports)

    def _held(self, name: str, kind: TensorType) -> tuple[str, Chw, tuple[int, ...]]:
        """How the caller has a tensor: its layout, its shape, and that of the caller's array, -1 the batch."""
        dims = tuple(-1 if d == BATCH else int(d) for d in kind.shape)
        if name not in self.flow.blocked:
            return PLAIN, chw(kind), dims
        lanes, (c, h, w) = self.target.lanes, dims[-3:]
        return BLOCKED, (c, h, w), (*dims[:-3], -(-c // lanes), h, w, lanes)

    def _new(
        self, name: str, kind: TensorType, layout: str, shape: Chw, place: str, geometry: Geometry | None = None
    ) -> Tensor:
        if layout == PACKED and geometry is not None:
            shape = (self.target.packed_elements(geometry), 1, 1)
        dtype = _DTYPES.get(kind.dtype, "")
        if not dtype:
            raise TypeError(f"tensor {name!r} is {kind}; supported: float32, float64, bool, uint8 and int64")
        return Tensor(name, dtype, layout, place, kind.batched, shape, geometry=geometry)

    # -- versions of a tensor ------------------------------------------------------------------------------------------

    def weight(self, key: WeightKey, name: str) -> Tensor:
        """The slot of a weight; equal keys share one."""
        if key not in self.weights:
            elements = 1
            for dim in key.expression.shape:
                elements *= dim
            kind = TensorType(self.target.dtype, (elements,))
            layout = PACKED if key.geometry else PLAIN
            tensor = self._new(name, kind, layout, (elements, 1, 1), WEIGHT, key.geometry)
            tensor.slot = len(self.weights)
            self.weights[key] = tensor
        return self.weights[key]

    def get(
        self,
        name: str,
        shape: Chw,
        layout: str,
        entry: int,
        geometry: Geometry | None = None,
        exact: bool = False,
    ) -> Tensor:
        """A version of the bytes of `name`, made when there is none.

        `exact` says that an external tensor will do: without halo and padding. One made on the way belongs to `entry`:
        an entry never depends on another one for a change of layout alone.
        """
        flow, root = self.flow, self.flow.root_of(name)
        if name in flow.constants:
            return self.weight(WeightKey(flow.constants[name], geometry), name)
        usable = [v for v in self.versions.get(root, ()) if self._usable(v, root, entry) and not v.apart]
        for version in usable:
            given = exact and version.entry == entry
            if (version.place != EXTERNAL or given) and self._serves(version, shape, layout, geometry):
                return version
        own = [v for v in usable if v.place != EXTERNAL or v.entry == entry] or usable
        if not own:
            raise AssertionError(f"{root!r} is read in entry {entry} before it is made")
        return self._convert(own, root, shape, layout, entry, geometry)

    def _usable(self, version: Tensor, root: str, entry: int) -> bool:
        made = self.flow.producer(root)
        home = made.entry if made is not None else self.flow.input_entry.get(root, 0)
        return version.place in (STATE, WEIGHT) or version.entry in (entry, home)

    def _pixel_with_halo(self, name: str, shape: Chw, entry: int) -> Tensor:
        """A copy that only convolutions read: with a halo, one pixel is no longer the same bytes in both layouts."""
        root = self.flow.root_of(name)
        for version in self.versions[root]:
            if version.apart and version.shape == shape and version.entry == entry:
                return version
        source = self.get(name, shape, PLAIN, entry, exact=True)
        made = self._version(root, shape, BLOCKED, entry, None)
        made.apart = True
        self._append(entry, "reorder", [source], [made], [0, 0, 0.0])
        return made

    def _same_for_all(self, name: str, shape: Chw, layout: str, entry: int) -> Tensor:
        """A full operand that is not batched: all images read one copy."""
        if name not in self.flow.constants:
            return self.get(name, shape, layout, entry, exact=True)
        for version in self.versions.get(name, ()):
            if (version.shape, version.layout, version.entry) == (shape, layout, entry):
                return version
        made = self._version(name, shape, layout, entry, None)
        made.dtype = REAL
        source = self.weight(WeightKey(self.flow.constants[name]), name)
        self._append(entry, "reorder", [source], [made], [0, 0, 0.0])
        return made

    def _serves(self, v: Tensor, shape: Chw, layout: str, geometry: Geometry | None) -> bool:
        if layout == PACKED or v.layout == PACKED:
            return v.layout == layout and v.geometry == geometry
        pixel = shape[1:] == (1, 1) and v.shape[1:] == (1, 1) and not any(v.halo)
        if v.shape != shape:
            return False
        if v.place == EXTERNAL:  # an instruction on blocks steps over a plain tensor channel by channel
            return layout == v.layout or (pixel and shape[0] == self.target.lanes and v.dtype == REAL)
        if v.layout != layout and pixel:
            if v.place == ARENA and v.batched:
                v.layout = BLOCKED  # the same bytes, but a halo makes a difference
            return True
        return v.layout == layout

    def _convert(
        self, versions: list[Tensor], root: str, shape: Chw, layout: str, entry: int, geometry: Geometry | None
    ) -> Tensor:
        source = versions[0]
        at = source.entry if source.place == EXTERNAL else entry
        if source.dtype == MASK:
            raise self._unsupported(root, "a mask cannot be seen in another shape; compare after the reshape instead")
        if (source.layout == PACKED and layout != PACKED) or (source.layout == PACKED and source.geometry != geometry):
            assert source.geometry is not None
            plain = self._version(root, (source.geometry.elements, 1, 1), PLAIN, at, None)
            self._append(at, "unpack_weight", [source], [plain], [*source.geometry.attributes])
            if source.geometry.transposed:
                raise self._unsupported(root, "a transposed matrix cannot be read out of a Program; use transB=1")
            return self.get(root, shape, layout, entry, geometry)
        if layout == PACKED:
            assert geometry is not None
            if geometry.transposed:
                raise self._unsupported(root, "a matrix given at run time must be (K, F), with transB=1")
            made = self._version(root, shape, PACKED, at, geometry)
            self._append(at, "pack_weight", [source, None], [made], [*geometry.attributes])
            return made
        if source.shape != shape and source.shape[0] == shape[0]:
            return self._reshape(source, root, shape, layout, entry)
        if source.shape != shape and not self._flat(source) and layout == BLOCKED and shape[1:] != (1, 1):
            source = self.get(root, source.shape, PLAIN, entry)  # a reshape needs one plain side
        made = self._version(root, shape, layout, at, None)
        self._append(at, "reorder", [source], [made], [0, 0, 0.0])
        return made

    def _reshape(self, source: Tensor, root: str, shape: Chw, layout: str, entry: int) -> Tensor:
        """Rows and columns change: to a reorder, other sizes of as many channels would be a crop."""
        if source.dtype != REAL:
            raise self._unsupported(root, f"cannot be seen as {shape[0]} x {shape[1]} x {shape[2]}")
        if layout == BLOCKED:
            source = self.get(root, shape, PLAIN, entry)
            made = self._version(root, shape, layout, entry, None)
            self._append(entry, "reorder", [source], [made], [0, 0, 0.0])
            return made
        source = self.get(root, source.shape, PLAIN, entry, exact=True)
        made = self._version(root, shape, layout, entry, None)
        elements = math.prod(shape)
        walk = [*(1,) * 5, elements, *(0,) * 6, *(1,) * 6, *(1,) * 5, elements, *(0,) * 5, 1, 0, 0.0]
        self._append(entry, "strided_copy", [source], [made], list(walk))
        return made

    def _flat(self, tensor: Tensor) -> bool:
        return (tensor.layout == PLAIN or tensor.shape[1:] == (1, 1)) and not any(tensor.halo)

    def _version(self, root: str, shape: Chw, layout: str, entry: int, geometry: Geometry | None) -> Tensor:
        tensor = self._new(root, self.flow.types[root], layout, shape, ARENA, geometry)
        if root in self.flow.graph.inputs and tensor.dtype == MASK:
            tensor.dtype = REAL  # a mask that is given comes as numbers
        tensor.entry = entry
        self.versions.setdefault(root, []).append(tensor)
        return tensor

    def _append(
        self,
        entry: int,
        op: str,
        inputs: list[Tensor | None],
        outputs: list[Tensor | None],
        attributes: list[int | float],
        name: str = "",
    ) -> Instruction:
        made = Instruction(op, inputs, outputs, attributes, name)
        self.code[entry].append(made)
        return made

    def _unsupported(self, root: str, reason: str) -> Exception:
        from .._errors import UnsupportedError

        return UnsupportedError(f"tensor {root!r} ({self.flow.types[root]}): {reason}")

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _emit(self, step: Step) -> None:
        if isinstance(step, ElementwiseStep):
            self._emit_elementwise(step)
            return
        inputs = [
            self._operand(step, name, port) if name else None
            for name, port in zip(step.inputs, INPUTS[step.op][: len(step.inputs)], strict=True)
        ]
        outputs = [
            self._result(step, name, port) if name else None
            for name, port in zip(step.outputs, OUTPUTS[step.op], strict=False)
        ]
        for state, index in step.assigns.items():  # in place
            outputs[int(index)] = self.versions[state][0]
        self._append(step.entry, step.op, inputs, outputs, list(step.attributes), step.ops[0].name)

    def _operand(self, step: Step, name: str, port: str) -> Tensor:
        flow, kind = self.flow, self.flow.types[name]
        shape, entry = chw(kind), step.entry
        if port == "W":
            if name in flow.constants:
                return self.weight(WeightKey(flow.constants[name], step.geometry, step.scale), name)
            return self.get(name, shape, PACKED, entry, step.geometry)
        if port == "F":
            assert step.geometry is not None
            shape = (step.geometry.C, step.geometry.R, step.geometry.S)
        if port in "FN":
            given = any(v.place == EXTERNAL and v.entry == entry for v in self.versions[flow.root_of(name)])
            plain = shape[1:] == (1, 1) or (given and port == "F" and step.op == "linear")
            return self.get(name, shape, PLAIN if plain else BLOCKED, entry, exact=True)
        if port in "XB" and shape[1:] == (1, 1) and _looks_around(step):
            return self._pixel_with_halo(name, shape, entry)
        if port == "X":
            other = step.outputs[0] if step.op == "conv2d" else step.inputs[0]
            layout, exact = self.target.image_layout(step, shape, flow.base_of(other))
            if self.versions[flow.root_of(name)][0].layout == BLOCKED or self._made_outside(name):
                layout = BLOCKED  # as another instruction made it
            return self.get(name, shape, layout, entry, exact=exact)
        if step.op == "reduce" and step.attributes[0] == 1:  # over images alone: an image is one vector
            return self.get(name, chw(flow.types[step.outputs[0]]), PLAIN, entry, exact=True)
        if port == "A":
            shape, home = shape_of(flow, name), self.versions[flow.root_of(name)][0]
            layout = home.layout if home.shape == shape and home.layout != PACKED else PLAIN
            if self._made_outside(name) and shape[1:] != (1, 1):
                layout = BLOCKED
            return self.get(name, shape, layout, entry, exact=True)
        if port == "R":
            return self.get(name, shape, resize_layout(flow, step), entry, exact=True)
        if port == "C":
            if name in flow.updates:
                return self.versions[name][0]
            return self.get(name, shape_of(flow, name), step.layout, entry, exact=step.layout == PLAIN)
        if port == "Y":
            return self.get(name, flow.base_of(name), PLAIN, entry, exact=True)
        if port == "Z":
            return self.get(name, shape, PLAIN, entry, exact=self._stays_inside(step, name))
        if port in "VPLS" or (step.plain and port in "BO"):
            return self.get(name, shape, PLAIN, entry, exact=port != "V")
        looks = name == step.inputs[0] and _looks_around(step)
        return self.get(name, shape, BLOCKED, entry, exact=not looks)

    def _stays_inside(self, step: Step, name: str) -> bool:
        """Whether an instruction on plain tensors reads nothing beyond the edges of `name`."""
        flow = self.flow

        def trial(tensor: str) -> Tensor:
            shape = flow.base_of(tensor) if tensor in step.outputs else chw(flow.types[tensor])
            place = EXTERNAL if tensor in step.outputs else ARENA
            return Tensor(tensor, REAL, PLAIN, place, flow.types[tensor].batched, shape)

        inputs, outputs = ([trial(t) if t else None for t in part] for part in (step.inputs, step.outputs))
        instruction = Instruction(step.op, inputs, outputs, [*step.attributes])
        x = inputs[step.inputs.index(name)]
        assert x is not None
        x.halo = most_reach(instruction)
        return not any(self.target.reach(instruction, step.inputs.index(name)))

    def _made_outside(self, name: str) -> bool:
        """Whether an instruction of the larger graph made `name`: blocked, as images are."""
        return self.flow.inside is not None and self.flow.root_of(name) in self.flow.inside

    def _result(self, step: Step, name: str, port: str) -> Tensor:
        flow = self.flow
        geometry = self.homes.packing.get(name) if port == "W" else None
        layout = PACKED if geometry else self.homes.layout[name]
        if port == "W" and geometry is None:
            raise AssertionError(f"{name!r} has no geometry")
        direct = self._direct_output(step, name, layout)
        if direct is not None:
            return direct
        return self._version(name, flow.base_of(name), layout, step.entry, geometry)

    def _direct_output(self, step: Step, name: str, layout: str) -> Tensor | None:
        """The caller's own memory, when nothing else reads the tensor and the instruction writes exact ones."""
        wanted = self.outputs.get(name, [])
        shape = self.flow.base_of(name)
        if len(wanted) != 1 or self.flow.uses(name):
            return None
        entry, tensor = wanted[0]
        pixel = shape[1:] == (1, 1)
        if tensor.layout == BLOCKED:
            fits = layout == BLOCKED and shape == tensor.shape
        else:
            writes = step.plain or step.op in (WRITES_PIXELS if pixel else WRITES_IMAGES)
            fits = writes and (layout == PLAIN or (layout == BLOCKED and pixel))
        if entry != step.entry or not fits or _DTYPES[self.flow.types[name].dtype] != tensor.dtype:
            return None
        tensor.shape = shape
        del self.outputs[name]
        return tensor

    def _emit_elementwise(self, step: ElementwiseStep) -> None:
        flow = self.flow
        out = step_out(step)
        domain, batched = flow.base_of(out), flow.types[out].batched
        geometry = None
        if step.layout == PACKED:
            geometry = next(self.homes.packing[n] for n in [*step.outputs, *step.assigns] if n in self.homes.packing)
        inputs: list[Tensor | None] = []
        for name in step.formula.inputs:
            inputs.append(self._elementwise_operand(step, name, domain, batched, geometry))
        outputs: list[Tensor | None] = []
        copies: list[tuple[Tensor, str]] = []
        for name in step.formula.outputs:
            if not name.startswith("state:"):
                direct = self._direct_output(step, name, step.layout)
                outputs.append(direct or self._version(name, flow.base_of(name), step.layout, step.entry, geometry))
                continue
            state = self.versions[name[6:]][0]
            if state.layout == step.layout and state.geometry == geometry:
                outputs.append(state)
            else:
                made = self._new(name, flow.types[name[6:]], step.layout, domain, ARENA, geometry)
                made.entry = step.entry
                copies.append((made, name[6:]))
                outputs.append(made)
        constants = step.formula.constants
        attributes: list[int | float] = [len(constants), *constants]
        attributes += [self.target.word(operation) for operation in step.formula.operations]
        made_by = self._append(step.entry, "elementwise", inputs, outputs, attributes, step.ops[-1].name)
        made_by.reuse = [
            (o, i)
            for o in range(len(outputs))
            for i in range(len(inputs))
            if (i, o) not in step.formula.late
        ]  # fmt: skip
        for source, name in copies:
            self._store_state(step.entry, source, self.versions[name][0])

    def _store_state(self, entry: int, source: Tensor, state: Tensor) -> None:
        if source.layout == PLAIN and state.geometry is not None and not state.geometry.transposed:
            self._append(entry, "pack_weight", [source, None], [state], [*state.geometry.attributes])
        elif state.layout == PLAIN and source.geometry is not None and not source.geometry.transposed:
            self._append(entry, "unpack_weight", [source], [state], [*source.geometry.attributes])
        else:
            raise self._unsupported(state.name, "its update is packed otherwise than it is read")

    def _elementwise_operand(
        self, step: ElementwiseStep, name: str, domain: Chw, batched: bool, geometry: Geometry | None
    ) -> Tensor:
        kind = self.flow.types[name]
        shape = chw(kind)
        if is_full(self.flow, step, name) and domain != (1, 1, 1):
            # In the shape the bytes are in, which a Flatten does not change.
            return self.get(name, domain, step.layout, step.entry, geometry, exact=True)
        if batched and not kind.batched and shape[0] == math.prod(domain) and domain[1:] != (1, 1):
            return self._same_for_all(name, domain, step.layout, step.entry)
        plane = kind.batched and shape[1:] != (1, 1)
        layout = BLOCKED if batched and kind.batched and not plane else PLAIN
        return self.get(name, shape, layout, step.entry, exact=True)

    # -- what is asked for ---------------------------------------------------------------------------------------------

    def _write_outputs(self, entry: int) -> None:
        for root, wanted in list(self.outputs.items()):
            for at, port in wanted:
                if at == entry:
                    self._write_output(root, port)

    def _write_output(self, root: str, port: Tensor) -> None:
        flow, entry = self.flow, port.entry
        if root in flow.immediates:
            raise self._unsupported(root, "an output that is a constant number is not supported")
        if flow.types[root].dtype == "bool" and root not in flow.graph.inputs and flow.dynamic(root):
            mask = self.get(root, flow.base_of(root), BLOCKED if port.batched else PLAIN, entry)
            real = Tensor(root, REAL, mask.layout, ARENA, mask.batched, mask.shape, entry=entry)
            words: list[int | float] = [0, *self.target.copy_words()]
            self._append(entry, "elementwise", [mask], [real], words, root)
            source = real
        elif root in flow.constants:
            source = self.weight(WeightKey(flow.constants[root]), root)
        else:
            made = self.versions[root][0]
            if made.layout == PACKED:
                assert made.geometry is not None
                if made.geometry.transposed:
                    raise self._unsupported(root, "a transposed matrix cannot be an output; use transB=1")
                self._append(entry, "unpack_weight", [made], [port], [*made.geometry.attributes], root)
                return
            usable = [v for v in self.versions[root] if self._usable(v, root, entry)]
            inside = [v for v in usable if v.place != EXTERNAL or v.entry == entry]
            if not inside:
                inside = [self.get(root, usable[0].shape, PLAIN, entry)]
            source = next((v for v in inside if v.layout == port.layout), inside[0])
        if port.layout == PLAIN:
            port.shape = source.shape
        elif source.shape != port.shape:
            source = self.get(root, port.shape, BLOCKED, entry)
        self._append(entry, "reorder", [source], [port], [0, 0, 0.0], root)


def _looks_around(step: Step) -> bool:
    """Whether a step is a convolution that may read beyond the edges of what it is given."""
    if not step.op.startswith("conv2d"):
        return False
    r, s, _, _, top, left = step.attributes[:6]
    return max(r, s) > 1 or max(top, left) > 0
