"""The story of a run as swim lanes: who did what, time downwards, the fault and the line that was awaiting."""

from __future__ import annotations

from collections.abc import Iterator

from kit.testing.report import words
from kit.testing.report.markup import Markup, join, tag
from kit.testing.report.source import Excerpt, excerpt
from kit.testing.report.story import lanes
from kit.testing.runs import LEDGER, PERSON, SERVER, WORKER, WORKFLOW, Line, Run

_FIRST = (PERSON, WORKFLOW, WORKER, LEDGER, SERVER)

MOST = 400
"""The most lines that are drawn; a longer story says how many more there are."""


def swim_lanes(run: Run) -> Markup:
    """The story as a table, a column for each lane. On a narrow screen a line is a block with its lane's name."""
    names = lanes(run.story, first=_FIRST, last=())
    head = tag("tr", tag("th", "time", scope="col"), *(tag("th", name, scope="col") for name in names))
    more = len(run.story) - MOST
    return join(
        tag(
            "div",
            tag("table", tag("thead", head), tag("tbody", *_rows(run, names)), class_="lanes"),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label="story",
        ),
        tag("p", f"… and {words.count(more, 'more line')}; see --explain.", class_="quiet") if more > 0 else "",
    )


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


def _rows(run: Run, names: list[str]) -> Iterator[Markup]:
    before = None
    for line in run.story[:MOST]:
        time = words.span(line.at)
        cells = [tag("td", *(_said(line) if name == line.lane else ()), data_lane=name) for name in names]
        shown = tag("th", time, scope="row", class_="again" if time == before else None)
        yield tag("tr", shown, *cells, class_="struck" if line.fault is not None else None)
        before = time


def _said(line: Line) -> Iterator[str]:
    if line.fault is not None:
        yield tag("strong", f"{words.VIOLATED} {line.fault}")
        yield tag("br")
    yield line.text
