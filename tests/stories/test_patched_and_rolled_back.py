"""A change goes out behind `workflow.patched`, and is rolled back: the runs that have met the patch are stuck."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.testing import WorkflowEnvironment

from tests.stories.plain import Bank, Service, recorded

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@workflow.defn(name="Order")
class Before:
    """What is in production."""

    @workflow.run
    async def run(self, order: str) -> None:
        await workflow.execute_activity("charge", order, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn(name="Order")
class After:
    """The change, made as the handbook says."""

    @workflow.run
    async def run(self, order: str) -> None:
        if workflow.patched("reserve-first"):
            await workflow.execute_activity("reserve", order, start_to_close_timeout=timedelta(seconds=10))
        await workflow.execute_activity("charge", order, start_to_close_timeout=timedelta(seconds=10))


async def test_plain_temporal_is_stuck_on_the_old_code(server: WorkflowEnvironment) -> None:
    """The old code does not know the patch: each of its workflow tasks fails, and the order is never charged."""
    bank = Bank()
    bank.hold("reserve")
    service = Service(server, bank)

    async with service.activities():
        async with service.workflows(After):
            handle = await service.start(After.run, "ORDER-1")
            await bank.called["reserve"].wait()
        bank.let_go("reserve")
        async with service.workflows(Before):
            await recorded(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        events = (await handle.fetch_history()).events
        await handle.terminate()

    (failed,) = [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED]
    cause = failed.workflow_task_failed_event_attributes.cause
    assert cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
    assert bank.book == ["reserved ORDER-1"]
