from __future__ import annotations

import numpy as np
import pytest

from convlens import explain, image, nn
from explain.networks import images, small


def test_an_item_is_the_explanation_of_one_image():
    why = explain.saliency(small(), images(3))
    one = why[1]
    assert len(one) == 1
    assert np.array_equal(one.values[0], why.values[1])
    assert one.target[0] == why.target[1]
    assert np.array_equal(why[-1].values, why[2].values)
    assert len(why[1:]) == 2
    assert [len(each) for each in why] == [1, 1, 1]
    with pytest.raises(IndexError, match="image 3 of an explanation of 3"):
        why[3]


def test_the_array_is_the_values():
    why = explain.saliency(small(), images(2))
    assert np.asarray(why) is why.values
    assert np.asarray(why, dtype=np.float64).dtype == np.float64
    assert (np.abs(why) >= 0).all()


def test_totals_are_summed_in_double():
    why = explain.saliency(small(), images(3))
    assert why.total().dtype == np.float64
    assert np.allclose(why.total(), why.values.sum(axis=(1, 2, 3), dtype=np.float64))


def test_it_prints_what_matters():
    text = repr(explain.integrated_gradients(small(), images(2), 3, n_steps=2))
    assert text.startswith("integrated_gradients of 'logits': values float32(2, 2, 20, 36)")
    assert "target (score) 3 (" in text
    assert "delta at most" in text


def test_the_recipe_is_stored(tmp_path):
    recipe = image.Recipe(size=(20, 36), mean=(0.5, 0.4, 0.3))
    why = explain.saliency(small(), images(1))
    _, description = why.save(tmp_path / "why", recipe=recipe)
    assert '"mean": [\n' in description.read_text()


def test_a_batch_cannot_be_drawn_as_one():
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match=r"take why\[0\].plot"):
        explain.saliency(small(), images(2)).plot()


def test_several_methods_share_one_graph():
    net = small(ending=nn.Softmax())
    graph, entries = explain.graph_of(net, ["saliency", "grad_cam", "activations"], layer="relu1")
    assert list(entries) == ["forward", "saliency", "grad_cam"]
    assert entries["forward"].outputs == ("linear1", net.output_name, "relu1")
    assert entries["saliency"].inputs == ("saliency_seed",)
    assert sum(node.op == "Conv" for node in graph.nodes) == 2
    # Grad-CAM's backward half ends at its layer: only saliency goes through the first convolution.
    assert sum(node.op == "ConvGradInput" for node in graph.nodes) == 3


def test_a_network_may_use_the_names_of_methods():
    x = nn.Input((1, 6, 6))
    y = nn.ReLU(name="saliency_seed")(nn.Conv2d(out_channels=2, kernel_size=3, name="grad_cam")(x))
    net = nn.Network(inputs=x, outputs=nn.Linear(out_features=2)(nn.Flatten()(y)))
    x = images(1, shape=(1, 6, 6))
    assert explain.saliency(net, x).values.shape == (1, 1, 6, 6)
    assert explain.grad_cam(net, x).layer == "saliency_seed"


def test_a_layer_for_a_method_without_one_is_refused():
    with pytest.raises(TypeError, match=r"`layer` \(='relu1'\) is of no use to saliency"):
        explain.graph_of(small(), "saliency", layer="relu1")


def test_an_unknown_method_lists_the_known():
    with pytest.raises(ValueError, match=r"`method` \(='gradcam'\).*there are .*grad_cam"):
        explain.graph_of(small(), "gradcam")


def test_a_method_must_cite_its_paper():
    with pytest.raises(ValueError, match="must cite an arXiv id"):
        explain.method(values="input", paper="Somebody, 2020")


def test_a_rule_beyond_its_paper_is_noted():
    from convlens.graph import GraphBuilder

    b = GraphBuilder()
    x = b.input("images", "float32", ("N", 1, 4, 4))
    y = b.add("Clip", [x, b.constant(np.float32(0)), b.constant(np.float32(6))], name="relu6")
    y = b.add("Flatten", [y], name="flat")
    y = b.add("Gemm", [y, b.constant(np.ones((16, 2), np.float32))], name="logits")
    net = nn.Network(graph=b.build([y]))
    x = images(1, shape=(1, 4, 4))
    assert any("ReLU6" in note for note in explain.guided_backprop(net, x).notes)
    assert explain.saliency(net, x).notes == ()
