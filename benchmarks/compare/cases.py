"""The list of cases: networks forward, explanations, layers, training, callers at once, loading, memory."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convlens.cli.bench import convolutions, pools

LARGE = ("resnet18", "resnet50", "vgg16", "mobilenet_v2", "efficientnet_lite0", "squeezenet1_1")
#: Networks that nothing was tuned on: forward alone.
OTHERS = (
    *("resnet34", "densenet121", "googlenet", "shufflenet_v2", "mnasnet"),
    *("regnet_x", "efficientnet_b0", "mobilenet_v3", "convnext_tiny"),
)
EXPLAINED = LARGE
METHODS = ("saliency", "integrated_gradients", "smooth_grad", "grad_cam", "occlusion", "rise")


@dataclass(frozen=True)
class Case:
    """One row of a table: a group, its subject (a network or a problem string), what is done, images and threads."""

    group: str
    subject: str
    what: str = ""
    n: int = 1
    threads: int = 1

    @property
    def key(self) -> str:
        """What names it in files and on the command line."""
        return " ".join(
            part for part in (self.group, self.subject, self.what, f"n{self.n}", f"t{self.threads}") if part
        )

    @property
    def network(self) -> bool:
        """Whether its subject is one of the networks."""
        return self.group not in ("layer", "train")

    @property
    def once(self) -> bool:
        """Whether its figure is one of a fresh process, no time."""
        return self.group == "memory"


#: How far a call raises the resident memory.
PEAKS = ("forward_peak", "gradient_peak", "low_peak")


def cases() -> Iterator[Case]:
    """All of them, those that share processes one after the other."""
    for threads in (1, 2):
        for name in LARGE:
            for n in (1, 8):
                yield Case("forward", name, n=n, threads=threads)
    for threads in (1, 2):
        for name in OTHERS:
            yield Case("forward", name, "other", threads=threads)
    for name in EXPLAINED:
        for what in METHODS:
            yield Case("explain", name, what, threads=2)
    for threads in (1, 2):
        for name in ("small", "medium"):
            for n in (1, 8):
                for what in METHODS:
                    yield Case("explain", name, what, n, threads)
    for threads in (1, 2):
        for direction in ("fwd", "grad_input", "grad_weight"):
            for text in convolutions(direction):
                yield Case("layer", text, threads=threads)
        for direction in ("fwd", "grad_input"):
            for n in (1, 8):
                for text in pools(direction, n):
                    yield Case("layer", text, n=n, threads=threads)
    for threads in (1, 2):
        for n in (32, 128):
            yield Case("train", "digits", n=n, threads=threads)
    for name in ("resnet18", "mobilenet_v2", "small"):
        yield Case("callers", name, threads=2)
    for name in ("resnet50", "efficientnet_lite0"):
        for what in ("load", "first_answer"):
            yield Case("load", name, what, threads=2)
    for name in LARGE:
        for what in (*("packed_forward", "packed_gradient", "packed_low"), "gradient_arena", *PEAKS):
            yield Case("memory", name, what)


def select(patterns: Sequence[str]) -> list[Case]:
    """The cases whose key holds one of the patterns (all without any); `*` and `?` stand for anything.

    Raises
    ------
    ValueError
        A pattern fits none.
    """
    found = list(cases())
    if not patterns:
        return found
    kept = []
    for pattern in patterns:
        fitting = [case for case in found if fnmatch.fnmatchcase(f" {case.key} ", f"*{pattern}*")]
        if not fitting:
            raise ValueError(f"PATTERN (={pattern!r}) fits no case; --list prints all of them")
        kept += fitting
    return [case for case in found if case in set(kept)]
