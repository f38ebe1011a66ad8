"""Scenarios that begin where another one stood are the same as from the start, to the last byte."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.engines.simulation.answers import Answers
from kit.testing.engines.simulation.course import Course
from kit.testing.engines.simulation.scene import Scene
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.wire import Wire
from kit.testing.world import Subject
from tests.testing.invariants.test_live import Forgetful
from tests.worlds import APPROVED, CHECKOUT, FIVE_STEPS, TWO_STEPS
from tests.worlds.two_steps import Market

OWNER = re.compile(r"[0-9a-f]{32}-[0-9a-f]+-\d+")
"""Unlike any other in this process, and nothing depends on it."""


def course_of(subject: Subject, scenario: Scenario) -> Course:
    """The course of a scenario, in which workflow code answers each history once."""
    answers = Answers()
    return Course(lambda given, looking: Scene(subject, given, foresight=looking, answers=answers), scenario)


def comparable(run: Run | object) -> object:
    """A run without what differs between any two."""
    if not isinstance(run, Run):
        return run
    rows = tuple(replace(row, owner=OWNER.sub("", row.owner or "")) for row in run.rows)
    duplicates = tuple(comparable(duplicate) for duplicate in run.duplicates)
    return replace(run, rows=rows, duplicates=duplicates)  # type: ignore[arg-type]  # they are runs


def further(run: Run, every: int) -> list[Fault]:
    """Each so many-th of the faults that may strike at a run's later points."""
    struck = [seen.fault is not None for seen in run.seen]
    later = run.seen[struck.index(True) + 1 :] if any(struck) else run.seen
    return [Fault(seen.point, kind) for seen in later for kind in seen.kinds][::every]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "scenario", "every"),
    [
        (TWO_STEPS, "clean", 4),
        (TWO_STEPS, "stall.lay_aside#1:late_after_retry", 5),
        (FIVE_STEPS, "airline.fly#1:started_again", 29),
        (FIVE_STEPS, "hotel.sleep#1:crash_after", 17),
        (FIVE_STEPS, "bank.pay#1:terminated", 13),
        (APPROVED, "clean", 5),
        (CHECKOUT, "inventory.reserve#1:replies_lost", 29),
        (CHECKOUT, "payments.capture#1:refused", 11),
        (replace(CHECKOUT, world=Forgetful), "clean", 47),
    ],
)
def test_scenario_that_branches_off_is_the_one_from_the_start(subject: Subject, scenario: str, every: int) -> None:
    """History, story, truth, ledgers and what does not hold: all of the run is the same."""
    engine, begun = Simulation(), Scenario.parse(scenario)
    faults = further(engine.run_here(subject, begun), every)
    course = course_of(subject, begun)

    branches = {fault: course.run_until(fault, lambda state, seen: False) for fault in faults}

    course.close()
    assert len(faults) > 2
    for fault, run in branches.items():
        assert comparable(run) == comparable(engine.run_here(subject, begun.plus(fault))), fault


def test_same_scenario_branches_off_the_same_again() -> None:
    """Nothing of one scenario is left when the next begins, also where it was stopped in its midst."""
    clean = Simulation().run_here(TWO_STEPS, Scenario())
    last = clean.seen[-1].point
    course = course_of(TWO_STEPS, Scenario())

    first = course.run_until(Fault(last, FaultKind.REPLY_LOST), lambda state, seen: False)
    stopped = course.run_until(Fault(clean.seen[0].point, FaultKind.REPLY_LOST), lambda state, seen: True)
    again = course.run_until(Fault(last, FaultKind.REPLY_LOST), lambda state, seen: False)

    course.close()
    assert not isinstance(stopped, Run)
    assert comparable(first) == comparable(again)


def counting() -> Iterator[int]:
    """What a generator holds cannot be brought back."""
    yield from range(1_000)


class Hiding(Market):
    """A market that tells how often it was asked, and keeps that out of sight."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self._asked = counting()

    async def state(self) -> bytes:
        """The number, besides."""
        return repr(next(self._asked)).encode() + await super().state()


def test_world_that_does_not_come_back_is_run_from_the_start() -> None:
    """What the world tells of itself is compared; where it is not what it was, nothing branches off."""
    clean = Simulation().run_here(TWO_STEPS, Scenario())
    course = course_of(replace(TWO_STEPS, world=Hiding), Scenario())

    found = course.run_until(Fault(clean.seen[-1].point, FaultKind.REPLY_LOST), lambda state, seen: False)

    course.close()
    assert found is None
