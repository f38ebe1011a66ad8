"""The page: complete in itself, escaped, and readable without colour or script."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from kit.testing.report import page
from tests.testing.report.sample import HOSTILE, LOST, report, source_line

VOID = ("meta", "br")


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
    return " ".join(" ".join(reader.text).split())


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


def test_colour_is_never_the_only_sign() -> None:
    """Every coloured cell of the matrix has a mark of its ending in it, and the legend explains each mark."""
    text = page([report()])

    cells = re.findall(r'<td class="(\w+)" data-endings=[^>]*>(.*?)</td>', text)
    marks = {"completed": "✓", "compensated": "↩", "parked": "?", "violated": "✗"}
    assert {kind for kind, _ in cells} == set(marks)
    assert all(marks[kind] in content for kind, content in cells)
    assert all(f"<b>{mark}</b>" in text for mark in marks.values())


def test_the_matrix_has_what_was_found_where_it_was_found() -> None:
    """A cell counts endings alone, then together with other faults, and names an example."""
    text = page([report()])

    (cell,) = re.findall(
        r'title="payments.capture: the provider does the work, and the reply is lost[^"]*">(.*?)</td>', text
    )
    assert cell == "✗4<br>↩1<br><small>+ ↩3</small>"


@pytest.mark.parametrize("safe", [True, False])
def test_the_head_says_the_verdict_with_its_bound(safe: bool) -> None:
    """Safe or not stands beside the name, and the bound right below."""
    told = said(read(page([report(safe=safe)])))

    assert ("✓ no violation" if safe else "✗ 1 counterexample") in told
    assert "for ≤ 2 faults, 1,204 scenarios" in told
    assert ("What breaks" in told) is not safe


def test_the_parked_endings_say_what_a_person_is_asked() -> None:
    """The question, who is asked, what may be answered, and where to look stand in one row."""
    told = said(read(page([report()])))

    assert "The step “Send the receipt” cannot go on by itself" in told
    assert "customer-care-team (runbook: docs/explanation/failure-model.md#email)" in told
    assert "retry, skip" in told


def test_the_bound_comes_with_counts_and_assumptions() -> None:
    """Nobody reads "safe" without what it rests on."""
    told = said(read(page([report()])))

    assert "8 faulted of 9 reachable" in told
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
