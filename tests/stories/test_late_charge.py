"""A charge that was given up lands after its refund has found nothing to refund."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment

from tests.stories import on_kit
from tests.stories.plain import Bank, Service, recorded

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@workflow.defn
class Order:
    """Registers its undo first, and is careful to catch everything."""

    @workflow.run
    async def run(self, order: str) -> None:
        try:
            await workflow.execute_activity("charge", order, start_to_close_timeout=timedelta(seconds=10))
        except BaseException:
            await workflow.execute_activity("refund", order, start_to_close_timeout=timedelta(seconds=10))
            raise


async def test_plain_temporal_refunds_before_the_charge(server: WorkflowEnvironment) -> None:
    """Cancelled while the charge is at work: the refund finds nothing, the run closes, and the charge takes effect."""
    bank = Bank()
    bank.hold("charge")
    service = Service(server, bank)

    async with service.activities():
        async with service.workflows(Order):
            handle = await service.start(Order.run, "ORDER-1")
            await bank.called["charge"].wait()
            await handle.cancel()
            with pytest.raises(WorkflowFailureError) as closed:
                await handle.result()
        bank.let_go("charge")

    assert isinstance(closed.value.cause, CancelledError)
    assert bank.book == ["nothing to refund for ORDER-1", "charged ORDER-1"]


async def test_a_saga_waits_for_the_charge(server: WorkflowEnvironment) -> None:
    """An attempt at work is never left behind: its outcome is waited for, and then the charge is refunded."""
    bank = Bank()
    bank.hold("charge")
    service = Service(server, bank, plugin=on_kit.plugin(bank))

    async with service.activities(), service.workflows(on_kit.Order):
        handle = await service.start(on_kit.Order.run, on_kit.Bill(order="ORDER-1"))
        await bank.called["charge"].wait()
        await handle.cancel()
        await recorded(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
        bank.let_go("charge")
        with pytest.raises(WorkflowFailureError) as closed:
            await handle.result()

    assert isinstance(closed.value.cause, CancelledError)
    assert bank.book == ["charged ORDER-1", "refunded ORDER-1"]
