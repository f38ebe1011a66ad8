"""A change goes out behind `workflow.patched`, and is rolled back: the runs that have met the patch are stuck."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.testing import WorkflowEnvironment

from activities.inventory import contract as inventory
from activities.payments import contract as payments
from kit import SagaWorkflow
from kit.testing import Ending, FaultKind, Subject, Verdict, sweep
from tests.stories.plain import Bank, Service, recorded
from tests.worlds.checkout import REQUEST, CheckoutWorld
from workflows.checkout import CheckoutRequest

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


def _hold(checkout: CheckoutRequest, *, email: str | None = None) -> payments.AuthorizePayment:
    return payments.AuthorizePayment(
        order_id=checkout.order_id,
        amount=checkout.amount,
        currency=checkout.currency,
        payment_method=checkout.payment_method,
        customer_email=email,
    )


@workflow.defn(name="Hold")
class SagaBefore(SagaWorkflow, owner="shop-team"):
    """What is in production."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> None:
        await self.step(payments.authorize, _hold(checkout))


@workflow.defn(name="Hold")
class SagaPatched(SagaWorkflow, owner="shop-team"):
    """The change, made as the handbook says."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> None:
        if workflow.patched("reserve-first"):
            await self.step(
                inventory.reserve,
                inventory.ReserveStock(order_id=checkout.order_id, sku=checkout.sku, quantity=checkout.quantity),
            )
        await self.step(payments.authorize, _hold(checkout))


@workflow.defn(name="Hold")
class SagaReworded(SagaWorkflow, owner="shop-team"):
    """A change that asks for the same: the bank is told the customer's address."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> None:
        await self.step(payments.authorize, _hold(checkout, email=checkout.email))


async def _rolled_back(after: type) -> Verdict:
    """A sweep that takes a change back at every call."""
    subject = Subject(after, REQUEST, CheckoutWorld, previous=SagaBefore)
    return await sweep(subject, depth=1, kinds=[FaultKind.HANDED_OVER])


async def test_a_sweep_says_which_runs_a_rollback_strands() -> None:
    """Before anything is deployed: a run that has met the patch is stuck when it is handed over."""
    verdict = await _rolled_back(SagaPatched)

    found = {str(violation.scenario): violation.run.ending for violation in verdict.violations}
    assert found["inventory.reserve#1:handed_over"] is Ending.STUCK


async def test_a_sweep_says_that_a_rollback_is_safe() -> None:
    """A change that schedules what the old code schedules can be taken back at every call."""
    verdict = await _rolled_back(SagaReworded)

    verdict.assert_safe()
    assert verdict.counts.scenarios > 1
