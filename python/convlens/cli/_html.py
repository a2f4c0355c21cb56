"""A page of its own: one HTML file with its style, no script, nothing fetched."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..plot import Picture

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
footer { margin-top: 3rem; color: #555; white-space: pre-line; }
"""


def head(title: str) -> str:
    """The page up to and with its title."""
    safe = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{safe}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style></head>\n<body><h1>{safe}</h1>\n'
    )


def section(heading: str, lines: str, figures: str) -> str:
    """A heading, preformatted text, and figures that are HTML already."""
    return f"<h2>{html.escape(heading)}</h2>\n<pre>{html.escape(lines)}</pre>\n{figures}\n"


def figure(picture: Picture, source: str) -> str:
    """A picture with its words; `source` is the address of its file or what :func:`inline` made of it."""
    alt = html.escape(picture.alt_text, quote=True)
    return f'<figure><img src="{html.escape(source)}" alt="{alt}"></figure>'


def inline(picture: Picture) -> str:
    """The picture itself as an address."""
    written = io.BytesIO()
    picture.savefig(written, format="png")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def foot(text: str) -> str:
    """The end of the page."""
    return f"<footer>{html.escape(text)}</footer></body></html>\n"
