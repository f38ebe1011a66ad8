"""What breaks: each breach with its shortest story as swim lanes, and the commands that show it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kit.testing.report import tables, words
from kit.testing.report.findings import Breach, Report
from kit.testing.report.lanes import awaiting, code, swim_lanes
from kit.testing.report.markup import Markup, breakable, join, tag
from kit.testing.report.story import ending
from kit.testing.sweep.verdict import Counterexample

TOLD: Final = 12
"""How many counterexamples are told as stories; of the others the page has the command."""


def breaches(report: Report) -> Markup:
    """The section; empty when every invariant holds."""
    if not report.breaches:
        return Markup()
    told: list[Markup] = []
    left = TOLD
    for number, found in enumerate(report.breaches, 1):
        told.append(_breach(found, number, stories=max(left, 1 if number <= TOLD else 0)))
        left -= len(found.examples)
    smallest = "Each scenario is as small as it can be: without any one of its faults, every invariant holds."
    return join(tag("p", smallest), *told)


def _breach(found: Breach, number: int, *, stories: int) -> Markup:
    """One breach: what is wrong, then the first story open, others folded, the rest as commands."""
    told, rest = found.examples[:stories], found.examples[stories:]
    return tag(
        "section",
        tag("h3", f"{number}. {'; '.join(found.invariants)}"),
        tag("ul", *(tag("li", breakable(words.short(sentence))) for sentence in found.sentences)),
        *(_story(one, first=one is found.first, shown=one is found.first and number == 1) for one in told),
        tag(
            "details",
            tag("summary", words.count(len(rest), "more")),
            tag("pre", "\n".join(one.command for one in rest), class_="again-command"),
        )
        if rest
        else "",
        class_="breach",
    )


def _story(one: Counterexample, *, first: bool, shown: bool) -> Markup:
    return tag(
        "details",
        tag("summary", tag("code", breakable(str(one.scenario)))),
        *_told(one, first=first),
        class_="story",
        open=shown,
    )


def _told(one: Counterexample, *, first: bool) -> Iterator[Markup]:
    """One story. What is wrong in the first one stands above it already."""
    run = one.run
    wrong = [] if first else dict.fromkeys(f"{found.text} ({_WHEN[found.when]})" for found in run.violations)
    at = awaiting(run)
    rows = [(e.system, "live" if e.live else "gone", e.text, e.key) for e in sorted(run.truth, key=lambda e: e.order)]
    found = "" if one.found_as == one.scenario else f"Found first as {one.found_as}. "
    many = words.count(one.scenarios, "scenario")
    yield tag("ul", *(tag("li", tag("strong", str(f.point)), f": {words.fault(f.kind)}") for f in run.scenario.faults))
    yield tag("p", tag("strong", "It ended "), f"{ending(run)}." + (f" {words.short(run.error)}" if run.error else ""))
    yield tag("ul", *(tag("li", breakable(text)) for text in wrong)) if wrong else Markup()
    if at is not None:
        yield join(tag("p", "The workflow was awaiting:"), code(at))
    yield swim_lanes(run)
    if rows:
        yield tag("p", tag("strong", "What each system did, by its own records"))
        yield tables.table(("system", "now", "effect", "key"), rows)
    yield tag(
        "pre", f"{one.command}\n{words.command(run.workflow, one.scenario, explain=True)}", class_="again-command"
    )
    yield tag("p", f"{found}{many} of the sweep contain{'s' * (one.scenarios == 1)} these faults.", class_="quiet")


_WHEN: Final = {"parked": "when it parked", "end": "at the end"}
