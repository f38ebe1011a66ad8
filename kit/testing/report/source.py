"""The line of code that was awaiting, with the lines around it."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kit.testing.report import words

BEFORE: Final = 2
AFTER: Final = 6
"""How many lines are shown around the one that is meant: a call of several lines begins there."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a file.

    Attributes:
        where: File and line, as it is shown.
        line: The number of the line that is meant.
        lines: Numbers and texts; empty when the file cannot be read here.
    """

    where: str
    line: int
    lines: tuple[tuple[int, str], ...]

    @property
    def meant(self) -> str:
        """The line itself, without its indentation."""
        return next((text.strip() for number, text in self.lines if number == self.line), "")


def excerpt(source: str) -> Excerpt:
    """The lines around ``file:line``."""
    file, _, number = source.rpartition(":")
    line = int(number) if number.isdecimal() else 0
    where = f"{words.place(file)}:{number}" if file else source
    found = linecache.getlines(str(Path(file))) if file and line else []
    first = max(1, line - BEFORE)
    shown = tuple((first + index, text.rstrip()) for index, text in enumerate(found[first - 1 : line + AFTER]))
    return Excerpt(where, line, shown)
