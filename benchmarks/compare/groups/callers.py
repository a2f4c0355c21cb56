"""One network called by several threads of Python at once: the time of many single images on two processors.

What convlens is compared with are the other arrangements of the same calls, its own and the peers'.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..cases import Case
from ..made import Array, Library, Made
from ..networks import INPUT, images, onnx_file
from . import forward

#: Images of a turn, and the threads that bring them: each its own share, one after the other, as a server's would.
IMAGES, CALLERS = 32, 4


def _shared(call: Callable[[int], Any], callers: int) -> Made:
    pool = ThreadPoolExecutor(callers)

    def bring(caller: int) -> None:
        for image in range(caller, IMAGES, callers):
            call(image)

    return Made(lambda: list(pool.map(bring, range(callers))), None, keep=pool)


def _ours(case: Case, folder: Path, callers: int, threads: int) -> Made:
    import convlens as cl

    cl.ops.set_num_threads(threads)
    net, x = cl.load(onnx_file(folder, case.subject)), images(case.subject, IMAGES)
    return _shared(lambda i: net(x[i : i + 1]), callers)


def convlens(case: Case, folder: Path) -> Made:
    return _ours(case, folder, CALLERS, case.threads)


def convlens_one(case: Case, folder: Path) -> Made:
    return _ours(case, folder, 1, case.threads)


def convlens_each(case: Case, folder: Path) -> Made:
    return _ours(case, folder, case.threads, 1)


def convlens_batch(case: Case, folder: Path) -> Made:
    import convlens as cl

    cl.ops.set_num_threads(case.threads)
    net, x = cl.load(onnx_file(folder, case.subject)), images(case.subject, IMAGES)
    return Made(lambda: net(x), None)


def _onnxruntime(case: Case, folder: Path, callers: int, threads: int) -> Made:
    session, x = forward.session(case, folder, threads), images(case.subject, IMAGES)
    feeds: list[dict[str, Array]] = [{INPUT: x[i : i + 1]} for i in range(IMAGES)]
    return _shared(lambda i: session.run(None, feeds[i]), callers)


def onnxruntime(case: Case, folder: Path) -> Made:
    return _onnxruntime(case, folder, CALLERS, 1)


def onnxruntime_one(case: Case, folder: Path) -> Made:
    return _onnxruntime(case, folder, 1, case.threads)


def openvino(case: Case, folder: Path) -> Made:
    import openvino

    queue = openvino.AsyncInferQueue(forward.request(case, folder, "THROUGHPUT"), CALLERS)
    x = images(case.subject, IMAGES)

    def run() -> None:
        for i in range(IMAGES):
            queue.start_async({0: x[i : i + 1]})
        queue.wait_all()

    return Made(run, None)


OURS = ("convlens",)
LIBRARIES = {
    "convlens": Library(convlens, OURS, f"{CALLERS} callers, as many threads as there are processors"),
    "convlens_one": Library(convlens_one, OURS, "one caller, all threads", peer=False),
    "convlens_each": Library(convlens_each, OURS, "a caller for each processor, a thread each", peer=False),
    "convlens_batch": Library(convlens_batch, OURS, f"one call with all {IMAGES} images", peer=False),
    "onnxruntime": Library(onnxruntime, ("onnxruntime",), f"{CALLERS} callers, a thread each"),
    "onnxruntime_one": Library(onnxruntime_one, ("onnxruntime",), "one caller, all threads"),
    "openvino": Library(openvino, ("openvino",), f"throughput hint, {CALLERS} requests in flight"),
}
