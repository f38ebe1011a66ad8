"""What the demo says, at a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from activities.orders.contract import CartStatus
from temporal.demo.evidence import Shop, verdict
from temporal.demo.report import LiveReport, Report, Row, document_of, verdict_lines
from temporal.demo.stories import STORIES, Ended, Ending


def declined(*problems: str) -> Row:
    """An order that was declined."""
    ended = Ended("run-1", "failed", Ending.UNDONE, "generic_decline", remarks=("seen",))
    row = Row(STORIES[1], "order-card-declined", ended=ended, shop=Shop(None, CartStatus.OPEN))
    row.problems.extend(problems)
    return row


def written(report: type[Report], row: Row, *, width: int) -> str:
    """What a report writes about one order, from its beginning to its end."""
    text = io.StringIO()
    told = report(Console(file=text, width=width, force_terminal=report is LiveReport, color_system=None))
    told.begin([row])
    told.update([row])
    told.end([row])
    return text.getvalue()


def test_lines_tell_an_order_once() -> None:
    """Without a terminal each order is a block of lines, written once, when it has ended."""
    told = written(Report, declined(), width=40)

    assert told.splitlines() == [
        "",
        "✓ order-card-declined: undone: generic_decline",
        "    The card is declined",
        "    payments    -",
        "    stock       -",
        "    fulfilment  -",
        "    e-mail      -",
        "    shop        order none, cart open",
        "    note        seen",
    ]


def test_lines_wait_for_the_end() -> None:
    """An order that is under way is not told yet."""
    assert written(Report, Row(STORIES[0], "order-success", started=True), width=80) == ""


@pytest.mark.parametrize("width", [80, 130])
def test_table_fits_and_tells(width: int) -> None:
    """The table keeps to the width of the terminal, with every order's state in it."""
    told = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written(LiveReport, declined("something is wrong"), width=width))

    assert all(len(line) <= width for line in told.splitlines())
    assert all(word in told for word in ("order-card-declined", "✗", "undone", "something is wrong"))


def test_document_and_lines_say_when_it_is_not_well() -> None:
    """What is wrong is in the verdict's lines and in the document."""
    row = declined("something is wrong")
    assert row.ended is not None
    assert row.shop is not None
    result = verdict([(row.ended, row.seen, row.shop)], row.problems, of=1)

    document = document_of([row], result, server={})

    assert verdict_lines(result)[-2:] == ["  ✗ something is wrong", "NOT WELL: see above."]
    assert document["verdict"]["ok"] is False
    assert document["orders"][0]["ok"] is False
    assert document["orders"][0]["shop"] == {"order": None, "cart": "open"}
