"""The vocabulary of a report follows that of the proof."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit.testing.faults import FaultKind, Scenario
from kit.testing.report import words
from kit.testing.report.findings import SEVERITY
from kit.testing.runs import Ending


def test_every_kind_of_fault_has_its_words() -> None:
    """A kind that is added to the vocabulary must be explained in the report."""
    assert set(words.FAULTS) == {kind.value for kind in FaultKind}


def test_every_ending_has_a_mark_of_its_own() -> None:
    """Endings are told apart without their colour."""
    marks = [*words.MARKS.values(), words.VIOLATED]

    assert set(words.MARKS) == set(words.ENDINGS) == set(SEVERITY) == set(Ending)
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (59.5, "59.5 s"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (86400, "24 h"),
        (7 * 86400, "7 d"),
        (7 * 86400 + 3600, "7 d 1 h"),
    ],
)
def test_times_are_told_in_their_two_largest_units(seconds: float, told: str) -> None:
    """A time reads as a person would say it; a day is 24 hours."""
    assert words.span(timedelta(seconds=seconds)) == told


def test_the_command_runs_the_scenario_again() -> None:
    """The id stands in quotes: a shell would take it apart."""
    scenario = Scenario.parse("payments.capture#1:reply_lost@7")

    assert words.command("Checkout", scenario) == "kit verify Checkout --only 'payments.capture#1:reply_lost@7'"


@pytest.mark.parametrize(
    ("text", "name", "named"),
    [
        ("asks for ship.order", "ship.order", True),
        ("POST for ship.order#2: 200", "ship.order", True),
        ("ship.order.undo is refused", "ship.order", True),
        ("ship:7: asked to claim the action", "ship:7", True),
        ("under the key 'ship:7'", "ship:7", True),
        ("ship:77: asked to claim the action", "ship:7", False),
        ("ship:7:BOOK: asked to claim the action", "ship:7", False),
        ("ship.orders waits", "ship.order", False),
        ("airship.order waits", "ship.order", False),
        ("ship.order.later waits", "ship.order", False),
    ],
)
def test_a_name_is_named_only_as_a_whole(text: str, name: str, named: bool) -> None:
    """Operations and keys that begin alike are told apart."""
    assert words.names(text, name) is named
