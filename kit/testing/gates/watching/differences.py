"""What becomes of a document when other types read it: what they drop, make up, or change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MISSING: Final = "(not there)"
"""Stands for the value of a field that is not there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two documents differ.

    Attributes:
        path: Where, such as ``result.amount``; empty for the whole document.
        kind: ``dropped`` (only the first has it), ``defaulted`` (only the second) or ``changed``.
        was: The first's value.
        now: The second's value.
    """

    path: str
    kind: str
    was: Any
    now: Any

    def __str__(self) -> str:
        """In a sentence."""
        where = self.path or "the value"
        if self.kind == "dropped":
            return f"{where} = {self.was!r} is dropped"
        if self.kind == "defaulted":
            return f"{where}, which is not there, becomes {self.now!r}"
        return f"{where} = {self.was!r} becomes {self.now!r}"


def compare(was: Any, now: Any, *, path: str = "") -> list[Difference]:
    """Every difference between two documents, in the order of the first and then of the second."""
    return list(_differences(was, now, path))


def _differences(was: Any, now: Any, path: str) -> Iterator[Difference]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name, value in was.items():
            where = f"{path}.{name}" if path else str(name)
            if name in now:
                yield from _differences(value, now[name], where)
            else:
                yield Difference(where, "dropped", value, MISSING)
        for name, value in now.items():
            if name not in was:
                yield Difference(f"{path}.{name}" if path else str(name), "defaulted", MISSING, value)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif was != now or isinstance(was, bool) is not isinstance(now, bool):
        yield Difference(path, "changed", was, now)
