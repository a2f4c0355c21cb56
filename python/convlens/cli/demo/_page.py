"""The page of the demonstration: its pictures with their words, and what it printed."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...plot import Picture

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
footer { margin-top: 3rem; color: #555; white-space: pre-line; }
"""


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
        body = "\n".join(map(_section, self._sections))
        page = self._folder / "index.html"
        page.write_text(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(self._title)}</title>\n'
            f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style></head>\n'
            f"<body><h1>{html.escape(self._title)}</h1>\n{body}\n<footer>{html.escape(self._credits())}</footer></body></html>\n",
            encoding="utf-8",
        )
        return page

    def _credits(self) -> str:
        given = [section.credit for section in self._sections if section.credit]
        return "\n".join([*dict.fromkeys(given), "convlens is under the MIT licence."])


def _section(section: Section) -> str:
    figures = "\n".join(
        f'<figure><img src="{html.escape(name)}" alt="{html.escape(picture.alt_text, quote=True)}"></figure>'
        for name, picture in section.pictures
    )
    text = html.escape("\n".join(section.lines))
    return f"<h2>{html.escape(section.heading)}</h2>\n<pre>{text}</pre>\n{figures}"
