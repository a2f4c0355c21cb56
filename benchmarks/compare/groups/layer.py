"""Single convolutions and pools, as `convlens bench` makes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convlens.cli.bench import LIBRARIES as KERNELS
from convlens.cli.bench import OURS, case_of

from ..cases import Case
from ..made import Library, Made


def _make(name: str, case: Case, folder: Path) -> Made:
    call = KERNELS[name].make(case_of(case.subject), case.threads)
    return Made(call.run, call.array, keep=call)


LIBRARIES = {
    name: Library(partial(_make, name), row.modules, row.note, peer=name not in OURS) for name, row in KERNELS.items()
}
