"""The story of a run as swim lanes: who did what, time downwards, the fault and the line that was awaiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kit.testing.report import words
from kit.testing.report.markup import Markup, breakable, join, tag
from kit.testing.report.source import Excerpt, excerpt
from kit.testing.report.story import lanes
from kit.testing.runs import LEDGER, PERSON, SERVER, WORKER, WORKFLOW, Line, Run

_FIRST = (PERSON, WORKFLOW, WORKER, LEDGER, SERVER)

MOST: Final = 400
"""The most lines that are drawn; a longer story says how many more there are."""

_FEW: Final = 4
"""So few lines about other operations are not worth a switch."""


def swim_lanes(run: Run) -> Markup:
    """The story as a table, a column for each lane. On a narrow screen a line is a block with its lane's name.

    Lines about operations that are neither faulted nor in what is violated stand aside: a switch above the table, which
    needs no script, shows them.
    """
    shown = run.story[:MOST]
    aside = _aside(run, shown)
    names = lanes(run.story, first=_FIRST, last=())
    needed = {line.lane for line, beside in zip(shown, aside, strict=True) if not beside}
    heads = (tag("th", name, scope="col", class_=None if name in needed else "aside") for name in names)
    more = len(run.story) - MOST
    return join(
        tag("label", tag("input", type="checkbox", class_="whole"), f" show all {len(shown)} lines", class_="switch")
        if any(aside)
        else "",
        tag(
            "div",
            tag(
                "table",
                tag("thead", tag("tr", tag("th", "time", scope="col"), *heads)),
                tag("tbody", *_rows(shown, aside, names, needed)),
                class_="lanes",
            ),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label="story",
        ),
        tag("p", f"… and {words.count(more, 'more line')}; see --explain.", class_="quiet") if more > 0 else "",
    )


def _aside(run: Run, story: Sequence[Line]) -> list[bool]:
    """Which lines are about other operations than those that were faulted or are violated."""
    known = {name: name for name in (row.operation for row in run.rows)}
    known.update({row.key: row.operation for row in run.rows})
    for seen in run.seen:
        known.update({seen.point.operation: seen.point.operation, seen.key: seen.point.operation})
    wrong = " ".join(violation.text for violation in run.violations)
    meant = {operation for name, operation in known.items() if words.names(wrong, name)}
    meant |= {fault.point.operation for fault in run.scenario.faults}
    about = ({operation for name, operation in known.items() if words.names(line.text, name)} for line in story)
    found = [line.fault is None and bool(said) and not said & meant for line, said in zip(story, about, strict=True)]
    return found if sum(found) > _FEW else [False] * len(found)


def awaiting(run: Run) -> Excerpt | None:
    """The workflow's line that was awaiting when the last fault struck, or the last that is known."""
    last: str | None = None
    struck: str | None = None
    for line in run.story:
        last = line.source or last
        if line.fault is not None:
            struck = line.source or last
    found = struck or last
    return None if found is None else excerpt(found)


def code(found: Excerpt) -> Markup:
    """An excerpt, its line marked."""
    lines = [
        tag("span", tag("i", f"{number:>4} "), text or " ", "\n", class_="meant" if number == found.line else None)
        for number, text in found.lines
    ]
    return tag("figure", tag("figcaption", found.where), tag("pre", *lines) if lines else "", class_="code")


def _rows(story: Sequence[Line], aside: Sequence[bool], names: Sequence[str], needed: set[str]) -> Iterator[Markup]:
    before = None
    for line, beside in zip(story, aside, strict=True):
        time = words.span(line.at)
        cells = (
            tag(
                "td",
                *(_said(line) if name == line.lane else ()),
                data_lane=name,
                class_=None if name in needed else "aside",
            )
            for name in names
        )
        shown = tag("th", time, scope="row", class_="again" if time == before else None)
        yield tag("tr", shown, *cells, class_="struck" if line.fault else "aside" if beside else None)
        before = time if not beside else before


def _said(line: Line) -> Iterator[str]:
    if line.fault is not None:
        yield tag("strong", f"{words.VIOLATED} ", breakable(str(line.fault)))
        yield tag("br")
    yield breakable(line.text)
