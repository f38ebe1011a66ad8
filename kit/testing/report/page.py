"""The report as one HTML page that needs nothing else: no asset, no network, and no script to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Final

from kit.testing.report import graph, tables, words
from kit.testing.report.breaches import breaches
from kit.testing.report.findings import Report
from kit.testing.report.markup import Markup, breakable, join, tag
from kit.testing.report.matrix import matrix

_BREACHES: Final = 3
"""How many breaches the head names."""


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
        tag("a", f"{words.VIOLATED if not r.verdict.safe else words.SAFE} {r.verdict.workflow}", href=f"#{_id(r)}")
        for r in reports
    ]
    return tag("nav", *links, aria_label="workflows")


def _id(report: Report) -> str:
    return "".join(c if c.isalnum() else "-" for c in report.verdict.workflow)


def _article(report: Report) -> Iterator[Markup]:
    sections = [
        ("violations", "What breaks", breaches(report)),
        ("rollback", "How far it can be taken back", tables.strip(report)),
        ("effects", "What it does to the world", _effects(report)),
        ("matrix", "Reversibility: every fault at every call", matrix(report)),
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
    """The verdict, first in a word, then in a sentence, then in numbers."""
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
            "h1",
            verdict.workflow,
            " ",
            tag("span", f"{words.SAFE if safe else words.VIOLATED} {found}", class_=_class(safe)),
        ),
        _lead(report),
        tag("ul", *(tag("li", tag("b", number), tag("span", what)) for number, what in tiles), class_="tiles"),
        tables.endings(report),
        tag("p", str(verdict), class_="quiet"),
    )


def _lead(report: Report) -> Markup:
    """What a reader takes along who reads no further."""
    counts = report.verdict.counts
    bound = words.count(report.verdict.depth, "fault")
    if report.verdict.safe:
        return tag(
            "p",
            f"Every fault at every point, at most {bound} at a time: every invariant held in all "
            f"{words.count(counts.scenarios, 'scenario')}.",
            class_="lead",
        )
    worst = [tag("li", breakable(words.short(found.sentences[0]))) for found in report.breaches[:_BREACHES]]
    more = len(report.breaches) - _BREACHES
    return join(
        tag(
            "p",
            f"With at most {bound} at a time, an invariant does not hold in "
            f"{counts.violating:,} of {words.count(counts.scenarios, 'scenario')}:",
            class_="lead",
        ),
        tag("ul", *worst, *([tag("li", f"and {more} more")] if more > 0 else [])),
    )


def _class(safe: bool) -> str:
    return "verdict safe" if safe else "verdict unsafe"


def _effects(report: Report) -> Markup:
    effects = report.effects
    if effects is None:
        return tag("p", "This workflow is no saga: nothing says what effects its activities have.", class_="quiet")
    wrong = {name for found in report.breaches for name in found.operations}
    meant = [
        join(tag("dt", word, class_=f"effect {kind}" if kind else "effect"), tag("dd", said))
        for word, said, kind in graph.legend(effects)
    ]
    return join(
        tag(
            "div",
            tag("div", graph.svg(effects, violated=wrong), class_="scroll"),
            tag("dl", *meant, class_="terms"),
            class_="effects",
        ),
        tag("details", tag("summary", "The same as a table"), tables.table(graph.HEADINGS, graph.rows(effects))),
    )
