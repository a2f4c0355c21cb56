"""If only one file is run, this is the one: the package alone with NumPy. `python tests/smoke.py`, no pytest needed."""

import subprocess
import sys

import numpy as np

import convlens as cl


def test_a_small_network_runs_and_is_explained() -> None:
    net = cl.nn.Sequential(
        cl.nn.Conv2d(out_channels=4, kernel_size=3),
        cl.nn.ReLU(),
        cl.nn.MaxPool2d(kernel_size=2),
        cl.nn.Flatten(),
        cl.nn.Linear(out_features=3),
        input_shape=(1, 8, 8),
        seed=0,
    )
    images = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    logits = net(images)
    expected = cl.reference.run(net.graph, {net.input_name: images})[net.output_name]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    why = cl.explain.saliency(net, images, target=[0, 2])
    assert np.asarray(why).shape == images.shape
    assert np.abs(np.asarray(why)).max() > 0


def test_import_is_light() -> None:
    code = (
        "import sys, time; import numpy; t = time.perf_counter(); import convlens; "
        "print(time.perf_counter() - t); "
        "print(*[m for m in ('matplotlib', 'PIL', 'tqdm', 'onnx', 'scipy', 'safetensors') if m in sys.modules])"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    seconds = sorted(float(run.stdout.split()[0]) for run in runs)
    heavy = runs[0].stdout.split()[1:]
    print(f"import convlens beyond numpy: {1000 * seconds[0]:.0f} ms at best, {1000 * seconds[2]:.0f} ms in the median")
    assert not heavy, f"`import convlens` also imports {heavy}"
    assert seconds[0] < 0.25, "the import became slow"


if __name__ == "__main__":
    test_a_small_network_runs_and_is_explained()
    test_import_is_light()
    print(f"convlens {cl.__version__} with NumPy {np.__version__}: 2 passed, 0 failed")
