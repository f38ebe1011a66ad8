"""Each event of an entity is a saga of its own, and is judged as one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit import Entity, EntityEvent
from kit.testing import Run, Scenario, Subject
from kit.testing.engines.simulation import Simulation
from tests.testing.invariants import wrong_entities as entities
from tests.worlds.five_steps import Agency

COMPLETE = "completed means every effect is there"
CANCELLED = "airline.fly#1:cancel_during"


def run(workflow: type, scenario: str = "clean") -> Run:
    """What comes of two events, in the world of the agency."""
    events = tuple(EntityEvent[str](id=id, source="guest", data=id) for id in ("rome", "oslo"))
    request = Entity[int](state=0, events=events, close_when_idle=timedelta(minutes=5))
    return Simulation().run_here(Subject(workflow, request, Agency), Scenario.parse(scenario))


@pytest.mark.parametrize(
    ("workflow", "scenario", "breaks", "says"),
    [
        (
            entities.OneMore,
            CANCELLED,
            "a cancelled saga takes no further step",
            "the run had heard of its cancellation, and went on with airline.fly",
        ),
        (
            entities.Late,
            "clean",
            "nothing is begun after the deadline",
            "hotel.sleep was begun, or tried again, when the deadline of 1:00:00 was over",
        ),
        (
            entities.Forgets,
            "clean",
            COMPLETE,
            "event 'rome' was undone, but airline.fly stands (key 'airline-fly:rome')",
        ),
        (
            entities.ForgetsAndAsks,
            "clean",
            COMPLETE,
            "event 'rome' was undone, but airline.fly stands (key 'airline-fly:rome')",
        ),
        (
            entities.Forgets,
            "airline.fly#1:unrecorded",
            "the ledger says what is true",
            "the run is over, and the ledger's row of airline.fly is claimed (key 'airline-fly:rome')",
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_said(workflow: type, scenario: str, breaks: str, says: str) -> None:
    """The invariant that holds for a saga holds for each event."""
    found = run(workflow, scenario)

    assert says in [one.text for one in found.violations if one.invariant == breaks], found.violations


@pytest.mark.parametrize(
    ("workflow", "scenario", "stand"),
    [
        (entities.EndsInTime, CANCELLED, ["airline-fly:rome"]),
        (entities.InTime, "clean", ["airline-fly:rome", "hotel-sleep:rome", "airline-fly:oslo", "hotel-sleep:oslo"]),
        (entities.Undoes, "clean", ["airline-fly:oslo"]),
        (entities.Undoes, "airline.fly#2:unrecorded", ["airline-fly:oslo"]),
        (entities.UndoesAndAsks, "clean", ["airline-fly:rome~2", "airline-fly:oslo"]),
    ],
)
def test_the_nearest_right_entity_breaks_nothing(workflow: type, scenario: str, stand: list[str]) -> None:
    """What was done for the events that were applied stands, and nothing else."""
    found = run(workflow, scenario)

    kept = [one for one in found.violations if one.invariant != "without a fault it completes"]
    assert kept == []
    assert [effect.key for effect in sorted(found.truth, key=lambda one: one.order) if effect.live] == stand
