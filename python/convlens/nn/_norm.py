"""Normalisation by an image's own statistics, and dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..graph import GraphBuilder, TensorType
from ._arguments import integer
from ._layer import Layer, ParameterSpec, image_of, written


class _Norm(Layer):
    """Normalises, then multiplies by ``name.weight`` and adds ``name.bias`` where `affine`."""

    operator: ClassVar[str]

    def __init__(self, *, eps: float, affine: bool, name: str | None) -> None:
        super().__init__(name=name)
        if not eps > 0:
            raise ValueError(f"`eps` (={eps}) must be above 0")
        self.eps = float(eps)
        self.affine = bool(affine)

    def _owned(self, shape: tuple[int, ...]) -> tuple[ParameterSpec, ...]:
        if not self.affine:
            return ()
        return ParameterSpec("weight", shape, "ones"), ParameterSpec("bias", shape, "zeros")

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        attributes = {"epsilon": self.eps, **self._attributes()}
        builder.add(self.operator, [inputs[0], *parameters.values()], attributes, name=name, outputs=[tensor])

    def _attributes(self) -> Mapping[str, Any]:
        return {}


class LayerNorm(_Norm):
    """Normalise each image over its last axes.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of those axes: ``F`` after Flatten, ``(C, H, W)`` for whole images.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Learn ``name.weight`` and ``name.bias`` of shape `normalized_shape`.
    name : str, optional

    References
    ----------
    Ba et al., "Layer Normalization", arXiv:1607.06450.
    """

    stem = "layer_norm"
    operator = "LayerNormalization"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("normalized_shape",), 2: ("normalized_shape", "eps")}

    def __init__(
        self,
        *,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(eps=eps, affine=elementwise_affine, name=name)
        sizes = normalized_shape if isinstance(normalized_shape, (list, tuple)) else (normalized_shape,)
        self.normalized_shape = tuple(integer("normalized_shape", size, at_least=1) for size in sizes)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        if inputs[0].per_image[-len(self.normalized_shape) :] != self.normalized_shape:
            raise ValueError(
                f"`normalized_shape` (={self.normalized_shape}) must be the last sizes of the input "
                f"{written(inputs[0])}"
            )
        return self._owned(self.normalized_shape)

    def _attributes(self) -> Mapping[str, Any]:
        return {"axis": -len(self.normalized_shape)}


class InstanceNorm2d(_Norm):
    """Normalise each channel of each image over height and width.

    Parameters
    ----------
    eps : float
        Added to the variance.
    affine : bool
        Learn ``name.weight`` and ``name.bias`` of shape (C,).
    name : str, optional

    References
    ----------
    Ulyanov et al., "Instance Normalization", arXiv:1607.08022.
    """

    stem = "instance_norm"
    operator = "InstanceNormalization"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: (), 2: ("num_features", "eps")}

    def __init__(self, *, eps: float = 1e-5, affine: bool = False, name: str | None = None) -> None:
        super().__init__(eps=eps, affine=affine, name=name)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return self._owned(image_of(self, inputs[0])[:1])


class GroupNorm(_Norm):
    """Normalise groups of channels of each image.

    Parameters
    ----------
    num_groups : int
        Divides the channels.
    eps : float
        Added to the variance.
    affine : bool
        Learn ``name.weight`` and ``name.bias`` of shape (C,).
    name : str, optional

    References
    ----------
    Wu and He, "Group Normalization", arXiv:1803.08494.
    """

    stem = "group_norm"
    operator = "GroupNormalization"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("num_groups",), 2: ("num_groups", "num_channels")}

    def __init__(self, *, num_groups: int, eps: float = 1e-5, affine: bool = True, name: str | None = None) -> None:
        super().__init__(eps=eps, affine=affine, name=name)
        self.num_groups = integer("num_groups", num_groups, at_least=1)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        channels = inputs[0].per_image[0]
        if channels % self.num_groups:
            raise ValueError(f"`channels` (={channels}) must be divisible by `num_groups` (={self.num_groups})")
        return self._owned((channels,))

    def _attributes(self) -> Mapping[str, Any]:
        return {"num_groups": self.num_groups}


class Dropout(Layer):
    """Set numbers to zero at random while :func:`convlens.train.fit` trains; ``net(x)`` passes them on.

    Parameters
    ----------
    p : float
        The share that is dropped; the rest is multiplied by ``1 / (1 - p)``.
    name : str, optional

    Notes
    -----
    What is dropped depends on the seed of `fit`, the step, the layer's name and the element alone: the same for any
    number of threads, and after a break.

    References
    ----------
    Srivastava et al., "Dropout", JMLR 15 (2014).
    """

    stem = "dropout"
    positions: ClassVar[Mapping[int, tuple[str, ...]]] = {1: ("p",)}

    def __init__(self, *, p: float = 0.5, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= p <= 1:
            raise ValueError(f"`p` (={p}) must lie between 0 and 1")
        self.p = float(p)

    def parameters(self, inputs: Sequence[TensorType]) -> tuple[ParameterSpec, ...]:
        return ()

    def emit(
        self, builder: GraphBuilder, inputs: Sequence[str], parameters: Mapping[str, str], name: str, tensor: str
    ) -> None:
        ratio = builder.constant(np.array(self.p, builder.types[inputs[0]].dtype), f"{name}.ratio")
        builder.add("Dropout", [inputs[0], ratio], name=name, outputs=[tensor])
