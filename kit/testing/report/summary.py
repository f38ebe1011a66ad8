"""The report as Markdown: what a pull request needs to see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kit.testing.report import graph, tables, words
from kit.testing.report.findings import SEVERITY, Report
from kit.testing.report.matrix import counted
from kit.testing.report.story import narrate
from kit.testing.runs import Ending
from kit.testing.sweep.verdict import Cell

LIMIT: Final = 65_536
"""GitHub's limit for a comment, in characters. Stories that do not fit are left out, and it is said how many."""

TOLD: Final = 3
"""How many violations are told as stories; of the others only the command is given."""

LISTED: Final = 30
"""The most rows of a table of scenarios."""

_MARKED: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")
"""Characters that mean something in GitHub's Markdown."""


def summary(reports: Sequence[Report]) -> str:
    """The summary of one or several workflows, at most `LIMIT` characters."""
    for told in range(TOLD, -1, -1):
        text = "\n".join(line for report in reports for line in _workflow(report, told=told))
        if len(text) < LIMIT:
            return text + "\n"
    return text[: LIMIT - 80] + "\n\n… cut: the report is longer than a comment may be.\n"


def escaped(text: str) -> str:
    """A text that says in Markdown, and in a table's cell, what it says."""
    return _MARKED.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A text as inline code, whatever is in it; a bar is escaped for tables."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}".replace("|", "\\|")


def _workflow(report: Report, *, told: int) -> Iterator[str]:
    verdict = report.verdict
    safe = verdict.safe
    found = "no violation" if safe else words.count(len(verdict.violations), "counterexample")
    mark = words.SAFE if safe else words.VIOLATED
    yield f"## {mark} {escaped(verdict.workflow)}: {found} for {words.bound(verdict.depth)}\n"
    yield escaped(str(verdict)) + ".\n"
    if report.breaches:
        yield from _breaches(report, told=told)
    yield from _table(
        ("call", *(_marked(ending) for ending in _endings(report)), f"{words.VIOLATED} violated"), _totals(report)
    )
    yield from (f"- **{claim.topic}**: {escaped(claim.text)}" for claim in report.claims)
    yield ""
    yield from _folded("Every fault at every call", _matrix(report))
    if report.effects is not None:
        chart = f"```mermaid\n{graph.mermaid(report.effects)}```\n"
        yield from _folded("What it does to the world", [chart])
    if report.asked:
        yield from _folded("Where a person is asked", _asked(report))
    if verdict.differences:
        rows = [[escaped(cell) for cell in tables.difference(one)] for one in verdict.differences[:LISTED]]
        number = words.count(len(verdict.differences), "scenario")
        lines = _table(("faults", "ends", "each alone"), rows)
        yield from _folded(f"{number} of several faults end as none of their faults does alone", lines)
    yield from _folded("Bound, counts and assumptions", _bound(report))


def _breaches(report: Report, *, told: int) -> Iterator[str]:
    yield "### What breaks\n"
    for number, found in enumerate(report.breaches[:LISTED]):
        yield f"- {'<br>'.join(escaped(words.short(sentence)) for sentence in found.sentences)}"
        yield f"  {code(found.first.command)}"
        rest = [f"  - {code(one.command)}" for one in found.examples[1:LISTED]]
        more = len(found.examples) - LISTED
        rest += [f"  - … and {more} more"] if more > 0 else []
        if rest:
            title = f"and in {words.count(len(found.examples) - 1, 'other smallest scenario')}"
            yield f"\n  <details><summary>{title}</summary>\n\n" + "\n".join(rest) + "\n\n  </details>\n"
        if number < told:
            story = narrate(found.first.run)
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", story)), default=0))
            block = "\n".join(f"  {line}" for line in (f"{fence}text", *story.splitlines(), fence))
            yield f"\n  <details><summary>The story</summary>\n\n{block}\n\n  </details>\n"
    more = len(report.breaches) - LISTED
    yield f"\n… and {more} more.\n" if more > 0 else ""


def _endings(report: Report) -> list[Ending]:
    """Those that occur: a column that is empty says nothing."""
    found = {ending for cell in report.verdict.matrix.values() for ending in (*cell.alone, *cell.together)}
    return [ending for ending in reversed(SEVERITY) if ending in found]


def _marked(ending: Ending) -> str:
    return f"{words.MARKS[ending]} {ending.value}"


def _totals(report: Report) -> Iterator[list[str]]:
    """One row for each call: how the scenarios ended in which some fault struck it."""
    for place in report.places:
        cells = [cell for kind in report.kinds if (cell := report.cell(place, kind)) is not None]
        counts = [sum(cell.alone.get(e, 0) + cell.together.get(e, 0) for cell in cells) for e in _endings(report)]
        violated = sum(cell.violated for cell in cells)
        yield [code(str(place)), *(f"{number:,}" if number else "" for number in (*counts, violated))]


def _matrix(report: Report) -> Iterator[str]:
    """Kinds of fault as rows: their names are longer than a column is wide."""
    yield "Alone; after “+” together with others. " + ", ".join(_marked(e) for e in _endings(report)) + ".\n"
    rows = ([kind.value, *(_cell(report.cell(place, kind)) for place in report.places)] for kind in report.kinds)
    yield from _table(("fault", *(code(str(place)) for place in report.places)), rows)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    violated = f"**{words.VIOLATED}{cell.violated}** " if cell.violated else ""
    together = " + " + " ".join(counted(cell.together)) if cell.together else ""
    return violated + " ".join(counted(cell.alone)) + together


def _asked(report: Report) -> Iterator[str]:
    """One row for each operation, with the reasons for which a person is asked about it."""
    rows = []
    for (name, who), found in tables.by_operation(report).items():
        reasons = dict.fromkeys(words.cause(one.task) for one in found)
        choices = dict.fromkeys(choice.value for one in found for choice in one.task.choices)
        first = found[0]
        rows.append(
            [
                code(name),
                escaped(who),
                escaped(", ".join(reasons)),
                escaped(first.task.question),
                escaped(", ".join(choices)),
                code(str(first.example)),
            ]
        )
    yield from _table(("operation", "asked", "when", "first question", "may answer", "for example"), rows)


def _bound(report: Report) -> Iterator[str]:
    yield from _table(("what", "how much"), ([escaped(cell) for cell in row] for row in tables.counts(report)))
    yield "Taken for granted:\n"
    yield from (f"- {escaped(assumption)}" for assumption in report.verdict.assumptions)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>\n"
    yield from lines
    yield "\n</details>\n"
