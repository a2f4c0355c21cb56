"""What every explanation method keeps, over the registry. A new method is taken up without an edit here."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import convlens as cl
from convlens import explain, nn
from convlens.explain import _task
from convlens.program import Program
from explain.interpreted import InterpretedNetwork
from explain.networks import (
    CLASSES,
    SHAPE,
    channels_last,
    first_row,
    given,
    images,
    linear,
    part,
    residual,
    small,
    spot,
    two_inputs,
)

METHODS = explain.methods()
ALL = pytest.mark.parametrize("name", METHODS)
MAPS = [name for name, row in METHODS.items() if row.values != "layer"]
# What finds a pixel where it is: windows and masks as fine as that.
FINE = {"occlusion": {"window": 3, "stride": 1}, "rise": {"grid_size": (20, 36), "n_samples": 1000}}
LOOPS = [name for name, row in METHODS.items() if row.program is None]
PURE = [name for name, row in METHODS.items() if row.program is not None]


def call(name, net, x, target=None, **more):
    return METHODS[name].function(net, x, target, **{**METHODS[name].options, **more})


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_every_method_of_the_first_issue_is_registered():
    wanted = "activations saliency input_x_gradient integrated_gradients smooth_grad guided_backprop deconvnet grad_cam"
    assert set(METHODS) >= {*wanted.split(), "occlusion", "rise"}


@ALL
def test_values_have_the_shape_the_registry_promises(name):
    why = call(name, small(), images(3))
    kind = METHODS[name].values
    if kind == "input":
        assert why.values.shape == (3, *SHAPE)
    elif kind == "map":
        assert why.values.shape == (3, 1, *SHAPE[1:])
    else:
        assert why.values.shape == (3, *small().graph.types[why.layer].per_image)
    assert why.values.dtype == np.float32
    assert np.asarray(why) is why.values
    assert why.method == name
    assert why.converged
    assert why.layer is not None or not METHODS[name].needs_layer


@ALL
@pytest.mark.parametrize("make", [small, residual])
def test_exporting_and_importing_change_nothing(name, make):
    pytest.importorskip("onnx.helper")
    net = make()
    nets = [each.astype("float64") for each in (net, cl.load(cl.onnx.to_model(net)))]
    before, after = (call(name, each, images(2, dtype="float64")) for each in nets)
    assert same_bits(before.values, after.values)
    assert (before.layer, before.output) == (after.layer, after.output)


@ALL
@pytest.mark.parametrize("make", [small, residual, channels_last, two_inputs])
def test_programs_agree_with_the_oracle_in_float64(name, make):
    net = make(dtype="float64")
    x = given(net, 2)
    compiled, plain = call(name, net, x), call(name, InterpretedNetwork(net), x)
    assert np.abs(compiled.values - plain.values).max() <= 1e-8 * np.abs(plain.values).max()
    assert np.array_equal(compiled.target, plain.target)
    assert np.allclose(compiled.score, plain.score, rtol=1e-10, atol=1e-12)


@ALL
def test_channels_last_give_the_same_map_turned(name):
    """Noise, windows, upsampling and baselines follow the layout of the input."""
    net, x = channels_last(dtype="float64"), images(2, dtype="float64")
    ours, theirs = call(name, net, np.moveaxis(x, 1, -1)), call(name, small(dtype="float64"), x)
    assert net.layout == ours.layout == "NHWC"
    assert np.abs(ours.channels_first - theirs.values).max() <= 1e-12 * np.abs(theirs.values).max()
    if METHODS[name].values != "layer":
        assert ours.values.shape == (2, *SHAPE[1:], SHAPE[0] if METHODS[name].values == "input" else 1)


# What the values are where the score is a weighted sum w.x + b of the pixels, from zero.
CLOSED_FORM = {
    "saliency": lambda w, x: w,
    "guided_backprop": lambda w, x: w,
    "deconvnet": lambda w, x: w,
    "smooth_grad": lambda w, x: w,
    "input_x_gradient": lambda w, x: w * x,
    "integrated_gradients": lambda w, x: w * x,
}


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_linear_network_gives_the_closed_form(name):
    net, weight = linear(dtype="float64")
    x = images(3, dtype="float64")
    target = np.array([1, 4, 0])
    why = call(name, net, x, target)
    expected = CLOSED_FORM[name](weight[target], x)
    assert np.abs(why.values - expected).max() <= 1e-12 * np.abs(expected).max()
    assert np.array_equal(why.target, target)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("row", "column"), [(4, 7), (15, 30), (3, 31)])
@pytest.mark.parametrize("padding", ["same", 1, 0])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_dot_is_found_where_it_is(name, row, column, padding, stride):
    net = spot(row, column, padding=padding, stride=stride)
    x = np.zeros((1, 1, 20, 36), np.float32)
    x[0, 0, row, column] = 1.0
    found = np.abs(call(name, net, x, 1, **FINE.get(name, {})).values[0]).sum(axis=0)
    rows, columns = np.nonzero(found >= 0.999 * found.max())
    # A plainly upsampled map may lie off by what the padding shifts the layer's grid against half-pixel centres.
    slack = 1.0 if METHODS[name].values == "input" else 1.0 + max(abs(first_row(padding, s, stride)) for s in (20, 36))
    assert found.max() > 0
    assert abs(rows.mean() - row) <= slack + (stride - 1)
    assert abs(columns.mean() - column) <= slack + (stride - 1)


# RISE gives it nothing only in the mean over masks: tests/explain/test_rise.py.
@pytest.mark.parametrize("name", [name for name in MAPS if not METHODS[name].needs_layer and name != "rise"])
def test_evidence_outside_the_receptive_field_gets_nothing(name):
    net = spot(5, 28, reach=0)
    x = images(1, shape=(1, 20, 36))
    options = {"window": 1, "stride": 1} if name == "occlusion" else {}
    values = np.abs(call(name, net, x, 1, **options).values[0]).sum(axis=0)
    inside = values[4:7, 27:30].copy()
    values[4:7, 27:30] = 0
    assert values.max() == 0
    assert inside.max() > 0


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if not row.seeded])
def test_permuting_the_batch_permutes_the_maps(name):
    net, x = small(), images(5)
    order = np.array([3, 0, 4, 1, 2])
    assert same_bits(call(name, net, x).values[order], call(name, net, x[order]).values)


@ALL
@pytest.mark.parametrize("make", [small, channels_last, two_inputs])
def test_an_image_in_a_batch_has_the_bits_it_has_alone(name, make):
    net = make()
    x = given(net, 5)
    together = call(name, net, x)
    for image in range(1 if METHODS[name].seeded else 5):
        alone = call(name, net, part(x, slice(image, image + 1)))
        assert same_bits(together[image].values, alone.values)
        assert together.score[image] == alone.score[0]


@ALL
@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("make", [small, channels_last, two_inputs])
def test_chunks_do_not_change_the_bits(name, batch_size, make):
    net = make()
    x = given(net, 5)
    assert same_bits(call(name, net, x).values, call(name, net, x, batch_size=batch_size).values)


def test_a_plan_that_went_before_its_program_is_made_anew():
    net, x = small(), images(2)
    first = explain.saliency(net, x, target=1).values
    del _task._PLANS[net]
    assert same_bits(explain.saliency(net, x, target=1, batch_size=2).values, first)


@ALL
def test_no_workspace_is_larger_than_the_bound_of_the_network(name, monkeypatch):
    sizes, own, through = [], Program.workspace, Program.run_through

    def workspace(program, n):
        made = own(program, n)
        sizes.append(made.nbytes)
        return made

    def run_through(program, entries, inputs, n, weights):
        workspace(program, n).release()  # the one that it takes then
        return through(program, entries, inputs, n, weights)

    monkeypatch.setattr(Program, "workspace", workspace)
    monkeypatch.setattr(Program, "run_through", run_through)
    call(name, small(), images(1), batch_size=1)
    bound = max(sizes) + 5000
    sizes.clear()
    free = call(name, small(), images(9))
    assert max(sizes) > bound
    sizes.clear()
    net = small()
    net.max_bytes = bound
    assert same_bits(call(name, net, images(9)).values, free.values)
    assert 0 < max(sizes) <= bound


@ALL
def test_threads_do_not_change_the_bits(name):
    net, x = residual(), images(4)
    before = cl.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            cl.set_num_threads(threads)
            results.append(call(name, net, x).values)
    finally:
        cl.set_num_threads(before)
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])


@ALL
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
def test_constant_images_are_explained_without_nan(name, level):
    why = call(name, small(), np.full((2, *SHAPE), level, np.float32))
    assert np.isfinite(why.values).all()
    assert same_bits(why.values[0], why.values[1])


@ALL
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_by_image(name, bad):
    x = images(3)
    x[1, 0, 2, 3] = bad
    with pytest.raises(ValueError, match=r"`images` has NaN or infinite values \(first in image 1, 1 in all\)"):
        call(name, small(), x)


@ALL
@pytest.mark.parametrize(("bad", "target"), [(np.nan, None), (np.nan, 2), (np.inf, None)])
def test_an_answer_that_is_no_number_is_refused(name, bad, target):
    net, x = small(), images(2)
    bias = net.parameters["linear1.bias"].copy()
    bias[2] = bad
    net.set_parameters({"linear1.bias": bias})
    with pytest.raises(ValueError, match=f"the network answers {bad} to image 0, in 'logits': there is nothing"):
        call(name, net, x, target)
    assert np.isfinite(call(name, net, x, 1).score).all()  # the other classes have answers


@ALL
def test_an_empty_batch_gives_empty_values(name):
    why = call(name, small(), images(0))
    assert len(why) == 0
    assert why.values.shape[1:] == call(name, small(), images(1)).values.shape[1:]


@ALL
@pytest.mark.parametrize(("target", "text"), [(99, r"`target` \(=99\) is out of range"), ((99,), r"is no place in")])
def test_a_target_is_checked_for_an_empty_batch_too(name, target, text):
    with pytest.raises(ValueError, match=text):
        call(name, small(), images(0), target)


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.seeded])
def test_the_seed_decides_the_noise(name):
    net, x = small(), images(2)
    first = call(name, net, x, seed=1)
    assert same_bits(first.values, call(name, net, x, seed=1).values)
    assert not np.allclose(first.values, call(name, net, x, seed=2).values)
    assert first.describe()["seed"] == 1


@ALL
def test_batches_stay_within_the_bound(name, monkeypatch):
    net = InterpretedNetwork(small())
    call(name, net, images(9), batch_size=4)
    assert net.largest == 4
    # A bound smaller than any image still runs them one by one.
    monkeypatch.setattr("convlens.explain._task.ARENA_BYTES", 1)
    net = InterpretedNetwork(small())
    call(name, net, images(3))
    assert net.largest == 1


class Interrupting:
    """Raises KeyboardInterrupt at the given run."""

    def __init__(self, at):
        self.at = at
        self.count = 0

    def __call__(self):
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt


@ALL
def test_an_interrupt_returns_what_there_is(name):
    whole = call(name, small(), images(3), batch_size=1)
    counter = Interrupting(0)
    call(name, InterpretedNetwork(small(), counter), images(3), batch_size=1)
    why = call(name, InterpretedNetwork(small(), Interrupting(counter.count)), images(3), batch_size=1)
    assert not why.converged
    assert any("interrupted" in note for note in why.notes)
    # The last run of the last image was lost; the first image is whole.
    assert np.allclose(why.values[0], whole.values[0], rtol=1e-4, atol=1e-5)
    assert why.target[0] == whole.target[0]


@ALL
def test_an_interrupt_before_anything_is_passed_on(name):
    with pytest.raises(KeyboardInterrupt):
        call(name, InterpretedNetwork(small(), Interrupting(1)), images(3))


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.model_dependent])
def test_other_weights_give_another_map(name):
    x = images(2)
    first, other = call(name, small(0), x, 1), call(name, small(7), x, 1)
    a, b = first.values.reshape(2, -1), other.values.reshape(2, -1)
    assert all(abs(np.corrcoef(a[i], b[i])[0, 1]) < 0.9 for i in range(2))


@ALL
def test_new_parameters_take_effect(name):
    net, x = small(0), images(2)
    before = call(name, net, x, 1).values.copy()
    net.set_parameters(small(7).parameters)
    assert same_bits(call(name, net, x, 1).values, call(name, small(7), x, 1).values)
    assert not np.allclose(before, call(name, net, x, 1).values)


@ALL
@pytest.mark.parametrize("ending", [nn.Softmax, nn.LogSoftmax])
def test_logits_are_explained_not_probabilities(name, ending):
    x = images(2)
    plain, ended = small(), small(ending=ending())
    a, b = call(name, plain, x), call(name, ended, x)
    assert same_bits(a.values, b.values)
    assert (a.output, b.output) == ("logits", "linear1")
    assert np.array_equal(a.score, b.score)
    assert a.probability is None
    logits = plain(x).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(b.probability, chances.max(axis=1), rtol=1e-5)


@ALL
def test_the_top_class_is_explained_by_default(name):
    net, x = small(), images(4)
    why = call(name, net, x)
    logits = net(x)
    assert np.array_equal(why.target, logits.argmax(axis=1))
    assert np.array_equal(why.score, logits.max(axis=1).astype(np.float64))


# Methods that are linear in what is explained.
@pytest.mark.parametrize(
    "name", ["saliency", "input_x_gradient", "integrated_gradients", "smooth_grad", "occlusion", "rise"]
)
def test_a_weighting_of_outputs_is_the_sum_over_them(name):
    net, x = small(dtype="float64"), images(2, dtype="float64")
    weights = np.zeros(CLASSES)
    weights[[1, 3]] = 2.0, -0.5
    whole = call(name, net, x, weights)
    parts = 2.0 * call(name, net, x, 1).values - 0.5 * call(name, net, x, 3).values
    assert np.allclose(whole.values, parts, rtol=1e-9, atol=1e-12)


@ALL
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda x: (x * 255).astype(np.uint8), TypeError, "scale first.*see convlens.image.load"),
        (lambda x: x[0], ValueError, "batch axis is missing"),
        (lambda x: np.moveaxis(x, 1, -1), ValueError, "channels are last"),
        (lambda x: x[:, :1], ValueError, "2 channel"),
    ],
)
def test_bad_images_are_named_with_their_remedy(name, change, error, text):
    with pytest.raises(error, match=text):
        call(name, small(), change(np.abs(images(2)) % 1))


@ALL
@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (CLASSES, ValueError, r"`target` \(=5\) is out of range: 'logits' has 5 classes, 0 to 4"),
        (-1, ValueError, r"`target` \(=-1\) is out of range"),
        ([0, 1], ValueError, r"`target` has the shape \(2,\) for 3 images"),
        ("cat", TypeError, r"`target` \(='cat'\) must be None, an int"),
        (True, TypeError, "must be None, an int"),
        (1.0, ValueError, "For a class number give an int"),
        ((1, 2), ValueError, r"is no place in 'logits', whose shape is \(N, 5\)"),
    ],
)
def test_bad_targets_are_named_with_their_remedy(name, target, error, text):
    with pytest.raises(error, match=text):
        call(name, small(), images(3), target)


@ALL
def test_bad_options_are_named(name):
    with pytest.raises(ValueError, match=r"`batch_size` \(=0\) must be an int of at least 1"):
        call(name, small(), images(1), batch_size=0)
    with pytest.raises(ValueError, match=r"`output` \(='logit'\) is not in the network; the nearest are 'logits'"):
        call(name, small(), images(1), output="logit")


@pytest.mark.parametrize("name", [name for name, row in METHODS.items() if row.needs_layer])
def test_a_mistyped_layer_gets_the_nearest_names(name):
    with pytest.raises(ValueError, match=r"`layer` \(='relv2'\) is not in the network; the nearest are 'relu2'"):
        call(name, small(), images(1), layer="relv2")


@ALL
def test_the_record_is_complete_and_survives_a_file(name, tmp_path):
    net, x = small(ending=nn.Softmax()), images(3)
    why = call(name, net, x)
    arrays, description = why.save(tmp_path / "why.npz")
    known = json.loads(description.read_text())
    assert known["method"] == name
    assert known["versions"]["convlens"] == cl.__version__
    assert set(known) >= {"arguments", "isa", "seed", "model_hash", "output", "layer", "notes", "converged"}
    assert set(METHODS[name].options) <= set(known["arguments"])
    for stored in (explain.load(arrays), pickle.loads(pickle.dumps(why))):
        assert same_bits(stored.values, why.values)
        assert np.array_equal(stored.target, why.target)
        assert stored.model_hash == why.model_hash
        assert stored.describe() == why.describe()
    assert why.model_hash != call(name, small(7, ending=nn.Softmax()), x).model_hash


@pytest.mark.parametrize("name", PURE)
def test_a_pure_program_alone_gives_the_bits_of_the_call(name):
    from convlens.program import compile as compile_program

    net, x = small(), images(2)
    why = call(name, net, x, 1)
    graph, entries = explain.graph_of(net, PURE)
    program = compile_program(graph, entries, dtype=net.dtype)
    workspace = program.workspace(2)
    found = workspace.run("forward", {net.input_name: x}, net.weights)
    assert np.array_equal(found["logits"][:, 1].astype(np.float64), why.score)
    if name in entries:
        seed = np.zeros((2, CLASSES), np.float32)
        seed[:, 1] = 1
        (seed_name,) = entries[name].inputs
        for _ in range(2):
            values = workspace.run(name, {seed_name: seed}, net.weights)[entries[name].outputs[0]]
            assert same_bits(values, why.values)
    else:
        assert same_bits(found[why.layer], why.values)
    workspace.release()


@pytest.mark.parametrize("name", LOOPS)
def test_a_method_that_loops_is_no_pure_program(name):
    with pytest.raises(cl.UnsupportedError, match=r"samples or loops.*pure programs are .*saliency"):
        explain.graph_of(small(), name)


@pytest.mark.parametrize("name", LOOPS)
def test_progress_is_drawn_only_when_asked(name, capfd):
    pytest.importorskip("tqdm")
    call(name, small(), images(1))
    assert capfd.readouterr().err == ""
    call(name, small(), images(1), progress=True)
    assert "it/s" in capfd.readouterr().err
