"""Where explanations go: one sheet of pictures, or a page that grows image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...explain import Explanation
from ...nn._npz import replacing
from .. import _html
from ._images import Array

#: Endings of pictures, beside those of pages.
FORMATS = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
PAGES = (".html", ".htm")
#: More images than this make a sheet that nobody can look at.
MOST_ROWS = 24


@dataclass(frozen=True)
class Shown:
    """One image with its explanations by title, what was printed of it, and its caption."""

    name: str
    picture: Array
    whys: Mapping[str, Explanation]
    lines: Sequence[str]
    caption: str


class Sink(Protocol):
    """Takes images one by one."""

    def add(self, shown: Shown) -> None:
        """Take one."""


class _Sheet:
    def __init__(self) -> None:
        self._rows: list[Shown] = []

    def add(self, shown: Shown) -> None:
        self._rows.append(shown)

    def write(self, out: Path) -> None:
        if self._rows:
            picture = _drawn(self._rows)
            with replacing(out) as file:
                picture.savefig(file, format=out.suffix[1:].lower())


@contextmanager
def sheet(out: Path) -> Iterator[Sink]:
    """Collect images; write them as the rows of one picture at the end, also of an interrupted loop."""
    from ... import plot as plot  # what is missing is said before anything is computed

    collected = _Sheet()
    try:
        yield collected
    except KeyboardInterrupt:
        collected.write(out)
        raise
    collected.write(out)


@contextmanager
def page(out: Path, title: str, foot: str) -> Iterator[Sink]:
    """Write each image as a section of one HTML file, whole also after an interrupted loop."""
    stopped: KeyboardInterrupt | None = None
    with replacing(out) as file:
        written = _Page(file)
        file.write(_html.head(title).encode())
        try:
            yield written
        except KeyboardInterrupt as interrupt:
            if not written.sections:
                raise
            stopped = interrupt
            foot += "\nInterrupted: images after these are missing."
        file.write(_html.foot(foot).encode())
    if stopped is not None:
        raise stopped


class _Page:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.sections = 0

    def add(self, shown: Shown) -> None:
        self.sections += 1
        picture = _drawn([shown])
        figure = _html.figure(picture, _html.inline(picture))
        self._file.write(_html.section(shown.name, "\n".join(shown.lines), figure).encode())


def _drawn(rows: Sequence[Shown]) -> Any:
    """Methods in columns, images in rows; one image in larger pictures."""
    from ... import plot

    titles = list(rows[0].whys)
    maps: dict[str, Any] = {
        title: rows[0].whys[title] if len(rows) == 1 else _joined([row.whys[title] for row in rows]) for title in titles
    }
    large: dict[str, Any] = {"columns": 4, "width": 1.9} if len(rows) == 1 else {}
    return plot.compare(maps, [row.picture for row in rows], captions=[row.caption for row in rows], **large)


def _joined(whys: Sequence[Explanation]) -> Explanation:
    return replace(whys[0], values=np.concatenate([why.values for why in whys]))
