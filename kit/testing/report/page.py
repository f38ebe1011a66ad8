"""The report as one HTML page that needs nothing else: no asset, no network, and no script to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Final

from kit.testing.report import graph, tables, words
from kit.testing.report.findings import Report
from kit.testing.report.lanes import awaiting, code, swim_lanes
from kit.testing.report.markup import Markup, join, tag
from kit.testing.report.story import ending
from kit.testing.sweep.verdict import Counterexample

TOLD: Final = 12
"""How many violations are told as stories; of the others the page names the scenario and the command."""


def page(reports: Sequence[Report]) -> str:
    """The page about one or several workflows.

    Everything that comes from the code under test is escaped. It has no address of its own and asks for none.
    """
    title = "Fault sweep: " + ", ".join(report.verdict.workflow for report in reports)
    several = len(reports) > 1
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Markup(_asset("page.css"))),
        ),
        tag(
            "body",
            tag(
                "main",
                _contents(reports) if several else "",
                *(tag("article", *_article(report), id=_id(report)) for report in reports),
            ),
            tag("script", Markup(_asset("page.js"))),
        ),
        lang="en",
    )


def _asset(name: str) -> str:
    return files("kit.testing.report").joinpath(name).read_text(encoding="utf-8")


def _contents(reports: Iterable[Report]) -> Markup:
    links = [
        tag("a", f"{words.VIOLATED if not r.verdict.safe else '✓'} {r.verdict.workflow}", href=f"#{_id(r)}")
        for r in reports
    ]
    return tag("nav", *links, aria_label="workflows")


def _id(report: Report) -> str:
    return "".join(c if c.isalnum() else "-" for c in report.verdict.workflow)


def _article(report: Report) -> Iterator[Markup]:
    sections = [
        ("violations", "What breaks", _violations(report)),
        ("rollback", "How far it can be taken back", tables.strip(report)),
        ("effects", "What it does to the world", _effects(report)),
        ("matrix", "Reversibility: every fault at every call", tables.matrix(report)),
        ("asked", "Where a person is asked", tables.asked(report)),
        ("together", "Faults that end otherwise together than alone", tables.differences(report)),
        ("bound", "Bound, counts and assumptions", tables.bound(report)),
    ]
    shown = [(f"{_id(report)}-{name}", title, content) for name, title, content in sections if content]
    yield _head(report)
    yield tag("nav", *(tag("a", title, href=f"#{name}") for name, title, _ in shown), aria_label="sections")
    for name, title, content in shown:
        yield tag("section", tag("h2", title), content, id=name)


def _head(report: Report) -> Markup:
    verdict = report.verdict
    counts = verdict.counts
    safe = verdict.safe
    found = "no violation" if safe else words.count(len(verdict.violations), "counterexample")
    tiles = [
        (f"≤ {verdict.depth}", f"{'fault' if verdict.depth == 1 else 'faults'} in a scenario"),
        (f"{counts.scenarios:,}", "scenarios"),
        (f"{counts.histories:,}", "distinct histories"),
        (f"{counts.faulted} of {counts.reachable}", "reachable points faulted"),
        (f"{counts.violating:,}", "scenarios that violate"),
    ]
    return tag(
        "header",
        tag(
            "h1", verdict.workflow, " ", tag("span", f"{'✓' if safe else words.VIOLATED} {found}", class_=_class(safe))
        ),
        tag("p", str(verdict), class_="quiet"),
        tag("ul", *(tag("li", tag("b", number), tag("span", what)) for number, what in tiles), class_="tiles"),
    )


def _class(safe: bool) -> str:
    return "verdict safe" if safe else "verdict unsafe"


def _effects(report: Report) -> Markup:
    effects = report.effects
    if effects is None:
        return tag("p", "This workflow is no saga: nothing says what effects its activities have.", class_="quiet")
    return join(
        tag("div", graph.svg(effects), class_="scroll"),
        tag("details", tag("summary", "The same as a table"), tables.table(graph.HEADINGS, graph.rows(effects))),
    )


def _violations(report: Report) -> Markup:
    found = report.verdict.violations
    if not found:
        return Markup()
    rest = found[TOLD:]
    others = [tag("li", tag("code", one.command), f": {_broken(one)}") for one in rest]
    return join(
        tag("p", "Each scenario is as small as it can be: without any one of its faults, every invariant holds."),
        *(_story(one, number) for number, one in enumerate(found[:TOLD], 1)),
        tag("details", tag("summary", words.count(len(rest), "more counterexample")), tag("ul", *others))
        if rest
        else "",
    )


def _broken(one: Counterexample) -> str:
    return "; ".join(dict.fromkeys(violation.invariant for violation in one.run.violations))


def _story(one: Counterexample, number: int) -> Markup:
    run = one.run
    at = awaiting(run)
    rows = [(e.system, "live" if e.live else "gone", e.text, e.key) for e in sorted(run.truth, key=lambda e: e.order)]
    found = "" if one.found_as == one.scenario else f"Found first as {one.found_as}. "
    return tag(
        "section",
        tag("h3", f"{number}. {_broken(one)}"),
        tag("p", tag("code", str(one.scenario))),
        tag("ul", *(tag("li", tag("strong", str(f.point)), f": {words.fault(f.kind)}") for f in run.scenario.faults)),
        tag("p", tag("strong", "It ended "), f"{ending(run)}." + (f" {words.short(run.error)}" if run.error else "")),
        tag(
            "ul",
            *(
                tag("li", f"{v.text} ({'when it parked' if v.when == 'parked' else 'at the end'})")
                for v in run.violations
            ),
        ),
        join(tag("p", "The workflow was awaiting:"), code(at)) if at else "",
        swim_lanes(run),
        tables.table(("system", "now", "effect", "key"), rows) if rows else "",
        tag("pre", f"{one.command}\n{words.command(run.workflow, one.scenario, explain=True)}", class_="again-command"),
        tag("p", f"{found}{words.count(one.scenarios, 'scenario')} of the sweep contain these faults.", class_="quiet"),
        class_="story",
    )
