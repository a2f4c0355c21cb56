"""Explanations: convlens from the ONNX file, Captum and pytorch-grad-cam from PyTorch's module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..cases import Case
from ..made import Array, Library, Made, refuse
from ..networks import NETS, images, module, onnx_file, quiet, torchvision

STEPS, SAMPLES, NOISE, TARGET = 50, 25, 0.15, 1
#: RISE's masks; its paper takes a hundred times as many, one as costly as the other.
MASKS, CELLS, KEPT = 64, 7, 0.5
#: Captum's batches where a setting is its best: steps, noisy samples and windows that go through at once.
BATCH = 8


def _ours(case: Case, folder: Path) -> tuple[Any, Array, Any]:
    import convlens as cl

    cl.ops.set_num_threads(case.threads)
    net = cl.load(onnx_file(folder, case.subject))
    return net, images(case.subject, case.n), np.full(case.n, TARGET)


def convlens(case: Case, folder: Path) -> Made:
    from convlens import explain

    net, x, target = _ours(case, folder)
    window, stride = NETS[case.subject].window
    calls: dict[str, Callable[[], Any]] = {
        "saliency": lambda: explain.saliency(net, x, target),
        "integrated_gradients": lambda: explain.integrated_gradients(net, x, target, n_steps=STEPS),
        "smooth_grad": lambda: explain.smooth_grad(net, x, target, n_samples=SAMPLES, noise_level=NOISE),
        "grad_cam": lambda: explain.grad_cam(net, x, target, relu=False, upsample=None),
        "occlusion": lambda: explain.occlusion(net, x, target, window=window, stride=stride),
        "rise": lambda: explain.rise(net, x, target, n_samples=MASKS, grid_size=CELLS, p_keep=KEPT),
    }
    # The noise of two libraries differs.
    return Made(calls[case.what], None if case.what == "smooth_grad" else lambda why: why.values)


def convlens_forward(case: Case, folder: Path) -> Made:
    """The answer alone, which Grad-CAM is measured by."""
    if case.what != "grad_cam":
        raise refuse("a forward pass", case.what)
    net, x, _ = _ours(case, folder)
    return Made(lambda: net(x), None)


def captum(case: Case, folder: Path, *, best: bool = False) -> Made:
    if case.what == "rise":
        raise refuse("Captum", case.what)
    import captum.attr as methods
    import torch

    torch.set_num_threads(case.threads)
    made, x = module(folder, case.subject), torch.from_numpy(images(case.subject, case.n))
    if best:
        made, x = made.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    target = torch.full((case.n,), TARGET)
    saliency, path = methods.Saliency(made), methods.IntegratedGradients(made)
    noisy, occlusion = methods.NoiseTunnel(saliency), methods.Occlusion(made)
    cam = methods.LayerGradCam(made, made.get_submodule(NETS[case.subject].layer))
    looked = {"attribute_to_layer_input": NETS[case.subject].at_input}
    (window, stride), depth = NETS[case.subject].window, x.shape[1]
    deviation = NOISE * float(x.detach().max() - x.detach().min())
    more: dict[str, dict[str, int]] = {
        "integrated_gradients": {"internal_batch_size": max(BATCH, case.n)},
        "smooth_grad": {"nt_samples_batch_size": max(1, BATCH // case.n)},
        "occlusion": {"perturbations_per_eval": max(1, BATCH // case.n)},
    }
    given: dict[str, Any] = more.get(case.what, {}) if best else {}
    windows = {"sliding_window_shapes": (depth, window, window), "strides": (depth, stride, stride), "baselines": 0}
    noise = {"nt_type": "smoothgrad", "nt_samples": SAMPLES, "stdevs": deviation, "abs": False}
    calls: dict[str, Callable[[], Any]] = {
        "saliency": lambda: saliency.attribute(x, target=target, abs=False),
        "integrated_gradients": lambda: path.attribute(x, target=target, n_steps=STEPS, **given),
        "smooth_grad": lambda: noisy.attribute(x, target=target, **noise, **given),
        "grad_cam": lambda: cam.attribute(x, target=target, **looked),
        "occlusion": lambda: occlusion.attribute(x, target=target, **windows, **given)[:, :1],
    }
    return Made(calls[case.what], None if case.what == "smooth_grad" else lambda values: values.detach().numpy())


def captum_best(case: Case, folder: Path) -> Made:
    return captum(case, folder, best=True)


def rise_loop(case: Case, folder: Path, *, best: bool = False) -> Made:
    """The loop of RISE's authors in PyTorch, over masks that it finds made; they take 100 at once."""
    if case.what != "rise":
        raise refuse("the loop of RISE", case.what)
    import torch

    from convlens.perturb import grid_masks

    torch.set_num_threads(case.threads)
    form = torch.channels_last if best else torch.contiguous_format
    made, given = module(folder, case.subject).to(memory_format=form), images(case.subject, case.n)
    x = torch.from_numpy(given)
    at_once, size = BATCH if best else 100, given.shape[2:]
    masks = [
        torch.from_numpy(
            grid_masks(size, (CELLS, CELLS), p_keep=KEPT, seed=0, image=i, samples=range(MASKS))[:, np.newaxis]
        )
        for i in range(case.n)
    ]

    def run() -> Any:
        maps = []
        with torch.inference_mode():
            for image, own in zip(x, masks, strict=True):
                seen = (own[i : i + at_once] * image for i in range(0, MASKS, at_once))
                scores = torch.cat([made(batch.contiguous(memory_format=form))[:, TARGET] for batch in seen])
                maps.append((scores - scores.mean()) @ own.reshape(MASKS, -1) / MASKS / KEPT)
        return torch.stack(maps).reshape(case.n, 1, *size)

    return Made(run, lambda values: values.numpy())


def rise_loop_best(case: Case, folder: Path) -> Made:
    return rise_loop(case, folder, best=True)


def grad_cam(case: Case, folder: Path) -> Made:
    """The package pytorch-grad-cam; its map is scaled and upsampled, so that it is not compared."""
    if case.what != "grad_cam":
        raise refuse("pytorch-grad-cam", case.what)
    if NETS[case.subject].at_input:
        raise refuse("pytorch-grad-cam", "map of a module's input")
    import torch

    torch.set_num_threads(case.threads)
    torchvision()
    with quiet():
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    made = module(folder, case.subject)
    cam = GradCAM(model=made, target_layers=[made.get_submodule(NETS[case.subject].layer)])
    x = torch.from_numpy(images(case.subject, case.n))
    targets = [ClassifierOutputTarget(TARGET)] * case.n
    return Made(lambda: cam(input_tensor=x, targets=targets), None)


LIBRARIES = {
    "convlens": Library(convlens, ("convlens",), "defaults; from the ONNX file"),
    "convlens_forward": Library(convlens_forward, ("convlens",), "its forward pass alone, beside Grad-CAM", peer=False),
    "captum": Library(captum, ("captum", "torchvision"), "defaults"),
    "captum_best": Library(captum_best, ("captum", "torchvision"), f"channels-last, {BATCH} images at once"),
    "rise_loop": Library(rise_loop, ("torch", "torchvision"), "RISE's authors' loop, masks made beforehand"),
    "rise_loop_best": Library(
        rise_loop_best, ("torch", "torchvision"), f"the same, channels-last, {BATCH} images at once"
    ),
    "grad_cam": Library(
        grad_cam, ("pytorch_grad_cam", "ttach", "cv2", "torchvision"), "defaults; its map is scaled and upsampled"
    ),
}
