"""The page: complete in itself, escaped, and readable without colour or script."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest

from kit.contract import Role
from kit.testing.faults import FaultKind, Point, Scenario
from kit.testing.report import Report, page
from kit.testing.report.breaches import TOLD
from kit.testing.report.lanes import swim_lanes
from kit.testing.runs import Line, Seen, Violation
from kit.testing.sweep.verdict import Counterexample
from tests.testing.report.sample import HOSTILE, LOST, RECEIPT, REFUSED, broken, report, source_line, verdict

VOID = ("meta", "br", "input", "wbr")

JOINED = "\0"
"""Stands where a line may be broken within a word."""


class Reader(HTMLParser):
    """Reads a page as a browser does: its text, its elements, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes.extend((tag, name, value or "") for name, value in attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "wbr":
            self.text.append(JOINED)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


def read(text: str) -> Reader:
    """Read a page to its end."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def said(reader: Reader) -> str:
    """All that a person reads."""
    return " ".join(" ".join(reader.text).replace(f" {JOINED} ", "").split())


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No asset, no address: what is linked to is on the page."""
    text = page([report()])
    reader = read(text)

    links = [value for _, name, value in reader.attributes if name in ("src", "href", "action", "data")]
    ids = {value for _, name, value in reader.attributes if name == "id"}
    assert links
    assert {link.removeprefix("#") for link in links} <= ids
    assert reader.elements["link"] == reader.elements["img"] == reader.elements["iframe"] == 0
    assert "url(" not in text
    assert "@import" not in text


def test_hostile_texts_are_shown_and_never_obeyed() -> None:
    """What a provider answers, an assumption says or a person is asked is text, however it looks."""
    text = page([report()])
    reader = read(text)

    assert HOSTILE not in text
    assert said(reader).count(HOSTILE) >= 5
    assert reader.elements["script"] == 1


def test_a_violation_tells_its_whole_story() -> None:
    """Scenario, invariant, lanes, the fault's row, the awaiting line, the records and the commands are there."""
    reader = read(page([report()]))
    told = said(reader)

    lanes = {value for tag, name, value in reader.attributes if (tag, name) == ("td", "data-lane")}
    assert lanes == {"workflow", "worker", "ledger", "payments"}
    assert ("tr", "class", "struck") in reader.attributes
    assert "at most one live effect per key" in told
    assert "await self.pivot(" in told
    assert source_line("await self.pivot(", shown=True) in told
    assert f"kit verify Checkout --only '{LOST}'" in told
    assert f"kit verify Checkout --explain '{LOST}'" in told
    assert "captured 49.99 usd again" in told


def test_lines_about_other_operations_stand_aside() -> None:
    """A story shows what was faulted or is violated; a switch that needs no script shows the rest, and its lanes."""
    run = broken()
    other = [Seen(Point("email.send_receipt", Role.ACTION, n), "sweep", "receipt:ORDER-1", n) for n in (1, 2)]
    beside = [
        Line(timedelta(0), lane, f"{key}: done") for lane in ("email", "ledger") for key in ("receipt:ORDER-1",) * 3
    ]
    told = replace(run, story=(*run.story, *beside), seen=(*run.seen, *other))

    text = swim_lanes(told)

    rows = re.findall(r"<tr( class=\"\w+\")?><th scope=\"row\"", text)
    assert rows.count(' class="aside"') == 6
    assert rows.count(' class="struck"') == 1
    assert f"show all {len(told.story)} lines" in text
    assert '<th scope="col" class="aside">email</th>' in text
    assert '<th scope="col">ledger</th>' in text


def test_a_short_story_is_told_whole() -> None:
    """Where few lines would stand aside there is no switch."""
    assert "aside" not in swim_lanes(broken())
    assert "show all" not in swim_lanes(broken())


def test_counterexamples_that_break_the_same_are_one_breach() -> None:
    """Nobody reads the same sentence nine times: one story is open, the others are folded below it."""
    found = verdict()
    again = Counterexample(REFUSED, replace(broken(), scenario=REFUSED), REFUSED)
    other = replace(broken(), violations=(Violation("every run ends", "email.send_receipt waits for ever"),))
    several = (found.violations[0], again, Counterexample(RECEIPT, replace(other, scenario=RECEIPT), RECEIPT))
    seen = Report(replace(found, violations=several), report().subject)

    text = page([seen])

    assert [len(one.examples) for one in seen.breaches] == [2, 1]
    assert [one.operations for one in seen.breaches] == [(), ("email.send_receipt",)]
    assert len(re.findall(r'<details class="story" open>', text)) == 1
    assert len(re.findall(r'<details class="story">', text)) == 2
    assert said(read(text)).count("at most one live effect per key: 2 live effects") == 2  # in the head, and in its box


def test_what_is_not_told_is_there_as_a_command() -> None:
    """Of many counterexamples the page tells some, and names all."""
    found = verdict()
    many = tuple(
        Counterexample(scenario, replace(broken(), scenario=scenario), scenario)
        for scenario in (Scenario.parse(f"payments.capture#{n}:reply_lost") for n in range(1, 31))
    )

    text = page([Report(replace(found, violations=many), report().subject)])

    assert text.count('class="story"') == TOLD
    assert all(one.command in unescape(text) for one in many)


def test_the_graph_marks_what_is_violated() -> None:
    """The box of an operation that a violation names says so, and the legend explains the boxes' words."""
    found = verdict()
    wrong = replace(broken(), violations=(Violation("every run ends", "email.send_receipt waits for ever"),))

    text = page([Report(replace(found, violations=(Counterexample(LOST, wrong, LOST),)), report().subject)])

    assert '<text x="' in text
    assert "✗ email.send_receipt</text>" in text
    assert "✗ payments.capture</text>" not in text
    assert "nobody but a person can tell whether it happened" in said(read(text))


def test_colour_is_never_the_only_sign() -> None:
    """Every coloured cell of the matrix has a mark of its ending in it, and the legend explains each mark."""
    text = page([report()])

    cells = re.findall(r'<td class="(\w+)" data-endings=[^>]*>(.*?)</td>', text)
    marks = {"completed": "✓", "compensated": "↩", "parked": "?", "violated": "✗"}
    assert {kind for kind, _ in cells} == set(marks)
    assert all(marks[kind] in content for kind, content in cells)
    assert all(f"<b>{mark}</b>" in text for mark in marks.values())


def test_the_matrix_has_what_was_found_where_it_was_found() -> None:
    """A cell shows endings alone, what else came of it together with others, and has numbers and an example."""
    text = page([report()])

    ((numbers, cell),) = re.findall(
        r'title="payments.capture: the provider does the work, and the reply is lost. ([^"]*)">(.*?)</td>', text
    )
    assert cell == "✗4<br>↩<br>"
    assert re.search(r'title="payments.capture.undo: [^"]*"><small>\+ \?</small></td>', text)
    assert numbers == f"alone: 1 compensated; together with others: 3 compensated; 4 violated; such as {LOST}"


def test_what_can_strike_nowhere_has_no_column() -> None:
    """It is named instead, so that nobody takes it for forgotten."""
    found = report()
    tried = replace(found.verdict, kinds=(*found.verdict.kinds, FaultKind.RATE_LIMITED))

    text = page([Report(tried, found.subject)])

    assert ">rate limited</span>" not in text
    assert "Nowhere: rate limited." in said(read(text))
    assert "Nowhere" not in page([found])


@pytest.mark.parametrize("safe", [True, False])
def test_the_head_says_the_verdict_with_its_bound(safe: bool) -> None:
    """Safe or not stands beside the name, and the bound right below."""
    told = said(read(page([report(safe=safe)])))

    assert ("✓ no violation" if safe else "✗ 1 counterexample") in told
    assert "for ≤ 2 faults, 1,204 scenarios" in told
    assert ("What breaks" in told) is not safe
    assert ("every invariant held in all 1,204 scenarios" in told) is safe
    assert ("an invariant does not hold in 4 of 1,204 scenarios" in told) is not safe
    assert "✓ 700 completed ↩ 500 compensated ? 4 parked" in told


def test_the_parked_endings_say_what_a_person_is_asked() -> None:
    """Who is asked and where to look stand above the questions, what may be answered beside each."""
    told = said(read(page([report()])))

    assert "The step “Send the receipt” cannot go on by itself" in told
    assert "customer-care-team (runbook: docs/explanation/failure-model.md#email)" in told
    assert "retry, skip" in told


def test_the_bound_comes_with_counts_and_assumptions() -> None:
    """Nobody reads "safe" without what it rests on."""
    told = said(read(page([report()])))

    assert "8 faulted of 9 reachable" in told
    assert "19 run to the end although it was known, and all ended as it was foretold" in told
    assert "not run: another run passed through the same state 804" in told
    assert "payments.authorize.probe#1" in told
    assert "One ledger serves every worker." in told


def test_the_page_is_made_for_phones_print_and_both_colour_schemes() -> None:
    """One style sheet has them all."""
    text = page([report()])

    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "@media (max-width: 720px)" in text
    assert "@media print" in text


def test_several_workflows_share_a_page() -> None:
    """Each has an article, and the head links to them."""
    reader = read(page([report(safe=True), report()]))

    assert reader.elements["article"] == 2
    assert "✓ Checkout ✗ Checkout" in said(reader)


def test_the_same_verdict_gives_the_same_page() -> None:
    """A page holds no time, no machine and no chance, so that two can be compared."""
    assert page([report()]) == page([report()])
