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
from kit.testing import FaultKind, Invariant, Run, Subject, sweep
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


@workflow.defn(name="OrderBesideTheKit")
class PlainBefore:
    """What is in production."""

    @workflow.run
    async def run(self, request: RequestBefore) -> None:
        await on_kit.plainly(on_kit.reserve, on_kit.Bill(order=request.order))
        await on_kit.plainly(on_kit.charge, on_kit.Bill(order=f"{request.order} {request.amount}"))


@workflow.defn(name="OrderBesideTheKit")
class PlainAfter:
    """The change."""

    @workflow.run
    async def run(self, request: RequestAfter) -> None:
        await on_kit.plainly(on_kit.reserve, on_kit.Bill(order=request.order))
        await on_kit.plainly(on_kit.charge, on_kit.Bill(order=f"{request.order} {request.amount_cents}"))


def _charged_in_full(world: on_kit.BankWorld, run: Run) -> list[str]:
    charged = [line for line in world.bank.book if line.startswith("charged")]
    return [line for line in charged if line != "charged ORDER-1 4999"]


async def _rolled_back(after: type, request: object, *, before: type) -> dict[str, set[str]]:
    """What a sweep finds that takes the change back at every call."""
    rule = Invariant("an order is charged what it costs", _charged_in_full)
    subject = Subject(after, request, on_kit.BankWorld, (rule,), previous=before)
    verdict = await sweep(subject, depth=1, kinds=[FaultKind.HANDED_OVER])
    return {str(found.scenario): {broken.invariant for broken in found.run.violations} for found in verdict.violations}


async def test_a_sweep_finds_what_is_charged_after_the_rollback() -> None:
    """Before anything is deployed: handed over at its reservation, the order is charged 0, and a rule says so."""
    found = await _rolled_back(PlainAfter, RequestAfter("ORDER-1", amount_cents=4999), before=PlainBefore)

    assert found["bank.reserve#1:handed_over"] == {"an order is charged what it costs"}


async def test_a_sweep_finds_that_a_saga_would_stand_still() -> None:
    """The same change to a saga: the sweep says that its runs are stuck on the old code, and nothing is charged."""
    found = await _rolled_back(SagaAfter, BillAfter(order="ORDER-1", amount_cents=4999), before=SagaBefore)

    assert found["bank.reserve#1:handed_over"] == {"every run ends, or waits for a person"}
