"""Kernels beside NumPy's best: ``pytest benchmarks --benchmark-only -o addopts= -k "n1 and fwd"``.

The cases are those of `convlens bench all`, which has the peers too. Each is a group of two rows, ``convlens``
and ``numpy``. Set ``OPENBLAS_NUM_THREADS`` and ``CONVLENS_NUM_THREADS`` to the same number.
"""

from __future__ import annotations

import pytest

from convlens import ops
from convlens.cli.bench import case_of, convolutions, eager, numpy_best, pools

CASES = [
    *(text for direction in ("fwd", "grad_input", "grad_weight") for text in convolutions(direction)),
    *(text for direction in ("fwd", "grad_input") for text in pools(direction)),
]


@pytest.mark.parametrize("library", [ops, numpy_best], ids=["convlens", "numpy"])
@pytest.mark.parametrize("text", CASES)
def test_bench(benchmark, text, library):
    benchmark.group = text
    benchmark(eager(library, case_of(text)))
