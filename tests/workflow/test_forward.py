"""Sagas that go forward: what they schedule, and what they never do."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.ledger.states import State
from tests.workflow.scene import scene
from tests.workflow.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_success_schedules_the_steps_and_nothing_else(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """On the success path the kit adds no activity, timer, signal, memo or search attribute."""
    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("parallel flight hotel", "step car", "pivot card", "after mail")

    assert ended.result.trip_id == "1"
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "hotel.book", "car.book", "card.charge", "mail.send"]
    assert ended.history.timers == 0
    assert set(ended.history.kinds) == {
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
        "ACTIVITY_TASK_SCHEDULED",
        "ACTIVITY_TASK_STARTED",
        "ACTIVITY_TASK_COMPLETED",
        "WORKFLOW_EXECUTION_COMPLETED",
    }
    assert world.provider.live == {"car:1": 1, "card:1": 1, "flight:1": 1, "hotel:1": 1, "mail:1": 1}
    assert set(ended.rows.values()) == {State.DONE}
    assert len(ended.rows) == 5
