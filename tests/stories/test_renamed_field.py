"""A field is renamed, and the change is rolled back: the old code reads the new payload, and fills in its default."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from kit import Model, SagaWorkflow
from tests.stories import on_kit
from tests.stories.plain import Bank, Service, recorded

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@dataclass
class RequestBefore:
    """What the old code is asked; the amount was added later, hence the default."""

    order: str
    amount: int = 0


@dataclass
class RequestAfter:
    """The same, with a better name."""

    order: str
    amount_cents: int = 0


@workflow.defn(name="Order")
class Before:
    """What is in production."""

    @workflow.run
    async def run(self, request: RequestBefore) -> None:
        await workflow.execute_activity("reserve", request.order, start_to_close_timeout=timedelta(seconds=10))
        bill = f"{request.order} {request.amount}"
        await workflow.execute_activity("charge", bill, start_to_close_timeout=timedelta(seconds=10))


@workflow.defn(name="Order")
class After:
    """The change."""

    @workflow.run
    async def run(self, request: RequestAfter) -> None:
        await workflow.execute_activity("reserve", request.order, start_to_close_timeout=timedelta(seconds=10))
        bill = f"{request.order} {request.amount_cents}"
        await workflow.execute_activity("charge", bill, start_to_close_timeout=timedelta(seconds=10))


async def test_plain_temporal_charges_nothing(server: WorkflowEnvironment) -> None:
    """The converter drops the field it does not know, nothing fails, and the order is charged 0."""
    bank = Bank()
    bank.hold("reserve")
    service = Service(server, bank)

    async with service.activities():
        async with service.workflows(After):
            handle = await service.start(After.run, RequestAfter("ORDER-1", amount_cents=4999))
            await bank.called["reserve"].wait()
        bank.let_go("reserve")
        async with service.workflows(Before):
            await handle.result()

    assert bank.book == ["reserved ORDER-1", "charged ORDER-1 0"]


class BillBefore(Model):
    """What the old code is asked."""

    order: str
    amount: int = 0


class BillAfter(Model):
    """The same, with a better name."""

    order: str
    amount_cents: int = 0


@workflow.defn(name="OrderOnKit")
class SagaBefore(SagaWorkflow, owner="shop-team"):
    """What is in production."""

    @workflow.run
    async def run(self, bill: BillBefore) -> None:
        await self.step(on_kit.reserve, on_kit.Bill(order=bill.order))
        await self.step(on_kit.charge, on_kit.Bill(order=f"{bill.order} {bill.amount}"))


@workflow.defn(name="OrderOnKit")
class SagaAfter(SagaWorkflow, owner="shop-team"):
    """The change."""

    @workflow.run
    async def run(self, bill: BillAfter) -> None:
        await self.step(on_kit.reserve, on_kit.Bill(order=bill.order))
        await self.step(on_kit.charge, on_kit.Bill(order=f"{bill.order} {bill.amount_cents}"))


async def test_a_saga_takes_no_step_with_what_it_cannot_read(server: WorkflowEnvironment) -> None:
    """A `Model` refuses what it does not know: on the old code the run stands still, and nothing is charged."""
    bank = Bank()
    bank.hold("reserve")
    service = Service(server, bank, plugin=on_kit.plugin(bank))

    async with service.activities():
        async with service.workflows(SagaAfter):
            handle = await service.start(SagaAfter.run, BillAfter(order="ORDER-1", amount_cents=4999))
            await bank.called["reserve"].wait()
        bank.let_go("reserve")
        async with service.workflows(SagaBefore):
            await recorded(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        status = (await handle.describe()).status
        await handle.terminate()

    assert status is WorkflowExecutionStatus.RUNNING
    assert bank.book == ["reserved ORDER-1"]
