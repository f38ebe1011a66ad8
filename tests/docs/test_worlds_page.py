"""The page about worlds and invariants: its table is the code's, its examples run."""

from __future__ import annotations

from typing import Any, Final

import pytest

from kit.testing import Ending, Invariant, Scenario, Subject
from kit.testing.engines.simulation import Simulation
from kit.testing.invariants import BUILT_IN
from tests.docs.pages import ROOT, blocks, rows
from tests.worlds.checkout import CHECKOUT

PAGE: Final = ROOT / "docs/how-to/worlds-and-invariants.md"


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """What the page defines."""
    names: dict[str, Any] = {"__name__": "examples"}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.text, PAGE.name, "exec"), names)  # noqa: S102 - our own page
    return names


def test_the_table_has_every_built_in_invariant() -> None:
    """Name and meaning, in the order in which they are asked."""
    told = [tuple(row) for row in rows(PAGE, "An invariant")]

    assert told == [(rule.name, rule.holds) for rule in BUILT_IN]


@pytest.mark.parametrize("scenario", ["clean", "stall.charge#1:refused", "stall.lay_aside#1:reply_lost"])
def test_the_short_world_carries_a_saga(examples: dict[str, Any], scenario: str) -> None:
    """The world of the page is enough for a sweep."""
    subject: Subject = examples["SELL"]

    run = Simulation().run_here(subject, Scenario.parse(scenario))

    assert run.unreached == ()
    assert run.violations == ()


@pytest.mark.slow  # the first checkout of a session imports its providers
def test_the_invariant_holds_for_the_checkout(examples: dict[str, Any]) -> None:
    """A rule of one's own is asked beside the built-in ones."""
    rule: Invariant = examples["PAID_IN_FULL"]
    subject = Subject(CHECKOUT.workflow, CHECKOUT.request, CHECKOUT.world, (rule,))

    run = Simulation().run_here(subject, Scenario())

    assert run.ending is Ending.COMPLETED
    assert run.violations == ()


def test_a_world_of_ones_own_fault_says_how_its_runs_end(examples: dict[str, Any]) -> None:
    """Sold out, the checkout is compensated; without the word for it that would be a violation."""
    subject: Subject = examples["SOLD_OUT"]
    unsaid = Subject(subject.workflow, subject.request, subject.world)

    run, surprised = (Simulation().run_here(each, Scenario()) for each in (subject, unsaid))

    assert run.ending is Ending.COMPENSATED
    assert run.violations == ()
    assert {one.invariant for one in surprised.violations} == {"without a fault it completes"}
