"""The action graph of a workflow: as SVG for a page, as Mermaid for Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from kit.contract import Effect, Operation
from kit.testing.report import words
from kit.testing.report.markup import Markup, join, tag
from kit.testing.report.side_effects import SideEffect, SideEffectMap
from kit.workflow import Phase

BANDS: Final = {
    None: "chosen at run time",
    Phase.BODY: "can be undone",
    Phase.PIVOT: "pivot: the point of no return",
    Phase.FORWARD: "only forward",
    Phase.AFTER_COMMIT: "after the commit",
}
"""What each phase means for whoever wants to go back."""

HEADINGS: Final = ("phase", "line", "operation", "effect", "once", "key", "undo", "look-up", "settles in", "owner")
"""The columns of `rows`."""

_BOX: Final = (236, 74)
_GAP: Final = (20, 26)
_HEAD: Final = 30
"""Width and height of a box, the gaps beside and below one, and the height of a band's title, in SVG units."""

_ROLES: Final[Mapping[Phase | None, str]] = {
    Phase.PIVOT: "PIVOT",
    Phase.AFTER_COMMIT: "after commit",
    None: "at run time",
}
_SHAPES: Final[Mapping[Phase | None, tuple[str, str]]] = {
    Phase.PIVOT: ("{{", "}}"),
    Phase.AFTER_COMMIT: ("([", "])"),
}
"""What a Mermaid node says besides its operation, and its brackets."""

_NARROWEST: Final = 480
"""So many pixels a graph keeps on a narrow screen, where it is scrolled: with fewer nobody can read it."""

_ACROSS: Final = 3
"""The most boxes side by side."""


def svg(found: SideEffectMap, *, violated: Collection[str] = ()) -> Markup:
    """The graph as an inline SVG, from top to bottom; what runs at once stands side by side.

    Its colours come from the page's style sheet; each box says in words what its colour says.

    Args:
        found: The side-effect map.
        violated: Operations with which something is wrong; their boxes say so.
    """
    rows_of = [group[start : start + _ACROSS] for group in found.groups for start in range(0, len(group), _ACROSS)]
    width = max((len(row) for row in rows_of), default=1) * (_BOX[0] + _GAP[0]) + _GAP[0]
    drawn: list[str] = []
    y = 0
    bottom = 0
    above: list[float] = []
    for phase, band in groupby(rows_of, key=lambda row: row[0].phase):
        if y:
            drawn.append(tag("line", x1=0, x2=width, y1=y, y2=y, class_="band-line"))
        drawn.append(tag("text", BANDS[phase], x=_GAP[0], y=y + 19, class_="band"))
        y += _HEAD
        for row in band:
            left = (width - len(row) * (_BOX[0] + _GAP[0]) + _GAP[0]) / 2
            across = [left + index * (_BOX[0] + _GAP[0]) for index in range(len(row))]
            drawn.extend(_arrow(start, end, top=y, bottom=bottom) for start in above for end in across)
            drawn.extend(
                _box(effect, x, y, wrong=effect.operation.name in violated)
                for effect, x in zip(row, across, strict=True)
            )
            bottom = y + _BOX[1]
            above = [] if phase is Phase.AFTER_COMMIT else across
            y += _BOX[1] + _GAP[1]
    return tag(
        "svg",
        tag("title", f"Action graph of {found.workflow}"),
        *drawn,
        viewBox=f"0 0 {width} {y}",
        width=width,
        height=y,
        style=f"min-width:{min(width, _NARROWEST)}px",
        role="img",
        class_="graph",
    )


def legend(found: SideEffectMap) -> Iterator[tuple[str, str, str]]:
    """What the boxes' words mean: a word, its sentence, and its class in the page; those that occur, once."""
    effects = {effect.operation.effect for effect in found.effects}
    once = {effect.operation.once.strategy for effect in found.effects if effect.operation.once}
    for kind, said in words.EFFECTS.items():
        if kind in effects:
            yield "read only" if kind is Effect.READ else kind.value, said, kind.value
    for strategy, said in words.ONCE.items():
        if strategy in once:
            yield f"once {strategy.value.replace('_', ' ')}", said, ""


def mermaid(found: SideEffectMap) -> str:
    """The graph as a Mermaid flow chart, without its fence."""
    lines = ["flowchart TD"]
    before: list[str] = []
    number = 0
    for group in found.groups:
        names = []
        for effect in group:
            number += 1
            names.append(f"n{number}")
            lines.append(f"    {names[-1]}{_node(effect)}")
        arrow = "-.->" if group[0].phase is Phase.AFTER_COMMIT else "-->"
        lines.extend(f"    {start} {arrow} {end}" for start in before for end in names)
        # What is held back starts when the body has ended, all at once: the next one does not wait for it.
        before = before if group[0].phase is Phase.AFTER_COMMIT else names
    return "\n".join(lines) + "\n"


def described(effect: SideEffect) -> tuple[str, str, str]:
    """What is said of one side effect: what it is, how it is kept to one, how it is undone."""
    operation = effect.operation
    undo = f"undo: {effect.undo}" if effect.undo else _no_undo(operation)
    return words.effect(operation), words.once(operation.once), undo


def _no_undo(operation: Operation[Any, Any]) -> str:
    if operation.effect.undoable:
        return "has an undo"
    return "nothing to undo" if operation.once is None else "no undo"


def _arrow(start: float, end: float, *, bottom: int, top: int) -> Markup:
    """From the bottom of the box at ``start`` to the top of the one at ``end``, both given by their left edges."""
    x, y, half = end + _BOX[0] / 2, top - 1, _BOX[0] / 2
    return join(
        tag("line", x1=start + half, y1=bottom, x2=x, y2=y, class_="arrow"),
        tag("path", d=f"M{x - 4:g} {y - 7} L{x:g} {y} L{x + 4:g} {y - 7}", class_="arrow head"),
    )


def _box(effect: SideEffect, x: float, y: float, *, wrong: bool) -> Markup:
    kind, once, undo = described(effect)
    pivot = " pivot" if effect.phase is Phase.PIVOT else ""
    skipped = " · not on the clean path" if effect.taken is False else ""
    name = f"{words.VIOLATED} {effect.operation.name}" if wrong else effect.operation.name
    return tag(
        "g",
        tag("title", f"{effect.operation.summary} · key {effect.operation.key or 'none'}"),
        tag(
            "rect", x=x, y=y, width=_BOX[0], height=_BOX[1], rx=8, class_=f"box {effect.operation.effect.value}{pivot}"
        ),
        tag("text", name, x=x + 12, y=y + 22, class_="name wrong" if wrong else "name"),
        tag("text", f"{kind} · once {once}" if effect.operation.once else kind, x=x + 12, y=y + 42),
        tag("text", undo + skipped, x=x + 12, y=y + 60, class_="quiet"),
    )


def _node(effect: SideEffect) -> str:
    """A node's shape and text: a pivot is a hexagon, what is held back a stadium."""
    kind, once, _ = described(effect)
    role = _ROLES.get(effect.phase)
    said = "<br/>".join(
        _quoted(text)
        for text in (effect.operation.name, f"{kind}, once {once}" if effect.operation.once else kind, role)
        if text
    )
    opened, closed = _SHAPES.get(effect.phase, ("[", "]"))
    return f'{opened}"{said}"{closed}'


def _quoted(text: str) -> str:
    """A text within Mermaid's quotes (https://mermaid.js.org/syntax/flowchart.html, entity codes)."""
    for character, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, code)
    return text


def rows(found: SideEffectMap) -> Iterator[tuple[str, ...]]:
    """The map as rows: phase, line, operation, effect, once, key, undo, look-up, settle time, owner."""
    for effect in found.effects:
        operation = effect.operation
        kind, once, undo = described(effect)
        yield (
            (effect.phase.value.replace("_", " ") if effect.phase else "at run time"),
            str(effect.line or ""),
            operation.name,
            kind,
            once,
            operation.key or "",
            undo.removeprefix("undo: "),
            effect.probe or "",
            words.span(operation.dependency.settle),
            operation.owner,
        )
