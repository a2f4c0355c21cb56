"""What a backward rule sees."""

from __future__ import annotations

import math

from ..graph import Call, GraphBuilder, Node, call_of
from ._emit import Emitter


class Context(Emitter):
    """What a rule sees: the forward tensors, and where to write its nodes."""

    def __init__(self, builder: GraphBuilder, dtype: str, needed: frozenset[str]) -> None:
        super().__init__(builder, dtype, "grad")
        self._needed = needed
        self._images = ""

    def value(self, tensor: str) -> str:
        """The tensor of the forward pass whose value `tensor` stands for."""
        return tensor

    def needs(self, tensor: str) -> bool:
        """Whether a gradient of `tensor` is wanted."""
        return tensor in self._needed

    def call(self, node: Node) -> Call:
        """A node's operands by name and its attributes with defaults."""
        return call_of(node, self.builder.types, self.builder.constants)

    def images(self) -> str:
        """The number of images, as a scalar, counted once on the smallest batched tensor that the gradient needs."""
        if not self._images:
            batched = (tensor for tensor in sorted(self._needed) if self.type(tensor).batched)
            self._images = self.batch_size(min(batched, key=lambda tensor: math.prod(self.type(tensor).per_image)))
        return self._images

    def full(self, gradient: str, tensor: str) -> str:
        """A gradient broadcast to the shape of its `tensor`.

        A mean's gradient is one number for many elements. Element-wise rules take it as it is; the others get it
        through here. The batch has no number to write down, so the shape is taken from the tensor itself.
        """
        if self.type(gradient).shape == self.type(tensor).shape:
            return gradient
        return self.filled_like(tensor, gradient)

    def reduced(self, gradient: str, tensor: str, output: str) -> str:
        """The gradient of an operand from that of the `output` it was broadcast to: summed over the added axes."""
        shape, broad = self.type(tensor).shape, self.type(output).shape
        if shape == broad:
            return gradient
        extra = len(broad) - len(shape)
        axes = [i for i, dim in enumerate(broad) if i < extra or (shape[i - extra] == 1 and dim != 1)]
        summed = self.sum(self.full(gradient, output), axes, keepdims=0 if len(axes) == extra else 1)
        if len(axes) == extra or extra == 0:
            return summed
        return self.emit("Reshape", [summed, self.ints([int(dim) for dim in shape])])
