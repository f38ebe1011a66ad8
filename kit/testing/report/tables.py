"""The tables of the page: endings, rollback strip, questions to people, pairs, and the box with the bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kit.testing.faults import FaultKind
from kit.testing.report import words
from kit.testing.report.findings import SEVERITY, Asked, Report
from kit.testing.report.markup import Markup, breakable, join, tag
from kit.testing.sweep.verdict import Difference, Verdict

PAIRS: Final = 200
"""How many scenarios of several faults are shown; the page says how many more there are."""

NAMED: Final = 40
"""How many points that were not faulted are named."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A list of rows, which becomes a list of cards on a narrow screen."""
    return tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))),
            tag(
                "tbody",
                *(
                    tag(
                        "tr",
                        *(tag("td", breakable(cell), data_head=name) for name, cell in zip(head, row, strict=True)),
                    )
                    for row in rows
                ),
            ),
            class_="list cards",
        ),
        class_="scroll",
    )


def endings(report: Report) -> Markup:
    """How all scenarios ended: a bar, and what its parts are."""
    counts, violating = report.verdict.counts.endings, report.verdict.counts.violating
    found = [ending for ending in reversed(SEVERITY) if counts.get(ending)]
    parts = [tag("span", class_=f"part {ending.value}", style=f"flex-grow:{counts[ending]}") for ending in found]
    said = [tag("span", f"{words.MARKS[ending]} {counts[ending]:,} {ending.value}") for ending in found]
    wrong = tag("strong", f"{words.VIOLATED} {violating:,} of them violate an invariant", class_="violated")
    return tag(
        "figure",
        tag("div", *parts, class_="bar", role="presentation"),
        tag("figcaption", *said, wrong if violating else ""),
    )


def strip(report: Report) -> Markup:
    """How far the workflow's behaviour can be taken back."""
    cards = [
        tag(
            "div",
            tag("h3", claim.topic, tag("em", claim.answer.value)),
            tag("p", claim.text),
            tag("ul", *(tag("li", reason) for reason in claim.because)) if claim.because else "",
            class_=claim.answer.value,
        )
        for claim in report.claims
    ]
    if not cards:
        return Markup()
    return join(
        tag("div", *cards, class_="strip"),
        tag("p", *tried(report), class_="quiet"),
    )


def tried(report: Report) -> Iterator[str]:
    """What the sweep has seen of it, in sentences."""
    yield "This follows from the definition and the contracts. "
    for kind, what in (
        (FaultKind.CANCEL_DURING, "Runs were cancelled at work"),
        (FaultKind.STARTED_AGAIN, "The same request was started again"),
        (FaultKind.HANDED_OVER, "Runs were handed over to the previous version"),
    ):
        cells = [cell for (_, tried), cell in report.verdict.matrix.items() if tried is kind]
        number = sum(sum(cell.alone.values()) + sum(cell.together.values()) for cell in cells)
        wrong = sum(cell.violated for cell in cells)
        said = "every invariant held" if not wrong else f"{words.count(wrong, 'time')} an invariant did not hold"
        yield (
            f"{what} in {words.count(number, 'scenario')}: {said}. " if number else f"{what}: not tried in this sweep. "
        )


def asked(report: Report) -> Markup:
    """The questions that park runs, by the operation that they are about."""
    if not report.asked:
        return tag("p", "No run of this sweep waits for a person.")
    return join(
        tag("p", "Each question once, as the first run that parks puts it."),
        *(
            join(
                tag("h3", breakable(name), " ", tag("span", who, class_="quiet")), table(_ASKED, map(_question, found))
            )
            for (name, who), found in by_operation(report).items()
        ),
    )


_ASKED: Final = ("question", "may answer", "for example", "after an answer")


def by_operation(report: Report) -> dict[tuple[str, str], list[Asked]]:
    """The questions by what they are about, and who is asked with what at hand."""
    found: dict[tuple[str, str], list[Asked]] = {}
    for one in report.asked:
        task = one.task
        name = f"undo of {task.operation}" if task.undo else task.operation
        runbook = f" (runbook: {task.runbook})" if task.runbook else ""
        found.setdefault((name, task.owner + runbook), []).append(one)
    return found


def _question(found: Asked) -> tuple[str, ...]:
    after = ", ".join(f"{words.MARKS[ending]} {ending.value}" for ending in found.repaired) or "not answered"
    return found.task.question, ", ".join(found.task.choices), str(found.example), after


def differences(report: Report) -> Markup:
    """Scenarios of several faults that end as none of their faults does alone."""
    found = report.verdict.differences
    if not found:
        if report.verdict.depth < 2:
            return Markup()
        return tag("p", "None: every scenario of several faults ends as one of its faults does alone.")
    rows = [difference(one) for one in found[:PAIRS]]
    more = f" {len(found) - PAIRS:,} more are not shown." if len(found) > PAIRS else ""
    return join(
        tag("p", f"All other scenarios of several faults end as one of their faults does alone.{more}"),
        tag(
            "details",
            tag("summary", words.count(len(found), "scenario")),
            table(("faults", "ends", "each alone"), rows),
            open=len(found) <= 12,
        ),
    )


def difference(one: Difference) -> tuple[str, str, str]:
    """One of them, as a row."""
    alone = [f"{words.MARKS[ending]} {ending.value}" if ending else "cannot strike alone" for ending in one.alone]
    mark = f"{words.VIOLATED} violated, " if one.violated else ""
    return str(one.scenario), f"{mark}{words.MARKS[one.ending]} {one.ending.value}", "; ".join(alone)


def bound(report: Report) -> Markup:
    """What the verdict says, what it was got from, and what it takes for granted."""
    return tag(
        "div",
        table(("what", "how much"), counts(report)),
        tag("h3", "Taken for granted"),
        tag("ul", *(tag("li", assumption) for assumption in report.verdict.assumptions)),
        class_="box",
    )


def counts(report: Report) -> list[tuple[str, str]]:
    """The bound and the counts, as rows."""
    verdict = report.verdict
    counts = verdict.counts
    return [
        ("bound", f"at most {words.count(verdict.depth, 'fault')} in a scenario"),
        (
            "kinds of fault",
            f"{len(verdict.kinds)} of {len(FaultKind)}: {', '.join(kind.value for kind in verdict.kinds)}",
        ),
        (
            "scenarios",
            f"{counts.scenarios:,}: {counts.runs:,} run to the end, {counts.stopped:,} until the rest was known; "
            f"{counts.checked:,} run to the end although it was known, and all ended as it was foretold",
        ),
        *((f"not run: {reason.value}", f"{number:,}") for reason, number in counts.reduced.items()),
        ("histories", f"{counts.histories:,} distinct, {counts.replays:,} replayed by a fresh instance"),
        ("points", f"{counts.faulted} faulted of {counts.reachable} reachable{_beyond(verdict)}"),
        ("not faulted", _some([str(point) for point in verdict.unfaulted]) or "none"),
        ("engine", f"{verdict.engine}, seed {verdict.seed}{', nothing left out (oracle)' if verdict.oracle else ''}"),
        *((f"engine: {name}", f"{number:,}") for name, number in counts.engine.items()),
        ("code", verdict.code_hash),
    ]


def _beyond(verdict: Verdict) -> str:
    """The points that a deeper sweep would fault."""
    if not verdict.counts.beyond:
        return ""
    struck = words.count(verdict.depth, "fault")
    return f"; {verdict.counts.beyond:,} more are reached only when {struck} struck before: depth {verdict.depth + 1}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
