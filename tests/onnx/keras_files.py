"""Channels-last files as tf2onnx writes Keras's networks, and what they compute, by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from onnx import ModelProto, TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")
F = torch.nn.functional

_MODEL = "StatefulPartitionedCall/model/"
INPUT = "input_1"


class KerasFile:
    """Nodes of a file, each beside the function of PyTorch's that it is."""

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self.shape = tuple(shape)
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: dict[str, np.ndarray] = {}
        self._steps: list[tuple[str, Callable[..., Any], list[str]]] = []

    def weight(self, name: str, value: Any) -> str:
        name = _MODEL + name
        self._weights[name] = np.asarray(value)
        return name

    def random(self, name: str, *shape: int, low: float | None = None) -> str:
        """Normal by the number of inputs of an output; or uniform in [low, low + 1)."""
        value = self._rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        return self.weight(name, np.float32(value if low is None else self._rng.uniform(low, low + 1, shape)))

    def node(self, op: str, inputs: Sequence[str], name: str, function: Callable[..., Any], **attributes: Any) -> str:
        """Append a node; its tensor is called as TensorFlow calls a first output."""
        output = f"{_MODEL}{name}:0"
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=_MODEL + name, **attributes))
        self._steps.append((output, function, list(inputs)))
        return output

    def model(self, output: str) -> ModelProto:
        given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["unk__6", *self.shape])
        end = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        stored = [numpy_helper.from_array(array, name) for name, array in self._weights.items()]
        graph = helper.make_graph(self._nodes, "tf2onnx", [given], [end], stored)
        return helper.make_model(graph, producer_name="tf2onnx", opset_imports=[helper.make_opsetid("", 15)])

    def compute(self, x: Any, output: str) -> Any:
        """The output by PyTorch, in the type of `x`."""
        tensors = {name: torch.tensor(array) for name, array in self._weights.items()}
        tensors = {name: value.to(x.dtype) if value.is_floating_point() else value for name, value in tensors.items()}
        tensors[INPUT] = x
        for name, function, inputs in self._steps:
            tensors[name] = function(*(tensors[each] for each in inputs))
        return tensors[output]

    # -- layers --------------------------------------------------------------------------------------------------------

    def channels_first(self, x: str, name: str) -> str:
        return self.node("Transpose", [x], name, lambda x: x.permute(0, 3, 1, 2), perm=[0, 3, 1, 2])

    def channels_last(self, x: str, name: str) -> str:
        return self.node("Transpose", [x], name, lambda x: x.permute(0, 2, 3, 1), perm=[0, 2, 3, 1])

    def conv(
        self,
        x: str,
        name: str,
        channels: tuple[int, int],
        kernel: int = 3,
        stride: int = 1,
        pads: Sequence[int] = (0, 0, 0, 0),
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """`pads` are top, left, bottom, right."""
        inputs = [x, self.random(f"{name}/weights_fused_bn", channels[1], channels[0] // groups, kernel, kernel)]
        inputs += [self.random(f"{name.rpartition('/')[0]}/BiasAdd/bias", channels[1], low=-0.5)] if bias else []
        top, left, bottom, right = pads

        def function(x: Any, weight: Any, bias: Any = None) -> Any:
            return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, groups=groups)

        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "dilations": [1, 1], "group": groups}
        return self.node("Conv", inputs, name, function, pads=list(pads), **sizes)

    def scale_and_shift(self, x: str, name: str, channels: int) -> str:
        """A batch-norm written out."""
        scale = self.random(f"{name}/mul", 1, channels, 1, 1, low=0.5)
        y = self.node("Mul", [x, scale], f"{name}/mul_1", torch.mul)
        return self.node(
            "Add", [y, self.random(f"{name}/sub", 1, channels, 1, 1, low=-0.5)], f"{name}/add_1", torch.add
        )

    def relu(self, x: str, name: str) -> str:
        return self.node("Relu", [x], f"{name}/Relu", torch.relu)

    def relu6(self, x: str, name: str) -> str:
        y = self.node("Max", [x, self.weight(f"{name}/zero", np.float32([0]))], f"{name}/Relu6__5", torch.maximum)
        return self.node("Min", [y, self.weight(f"{name}/six", np.float32([6]))], f"{name}/Relu6", torch.minimum)

    def swish(self, x: str, name: str) -> str:
        return self.node("Mul", [x, self.sigmoid(x, name)], f"{name}/mul", torch.mul)

    def sigmoid(self, x: str, name: str) -> str:
        return self.node("Sigmoid", [x], f"{name}/Sigmoid", torch.sigmoid)

    def dense(self, x: str, name: str, features: tuple[int, int]) -> str:
        y = self.node("MatMul", [x, self.random(f"{name}/MatMul/kernel", *features)], f"{name}/MatMul", torch.matmul)
        return self.node("Add", [y, self.random(f"{name}/bias", features[1], low=-0.5)], f"{name}/BiasAdd", torch.add)


def mobilenet() -> tuple[KerasFile, str]:
    """MobileNet: "same" padding of a stride of 2 is uneven, batch-norms are written out, ReLU6 is a Max and a Min."""
    k = KerasFile((32, 40, 3))
    x = k.channels_first(INPUT, "conv1/Conv2D__6")
    x = k.relu6(
        k.scale_and_shift(k.conv(x, "conv1/Conv2D", (3, 8), 3, 2, (0, 0, 1, 1)), "conv1_bn/batchnorm", 8), "conv1_relu"
    )
    for i, (out, stride) in enumerate([(16, 1), (32, 2), (32, 1)], 1):
        channels, pads = (8, 16, 32)[i - 1], (0, 0, 1, 1) if stride == 2 else (1, 1, 1, 1)
        x = k.conv(x, f"conv_dw_{i}/depthwise", (channels, channels), 3, stride, pads, channels)
        x = k.relu6(k.scale_and_shift(x, f"conv_dw_{i}_bn/batchnorm", channels), f"conv_dw_{i}_relu")
        x = k.conv(x, f"conv_pw_{i}/Conv2D", (channels, out), 1)
        x = k.relu6(k.scale_and_shift(x, f"conv_pw_{i}_bn/batchnorm", out), f"conv_pw_{i}_relu")
    x = k.node("GlobalAveragePool", [x], "global_average_pooling2d/Mean", lambda x: x.mean((2, 3), keepdim=True))
    axes = k.weight("global_average_pooling2d/axes", np.array([2, 3]))
    x = k.node("Squeeze", [x, axes], "global_average_pooling2d/Mean_Squeeze__52", lambda x, _: x.flatten(1))
    return k, k.node(
        "Softmax", [k.dense(x, "predictions", (32, 10))], "predictions/Softmax", lambda x: x.softmax(1), axis=1
    )


def resnet() -> tuple[KerasFile, str]:
    """ResNet: padded while channels are last, a maximum with "same" padding, biases, BatchNormalization."""
    k = KerasFile((36, 28, 3), seed=1)

    def norm(x: str, name: str, channels: int) -> str:
        bounds = {"gamma": 0.5, "beta": -0.5, "moving_mean": -0.5, "moving_variance": 0.5}
        inputs = [x, *(k.random(f"{name}/{part}", channels, low=low) for part, low in bounds.items())]
        epsilon = float(np.float32(1.001e-5))

        def function(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> Any:
            return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)

        return k.node("BatchNormalization", inputs, f"{name}/FusedBatchNormV3", function, epsilon=epsilon)

    pads = k.weight("conv1_pad/Pad/paddings", np.array([0, 3, 3, 0, 0, 3, 3, 0]))
    x = k.node("Pad", [INPUT, pads], "conv1_pad/Pad", lambda x, _: F.pad(x, (0, 0, 3, 3, 3, 3)))
    x = k.channels_first(x, "conv1_conv/Conv2D__12")
    x = k.relu(norm(k.conv(x, "conv1_conv/Conv2D", (3, 8), 7, 2, bias=True), "conv1_bn", 8), "conv1_relu")

    def pool(x: Any) -> Any:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-np.inf), 3, 2)

    sizes = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    x = k.node("MaxPool", [x], "pool1_pool/MaxPool", pool, **sizes)
    for i, (channels, stride) in enumerate([(8, 1), (16, 2)], 1):
        name, before = f"conv2_block{i}", (8, 8)[i - 1]
        shortcut = norm(
            k.conv(x, f"{name}_0_conv/Conv2D", (before, channels), 1, stride, bias=True), f"{name}_0_bn", channels
        )
        y = k.conv(x, f"{name}_1_conv/Conv2D", (before, channels), 1, stride, bias=True)
        y = k.relu(norm(y, f"{name}_1_bn", channels), f"{name}_1_relu")
        y = norm(
            k.conv(y, f"{name}_2_conv/Conv2D", (channels, channels), 3, 1, (1,) * 4, bias=True),
            f"{name}_2_bn",
            channels,
        )
        x = k.relu(k.node("Add", [shortcut, y], f"{name}_add/add", torch.add), f"{name}_out")
    x = k.node("ReduceMean", [x], "avg_pool/Mean", lambda x: x.mean((2, 3)), axes=[2, 3], keepdims=0)
    return k, k.dense(x, "predictions", (16, 7))


def segmenter() -> tuple[KerasFile, str]:
    """A U-Net with swish and squeeze-and-excitation; joined and answered while channels are last."""
    k = KerasFile((24, 20, 3), seed=2)
    x = k.channels_first(INPUT, "stem_conv/Conv2D__9")
    first = k.swish(k.conv(x, "stem_conv/Conv2D", (3, 8), 3, 1, (1,) * 4, bias=True), "stem_activation")
    x = k.swish(k.conv(first, "block1_conv/Conv2D", (8, 12), 3, 2, (0, 0, 1, 1), bias=True), "block1_activation")
    y = k.node("ReduceMean", [x], "se_squeeze/Mean", lambda x: x.mean((2, 3), keepdim=True), axes=[2, 3], keepdims=1)
    y = k.swish(k.conv(y, "se_reduce/Conv2D", (12, 4), 1, bias=True), "se_reduce_activation")
    y = k.sigmoid(k.conv(y, "se_expand/Conv2D", (4, 12), 1, bias=True), "se_expand_activation")
    x = k.node("Mul", [x, y], "se_excite/mul", torch.mul)
    kernel = k.random("up/conv2d_transpose/kernel", 12, 8, 3, 3)

    def transposed(x: Any, weight: Any) -> Any:
        return F.conv_transpose2d(x, weight, stride=2)[:, :, :-1, :-1]

    sizes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}
    learned = k.node("ConvTranspose", [x, kernel], "up/conv2d_transpose", transposed, **sizes)
    scales = k.weight("up_sampling2d/scales", np.float32([1, 1, 2, 2]))
    modes = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    repeated = k.node(
        "Resize",
        [x, k.weight("up_sampling2d/roi", np.zeros(0, np.float32)), scales],
        "up_sampling2d/resize/ResizeNearestNeighbor",
        lambda x, *_: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
        **modes,
    )
    parts = [k.channels_last(t, f"concatenate/concat__{20 + i}") for i, t in enumerate((learned, repeated, first))]
    x = k.node("Concat", parts, "concatenate/concat", lambda *parts: torch.cat(parts, 3), axis=3)
    x = k.channels_first(x, "merge/Conv2D__30")
    x = k.swish(k.conv(x, "merge/Conv2D", (28, 8), 3, 1, (1,) * 4, bias=True), "merge_activation")
    x = k.channels_last(k.conv(x, "head/Conv2D", (8, 4), 1, bias=True), "head/BiasAdd__40")
    return k, k.node("Softmax", [x], "head/Softmax", lambda x: x.softmax(3), axis=3)


#: The network, and the end of its automatic layer's name.
FILES = {
    "mobilenet": (mobilenet, "conv_pw_3_relu/Relu6:0"),
    "resnet": (resnet, "conv2_block2_out/Relu:0"),
    "segmenter": (segmenter, "merge_activation/mul:0"),
}
