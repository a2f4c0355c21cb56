"""Names of the classes, and the class that --target means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Labels:
    """Names of the classes; without names a class is its number.

    >>> labels = Labels(["tabby cat", "tiger cat", "dog"])
    >>> labels.target("dog"), labels.target("tiger"), labels.target("1"), labels[0], Labels([])[7]
    (2, 1, 1, '0 tabby cat', '7')
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    @classmethod
    def read(cls, path: str | None) -> Labels:
        """Read a text of one name a line, or JSON: a list, or ImageNet's ``{"0": ["n01440764", "tench"]}``."""
        if path is None:
            return cls(())
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"--labels (={path!r}) must be UTF-8: {error}; save it as such") from None
        if Path(path).suffix.lower() != ".json":
            if not text.strip():
                raise ValueError(f"--labels (={path!r}) holds no names: give one a line, or none of --labels")
            return cls([line.strip() for line in text.rstrip().split("\n")])
        try:
            return cls(_listed(json.loads(text)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f'--labels (={path!r}) must hold a list of names, or names by number such as {{"0": "tench"}}: {error}'
            ) from None

    def check(self, classes: int | None) -> None:
        """Refuse labels of another number of classes: each would be wrong by some places."""
        if self.names and classes is not None and len(self.names) != classes:
            raise ValueError(f"--labels has {len(self.names)} names, the network has {classes} classes: one a class")

    def target(self, text: str | None) -> int | tuple[int, ...] | None:
        """The class that a number, a name or a part of one name means; a place, of numbers with commas between."""
        if text is None:
            return None
        try:
            place = tuple(map(int, text.split(",")))
            return place if len(place) > 1 else place[0]
        except ValueError:
            pass
        if not self.names:
            raise ValueError(f"--target (={text!r}) is a name: give the names by --labels FILE, or a number")
        wanted = text.casefold()
        folded = [name.casefold() for name in self.names]
        found = [i for i, name in enumerate(folded) if name == wanted]
        found = found or [i for i, name in enumerate(folded) if wanted in [part.strip() for part in name.split(",")]]
        found = found or [i for i, name in enumerate(folded) if wanted in name]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(self[i] for i in found[:5])
            raise ValueError(f"--target (={text!r}) fits {len(found)} of --labels: {shown}; give one, or its number")
        near = difflib.get_close_matches(wanted, folded, 5, 0)
        shown = ", ".join(self[folded.index(name)] for name in near)
        raise ValueError(f"--target (={text!r}) is none of --labels; the nearest are {shown}")

    def __getitem__(self, index: int) -> str:
        return f"{index} {self.names[index]}" if 0 <= index < len(self.names) else str(index)


def _listed(known: Any) -> list[str]:
    if isinstance(known, dict):
        numbers = sorted(map(int, known))
        if numbers != list(range(len(numbers))):
            raise ValueError(f"its numbers are not 0 to {len(numbers) - 1}")
        known = [known[str(number)] for number in numbers]
    if not (isinstance(known, list) and known):
        raise ValueError(f"it holds {'nothing' if known in ([], {}) else f'a {type(known).__name__}'}")
    names = [name[-1] if isinstance(name, list) and name else name for name in known]
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is no name")
    return names
