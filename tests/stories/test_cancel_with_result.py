"""A cancellation reaches the workflow together with the result of its charge (temporalio/sdk-python, issue 352)."""

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
    """Charges, then reserves; refunds when anything goes wrong."""

    @workflow.run
    async def run(self, order: str) -> None:
        try:
            await workflow.execute_activity("charge", order, start_to_close_timeout=timedelta(seconds=10))
            await workflow.execute_activity("reserve", order, start_to_close_timeout=timedelta(seconds=10))
        except Exception:
            await workflow.execute_activity("refund", order, start_to_close_timeout=timedelta(seconds=10))
            raise


async def test_plain_temporal_closes_canceled_with_the_money_taken(server: WorkflowEnvironment) -> None:
    """The cancellation arrives bare, `except Exception` does not see it, and nobody refunds the charge."""
    bank = Bank()
    bank.hold("charge")
    service = Service(server, bank)

    async with service.activities():
        async with service.workflows(Order):
            handle = await service.start(Order.run, "ORDER-1")
            await bank.called["charge"].wait()
        # A deploy: no worker takes workflow tasks. Meanwhile the charge succeeds, and the customer cancels.
        bank.let_go("charge")
        await recorded(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        await handle.cancel()
        async with service.workflows(Order):
            with pytest.raises(WorkflowFailureError) as closed:
                await handle.result()

    assert isinstance(closed.value.cause, CancelledError)
    assert bank.book == ["charged ORDER-1"]


async def test_a_saga_refunds_it(server: WorkflowEnvironment) -> None:
    """The same cancellation, with the same charge: the saga lets the result through, and then undoes it."""
    bank = Bank()
    bank.hold("charge")
    service = Service(server, bank, plugin=on_kit.plugin(bank))

    async with service.activities():
        async with service.workflows(on_kit.Order):
            handle = await service.start(on_kit.Order.run, on_kit.Bill(order="ORDER-1"))
            await bank.called["charge"].wait()
        bank.let_go("charge")
        await recorded(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        await handle.cancel()
        async with service.workflows(on_kit.Order):
            with pytest.raises(WorkflowFailureError) as closed:
                await handle.result()

    assert isinstance(closed.value.cause, CancelledError)
    assert bank.book == ["charged ORDER-1", "refunded ORDER-1"]
