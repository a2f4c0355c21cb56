"""Every method on EfficientNet-Lite0 and the photograph of a cat; in float64 beside PyTorch and Captum."""

from __future__ import annotations

import numpy as np
import pytest

from convlens import explain
from lite0 import photograph, torch_module, trained

TOLERANCE = 1e-8  # max|a - b| / max|b|
TIGER_CAT = 282
_CHEAP = {"occlusion": {"window": 64, "stride": 64}}


@pytest.mark.parametrize("name", explain.methods())
def test_every_method_explains_the_cat(name):
    images, _, _ = photograph("chelsea")
    row = explain.methods()[name]
    why = row.function(trained(), images, TIGER_CAT, **_CHEAP.get(name, row.options))
    assert np.isfinite(why.values).all()
    assert why.values.any()
    assert why.target.tolist() == [TIGER_CAT]
    assert why.layer == ("relu_head" if row.needs_layer else None)


@pytest.fixture(scope="module")
def pair():
    """PyTorch's network, whose every activation is a module of its own, ours, and the cat in both forms."""
    torch = pytest.importorskip("torch")
    images, _, _ = photograph("chelsea")
    x = images.astype(np.float64)
    return _unshared(torch, torch_module(double=True)), trained(double=True), x, torch.tensor(x, requires_grad=True)


def _unshared(torch, model):
    """Captum's hooks see the last use of a module only: give each use one of its own."""

    class Block(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block, self.relu0, self.relu1 = block, torch.nn.ReLU6(), torch.nn.ReLU6()

        def forward(self, x, drop_connect_rate=None):
            block, y = self.block, x
            if block._block_args.expand_ratio != 1:
                y = self.relu0(block._bn0(block._expand_conv(y)))
            y = self.relu1(block._bn1(block._depthwise_conv(y)))
            y = block._bn2(block._project_conv(y))
            return y + x if block._block_args.stride in (1, [1]) and y.shape == x.shape else y

    class Whole(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.relu_stem, self.relu_head = model, torch.nn.ReLU6(), torch.nn.ReLU6()
            self.blocks = torch.nn.ModuleList(Block(block) for block in model._blocks)

        def forward(self, x):
            y = self.relu_stem(self.model._bn0(self.model._conv_stem(x)))
            for block in self.blocks:
                y = block(y)
            y = self.relu_head(self.model._bn1(self.model._conv_head(y)))
            return self.model._fc(self.model._avg_pooling(y).flatten(1))

    whole = Whole(model).eval()
    x = torch.rand(1, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(whole(x), model(x))
    return whole


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@pytest.mark.parity
def test_logits_and_the_gradient_of_the_loss_are_pytorchs(pair):
    torch = pytest.importorskip("torch")
    module, net, x, tx = pair
    logits = module(tx)
    close(net(x), logits)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([TIGER_CAT]))
    (gradient,) = torch.autograd.grad(loss, tx)
    close(explain.saliency(net, x, TIGER_CAT, of="loss").values, gradient)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(
    ("name", "theirs", "given"),
    [
        ("saliency", "Saliency", {"abs": False}),
        ("input_x_gradient", "InputXGradient", {}),
    ],
)
def test_gradients_are_captums(pair, name, theirs, given):
    captum = pytest.importorskip("captum.attr")
    module, net, x, tx = pair
    expected = getattr(captum, theirs)(module).attribute(tx, target=TIGER_CAT, **given)
    close(explain.methods()[name].function(net, x, TIGER_CAT).values, expected)


@pytest.mark.parity
def test_integrated_gradients_are_pytorchs(pair):
    """Captum rounds the weights of the steps to float32."""
    torch = pytest.importorskip("torch")
    module, net, x, tx = pair
    total = 0
    for point, weight in zip(*np.polynomial.legendre.leggauss(3), strict=True):
        on_path = torch.tensor((1 + point) / 2 * x, requires_grad=True)
        total = total + weight / 2 * torch.autograd.grad(module(on_path)[0, TIGER_CAT], on_path)[0]
    close(explain.integrated_gradients(net, x, TIGER_CAT, n_steps=3).values, tx * total)


@pytest.mark.parity
def test_occlusion_is_pytorchs(pair):
    """Captum adds the windows up in float32."""
    torch = pytest.importorskip("torch")
    module, net, x, _ = pair
    lost, count = np.zeros((224, 224)), np.zeros((224, 224))
    with torch.no_grad():
        clean = float(module(torch.tensor(x))[0, TIGER_CAT])
        for top in (0, 62, 124):
            for left in (0, 62, 124):
                covered = x.copy()
                covered[..., top : top + 100, left : left + 100] = -127 / 128
                drop = clean - float(module(torch.tensor(covered))[0, TIGER_CAT])
                lost[top : top + 100, left : left + 100] += drop
                count[top : top + 100, left : left + 100] += 1
    recipe = photograph("chelsea")[2]
    why = explain.occlusion(net, x, TIGER_CAT, window=100, stride=62, baselines="black", recipe=recipe)
    close(why.values[0, 0], torch.tensor(lost / count))


@pytest.mark.parity
@pytest.mark.parametrize("layer", ["relu_head", "blocks.10.add"])
def test_grad_cam_is_captums(pair, layer):
    captum = pytest.importorskip("captum.attr")
    module, net, x, tx = pair
    part = module.relu_head if layer == "relu_head" else module.blocks[10]
    expected = captum.LayerGradCam(module, part).attribute(tx, target=TIGER_CAT)
    close(explain.grad_cam(net, x, TIGER_CAT, layer=layer, relu=False, upsample=None).values, expected)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_rules_are_the_papers_on_relu6(pair, name):
    """Captum hooks ReLU alone, so ReLU6 is written out: ReLU's rule below 0 and, for guided backprop, above 6 too."""
    torch = pytest.importorskip("torch")
    module, net, x, tx = pair

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            ctx.save_for_backward(y)
            return y.clamp(0, 6)

        @staticmethod
        def backward(ctx, gradient):
            (y,) = ctx.saved_tensors
            kept = gradient.clamp(min=0)
            return kept * ((y > 0) & (y < 6)) if name == "guided_backprop" else kept

    replaced = [part for part in module.modules() if isinstance(part, torch.nn.ReLU6)]
    try:
        for part in replaced:
            part.forward = Rule.apply
        (gradient,) = torch.autograd.grad(module(tx)[0, TIGER_CAT], tx)
    finally:
        for part in replaced:
            del part.forward
    close(explain.methods()[name].function(net, x, TIGER_CAT).values, gradient)
