"""Every library computes every case, or says that it does not: checked against the oracle in a process of its own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from convlens import UnsupportedError, nn, reference
from convlens.cli.bench import LIBRARIES, OURS, Worker, case_of
from convlens.cli.bench._libraries import library
from convlens.graph import BATCH, GraphBuilder

CASES = [
    "n2 c3 h9 w8 k4 r3 s3 st1 p1 d1 g1 f32 fwd",
    "n2 c6 h9 w8 k4 r3 s2 st2x1 p1,0,2,1 d2 g2 f32 fwd",
    "n2 c4 h7 w6 k4 r3 s3 st2 p1 d1 g4 f32 fwd",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1 d1 g2 f32 grad_input",
    "n2 c6 h9 w8 k4 r3 s3 st2 p1 d1 g2 f32 grad_weight",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0 max f32 fwd",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0 avg f32 fwd",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0 max f32 grad_input",
    "n2 c3 h9 w8 r3 s2 st2x1 p1,0 avg f32 grad_input",
]
#: What some library computes alone in part.
FORWARD_ONLY = {"onnxruntime", "openvino", "ncnn"}
OURS_AND_PEERS = [
    pytest.param(name, marks=() if name in (*OURS, "numpy") else pytest.mark.parity) for name in LIBRARIES
]


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """The path of a network with what classifiers are made of."""
    x = nn.Input((3, 12, 10))
    y = nn.Conv2d(out_channels=8, kernel_size=3, bias=False)(nn.ZeroPad2d(padding=((1, 1), (2, 0)))(x))
    y = nn.ReLU(name="bounded")(nn.BatchNorm2d()(y))
    branch = nn.BatchNorm2d()(nn.Conv2d(out_channels=8, kernel_size=3, padding=1, groups=8)(y))
    y = nn.MaxPool2d(kernel_size=2)(nn.ReLU()(nn.Add()(branch, y)))
    y = nn.Linear(out_features=6)(nn.Flatten()(nn.AvgPool2d(kernel_size=3, stride=1, padding=1)(y)))
    net = nn.Network(inputs=x, outputs=nn.Softmax()(y))
    rng = np.random.default_rng(0)
    net.set_parameters(
        {name: (rng.random(v.shape) * 0.2 + 0.1).astype(v.dtype) for name, v in net.parameters.items() if v.ndim == 1}
    )
    builder = GraphBuilder(net.graph.subgraph([net.input_name]))
    bounds = [builder.constant(np.float32(v), f"bound{v}") for v in (0, 0.5)]
    for name, value in net.graph.constants.items():
        builder.constant(value, name)
    for node in net.graph.nodes:  # one ReLU as ReLU6 is: with a bound above, which some values pass
        if node.outputs == ("bounded",):
            builder.add("Clip", [*node.inputs, *bounds], outputs=node.outputs)
        else:
            builder.add(node.op, node.inputs, node.attributes, outputs=node.outputs)
    path = tmp_path_factory.mktemp("networks") / "residual.npz"
    nn.Network(graph=builder.build(net.graph.outputs)).save(path)
    return str(path)


@pytest.mark.parametrize("name", OURS_AND_PEERS)
def test_every_library_computes_what_the_oracle_does(name, residual):
    if not LIBRARIES[name].installed:
        pytest.skip(f"{name} is not installed")
    with Worker(name, partial(library, name), 1) as worker:
        for text in [*CASES, "digits", residual]:
            case = case_of(text)
            try:
                worker.ask("prepare", text, None)
            except UnsupportedError:
                derivative = case.problem is not None and case.problem.direction != "fwd"
                assert (name in FORWARD_ONLY and derivative) or (name == "convlens_ops" and case.problem is None)
                continue
            expected = reference.run(case.graph, case.feeds)[case.graph.outputs[0]]
            assert np.ptp(expected) > 0.01
            np.testing.assert_allclose(
                worker.ask("output"), expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=f"{name}: {text}"
            )
            assert worker.ask("time", 2, True) > 0


@pytest.mark.parity
def test_ncnn_joins_pads_and_flattens_what_onnx_files_hold(tmp_path):
    pytest.importorskip("ncnn")
    builder = GraphBuilder()
    x = builder.input("x", "float32", (BATCH, 3, 9, 8))
    rng = np.random.default_rng(0)

    def constant(value):
        return builder.constant(np.asarray(value))

    padded = builder.add("Pad", [x, constant([0, 0, 1, 0, 0, 0, 0, 2]), constant(np.float32(0))], {"mode": "constant"})
    weight = constant(rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
    y = builder.add("Conv", [padded, weight], {"kernel_shape": (3, 3)})
    y = builder.add("Concat", [y, builder.add("Relu", [y])], {"axis": 1})
    y = builder.add("MaxPool", [y], {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1})
    y = builder.add("Reshape", [y, constant([0, -1])])
    path = tmp_path / "joined.npz"
    nn.Network(graph=builder.build([y])).save(path)
    case = case_of(str(path), 2)
    call = LIBRARIES["ncnn"].make(case, 1)
    expected = reference.run(case.graph, case.feeds)[case.graph.outputs[0]]
    np.testing.assert_allclose(call.array(call.run()), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name in FORWARD_ONLY])
@pytest.mark.parity
def test_what_a_library_cannot_is_said(name):
    if not LIBRARIES[name].installed:
        pytest.skip(f"{name} is not installed")
    with Worker(name, partial(library, name), 1) as worker, pytest.raises(UnsupportedError, match="forward passes"):
        worker.ask("prepare", CASES[3], None)


def test_every_library_is_described():
    for name, row in LIBRARIES.items():
        assert row.note, name
        assert not row.installed or row.version, name
