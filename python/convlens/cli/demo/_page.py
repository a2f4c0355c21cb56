"""The page of the demonstration: its pictures with their words, and what it printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _html

if TYPE_CHECKING:
    from ...plot import Picture


@dataclass(frozen=True)
class Section:
    """A heading, what was printed, pictures by file name, and whom to thank for what is shown."""

    heading: str
    lines: Sequence[str]
    pictures: Sequence[tuple[str, Picture]] = ()
    credit: str = ""


class Page:
    """Collects sections, numbers and prints each as it comes, and writes text and page."""

    def __init__(self, title: str, folder: Path) -> None:
        self._title = title
        self._folder = folder
        self._sections: list[Section] = []

    def add(self, section: Section) -> None:
        """Print a section and write its pictures."""
        section = replace(section, heading=f"{len(self._sections) + 1}. {section.heading}")
        self._sections.append(section)
        print(f"\n{section.heading}")
        for line in section.lines:
            print(f"  {line}")
        for name, picture in section.pictures:
            picture.savefig(self._folder / name)
            print(f"  -> {self._folder / name}")

    def write(self) -> Path:
        """Write ``summary.txt`` and ``index.html``; return the page's path."""
        text = "\n\n".join("\n".join([one.heading, *(f"  {line}" for line in one.lines)]) for one in self._sections)
        (self._folder / "summary.txt").write_text(f"{self._title}\n\n{text}\n\n{self._credits()}\n", encoding="utf-8")
        page = self._folder / "index.html"
        body = "".join(map(_section, self._sections))
        page.write_text(_html.head(self._title) + body + _html.foot(self._credits()), encoding="utf-8")
        return page

    def _credits(self) -> str:
        given = [section.credit for section in self._sections if section.credit]
        return "\n".join([*dict.fromkeys(given), "convlens is under the MIT licence."])


def _section(section: Section) -> str:
    figures = "\n".join(_html.figure(picture, name) for name, picture in section.pictures)
    return _html.section(section.heading, "\n".join(section.lines), figures)
