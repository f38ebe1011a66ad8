"""What a simulated server writes when a workflow gives up an activity that nobody has taken up."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History

from kit.testing import Ending, Scenario, Subject
from kit.testing.engines.simulation import Simulation
from tests.testing.engines.travels import TravelWorld
from tests.testing.engines.workflows import ByHand
from tests.workflow.sagas import Plan


def test_an_activity_given_up_by_the_task_that_closes_the_run_has_no_end() -> None:
    """Nobody has taken it up, and nobody hears of its end any more: as on the real server, the history has none."""
    subject = Subject(workflow=ByHand, request=Plan(id="1", lines=()), world=TravelWorld)
    engine = Simulation()

    run = engine.run_here(subject, Scenario.parse("car.book#1:cancel_before"))

    assert run.ending is Ending.CANCELLED
    assert [EventType.Name(e.event_type) for e in History.FromString(run.history).events[-3:]] == [
        "EVENT_TYPE_WORKFLOW_TASK_COMPLETED",
        "EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED",
        "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED",
    ]
    assert engine.replays(subject, run) is None
