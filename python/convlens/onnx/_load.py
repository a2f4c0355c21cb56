"""An ONNX file as a Network."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import UnsupportedError
from ..nn import Network
from ._importer import import_model
from ._model import Source, read_model


def load(
    source: Source, *, outputs: str | Sequence[str] | None = None, input_shape: Sequence[int] | None = None
) -> Network:
    """Read a convolutional network from an ONNX file.

    Parameters
    ----------
    source : path-like, bytes or onnx.ModelProto
        Of opset 7 or newer. External data are read from the folder of the path, and from nowhere else.
    outputs : str or sequence of str, optional
        Tensors or nodes to compute instead of the file's outputs; what they do not need may be unsupported.
    input_shape : sequence of int, optional
        Shape of one image, such as ``(3, 224, 224)``, where the file leaves sizes open.

    Returns
    -------
    Network
        Tensors and nodes keep their names. The first axis of the input is the number of images, whatever number the
        file gives; ``net.notes`` says what else was changed, such as weights in half precision converted to float32.

    Raises
    ------
    ValueError
        The file is broken or contradicts itself, or `input_shape` is missing or does not fit.
    UnsupportedError
        An operator that the outputs need is not supported; the message names it and its node, and what is supported.
    ImportError
        The onnx package is not installed; the message gives the command.

    Examples
    --------
    >>> from onnx import helper, TensorProto
    >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 4, 4])
    >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 4, 4])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "g", [x], [y])
    >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    >>> load(model)
    Network(x float32(N, 3, 4, 4) -> y; 1 layers, 0 parameters, version 0)
    """
    model, folder, weights = read_model(source)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [info.name for info in model.graph.input if info.name not in stored]
    shapes = {} if input_shape is None else dict.fromkeys(inputs, tuple(input_shape))
    wanted = [outputs] if isinstance(outputs, str) else outputs
    imported = import_model(model, folder=folder, outputs=wanted, shapes=shapes, weights=weights)
    if len(imported.graph.inputs) != 1:
        raise UnsupportedError(
            f"the outputs {list(imported.graph.outputs)} need the inputs {list(imported.graph.inputs)}; a network has "
            "one: ask by `outputs` for tensors that need only one of them"
        )
    ((name, kind),) = imported.graph.inputs.items()
    if not kind.dtype.startswith("float"):
        raise UnsupportedError(f"input {name!r} is {kind.dtype}; a network takes floating-point images")
    return Network(graph=imported.graph, notes=imported.notes, paths=imported.paths)
