"""The story of one run, as text."""

from __future__ import annotations

from dataclasses import replace

from kit.testing.faults import Scenario
from kit.testing.report import narrate
from tests.testing.report.sample import LOST, broken, clean, parked, source_line


def test_a_story_has_all_its_parts_in_order() -> None:
    """From what goes wrong to the command that runs it again."""
    told = narrate(broken())

    parts = [
        "What goes wrong",
        "What happened",
        "What each system did, by its own records",
        "What the ledger says",
        "What the saga decided",
        "What does not hold",
        "Run it again: kit verify Checkout --only 'payments.capture#1:reply_lost'",
    ]
    positions = [told.index(part) for part in parts]
    assert positions == sorted(positions)


def test_the_fault_is_marked_where_it_strikes() -> None:
    """One line of the timeline carries the mark, with what the fault did."""
    (line,) = [line for line in narrate(broken()).splitlines() if line.startswith("  ✗")]

    assert line.split() == ["✗", "0.25", "s", "payments", "the", "reply", "is", "lost"]


def test_the_awaiting_line_is_shown_with_its_code() -> None:
    """The workflow's line comes as file, number and text."""
    assert f"at {source_line('await self.pivot(', shown=True)}: await self.pivot(" in narrate(broken())


def test_a_question_comes_with_its_choices() -> None:
    """A parked run says who is asked what, and how it ended after the answer."""
    told = narrate(parked())

    assert "customer-care-team: The step “Send the receipt”" in told
    assert "one of retry, skip; runbook docs/explanation/failure-model.md#email" in told
    assert "after the answer: completed" in told.splitlines()[0]


def test_a_clean_story_has_no_empty_part() -> None:
    """What there is nothing to say of is left out."""
    told = narrate(clean())

    assert "What goes wrong" not in told
    assert "What does not hold" not in told
    assert told.startswith("Checkout under clean: completed\n")


def test_a_fault_that_never_struck_is_said() -> None:
    """Whoever misnumbers a call learns it from the story."""
    fault = LOST.faults[0]
    run = replace(clean(), scenario=Scenario((fault,)), unreached=(fault,))

    assert "payments.capture#1: the provider does the work, and the reply is lost (never reached" in narrate(run)


def test_long_texts_are_wrapped_below_themselves() -> None:
    """No line of the timeline is wider than a terminal."""
    run = broken()
    long = replace(run, story=tuple(replace(line, text="word " * 60) for line in run.story))

    assert max(map(len, narrate(long).splitlines())) <= 120
