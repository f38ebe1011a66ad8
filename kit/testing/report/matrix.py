"""The reversibility matrix of the page: every fault at every call, and how the scenarios ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kit.contract import Role
from kit.testing.faults import FaultKind
from kit.testing.report import words
from kit.testing.report.findings import SEVERITY, Report, worst
from kit.testing.report.markup import Markup, join, tag
from kit.testing.runs import Ending
from kit.testing.sweep.verdict import Cell, Place


def matrix(report: Report) -> Markup:
    """Operations and their roles against kinds of fault."""
    kinds = report.kinds
    seams = [tag("th", seam.value, colspan=number, scope="colgroup") for seam, number in report.seams]
    heads = [tag("th", tag("span", _spaced(kind), title=words.fault(kind)), scope="col") for kind in kinds]
    rows = [tag("tr", *_row(report, place), class_=_sub(place)) for place in report.places]
    return join(
        tag(
            "p",
            "How the scenarios ended in which the fault struck that method alone; after “+”, how else they ended "
            "when it struck together with others. Each cell has its numbers in its tooltip. An empty cell: the fault "
            "cannot strike there.",
            f" Nowhere: {', '.join(_spaced(kind) for kind in report.impossible)}." if report.impossible else "",
        ),
        tag("ul", *_legend(report), class_="legend filter"),
        tag(
            "div",
            tag(
                "table",
                tag("thead", tag("tr", tag("th", ""), *seams), tag("tr", tag("th", "call"), *heads)),
                tag("tbody", *rows),
                class_="matrix",
            ),
            class_="scroll",
            data_matrix=True,
            tabindex=0,
            role="region",
            aria_label="reversibility matrix",
        ),
    )


def _spaced(kind: FaultKind) -> str:
    return kind.value.replace("_", " ")


def _sub(place: Place) -> str | None:
    return None if place.role is Role.ACTION else "sub"


def _legend(report: Report) -> Iterator[Markup]:
    counts = report.verdict.counts
    for ending in reversed(SEVERITY):
        if number := counts.endings.get(ending, 0):
            text = f"{words.ENDINGS[ending]} ({number:,})"
            yield tag("li", tag("span", tag("b", words.MARKS[ending]), text, class_=f"chip {ending.value}"))
    text = f"violated: an invariant does not hold ({counts.violating:,})"
    loud = "chip violated" if counts.violating else "chip"
    yield tag("li", tag("span", tag("b", words.VIOLATED), text, class_=loud))


def _row(report: Report, place: Place) -> Iterator[Markup]:
    yield tag("th", str(place), scope="row")
    for kind in report.kinds:
        yield _cell(report.cell(place, kind), place, kind)


def _cell(cell: Cell | None, place: Place, kind: FaultKind) -> Markup:
    if cell is None or not (cell.alone or cell.together):
        return tag("td")
    ending = worst(cell.alone or cell.together)
    violated = ["violated"] if cell.violated else []
    lines = [f"{words.VIOLATED}{_many(cell.violated)}"] if violated else []
    lines.extend(f"{words.MARKS[one]}{_many(cell.alone[one])}" for one in _ordered(cell.alone))
    otherwise = [words.MARKS[one] for one in _ordered(cell.together) if one not in cell.alone]
    together = f"+ {''.join(otherwise)}" if otherwise else ""
    return tag(
        "td",
        *(join(line, tag("br")) for line in lines),
        tag("small", together) if together else "",
        class_="violated" if violated else ending.value if ending else None,
        data_endings=" ".join([*violated, *sorted({*cell.alone, *cell.together})]),
        title=f"{place}: {words.fault(kind)}. {_told(cell)}",
    )


def _told(cell: Cell) -> str:
    """A cell's numbers in words."""
    told = []
    for what, endings in (("alone", cell.alone), ("together with others", cell.together)):
        if endings:
            told.append(f"{what}: {', '.join(f'{endings[one]:,} {one.value}' for one in _ordered(endings))}")
    if cell.violated:
        told.append(f"{cell.violated:,} violated")
    return "; ".join(told) + (f"; such as {cell.example}" if cell.example else "")


def _many(number: int) -> str:
    """One is what a mark says by itself."""
    return "" if number == 1 else f"{number:,}"


def _ordered(endings: Mapping[Ending, int]) -> list[Ending]:
    return [ending for ending in reversed(SEVERITY) if endings.get(ending)]


def counted(endings: Mapping[Ending, int]) -> list[str]:
    """Endings as their marks, each with its number."""
    return [f"{words.MARKS[ending]}{endings[ending]:,}" for ending in _ordered(endings)]
