"""The undo is shielded, and the shield is awaited once: a cancellation in the middle of the undo ends it."""

from __future__ import annotations

import asyncio
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
    """Charges and reserves; its undo is shielded from the cancellation."""

    @workflow.run
    async def run(self, order: str) -> None:
        try:
            await workflow.execute_activity("charge", order, start_to_close_timeout=timedelta(seconds=10))
            await workflow.execute_activity("reserve", order, start_to_close_timeout=timedelta(seconds=10))
        except BaseException:
            await asyncio.shield(self.undo(order))
            raise

    async def undo(self, order: str) -> None:
        await workflow.execute_activity("release", order, start_to_close_timeout=timedelta(seconds=10))
        await workflow.execute_activity("refund", order, start_to_close_timeout=timedelta(seconds=10))


async def test_plain_temporal_closes_canceled_in_the_middle_of_its_undo(server: WorkflowEnvironment) -> None:
    """The cancellation ends the await of the shield, the workflow closes, and the refund is never scheduled."""
    bank = Bank()
    bank.refuse("reserve")
    bank.hold("release")
    service = Service(server, bank)

    async with service.activities(), service.workflows(Order):
        handle = await service.start(Order.run, "ORDER-1")
        await bank.called["release"].wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as closed:
            await handle.result()
        bank.let_go("release")

    assert isinstance(closed.value.cause, CancelledError)
    assert bank.book == ["charged ORDER-1", "released ORDER-1"]


async def test_a_saga_finishes_its_undo(server: WorkflowEnvironment) -> None:
    """The same cancellation in the middle of the same undo changes nothing: the undo is awaited until it is over."""
    bank = Bank()
    bank.refuse("reserve")
    bank.hold("refund")
    service = Service(server, bank, plugin=on_kit.plugin(bank))

    async with service.activities(), service.workflows(on_kit.Order):
        handle = await service.start(on_kit.Order.run, on_kit.Bill(order="ORDER-1"))
        await bank.called["refund"].wait()
        await handle.cancel()
        await recorded(handle, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        bank.let_go("refund")
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    assert bank.book == ["charged ORDER-1", "refunded ORDER-1"]
