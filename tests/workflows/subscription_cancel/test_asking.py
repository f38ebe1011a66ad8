"""Who asks, how often, and who must be asked: one cancellation, and no large refund without an approval."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.subscriptions.tables import cancellation_number
from kit import Choice
from kit.operate import start_once
from kit.testing.sandbox import Operation
from kit.workflow import TaskKind
from tests.workflows.subscription_cancel.service import SUBSCRIPTION, Service
from workflows.subscription_cancel import CancelRequest, SubscriptionCancel

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

REQUEST = CancelRequest(subscription_id=SUBSCRIPTION)


async def test_customer_who_asks_twice_has_one_cancellation(service: Service) -> None:
    """The second click finds the first one's run, also when the subscription has ended meanwhile."""
    async with service.worker() as worker:
        started = []
        for _ in range(3):
            number = await cancellation_number(service.engine, SUBSCRIPTION)
            request = CancelRequest(subscription_id=SUBSCRIPTION, number=number)
            one = await start_once(
                worker.client,
                SubscriptionCancel.run,
                request,
                id=f"{request.workflow_id}-{service.folder.name}",
                task_queue=worker.task_queue,
            )
            started.append((one.duplicate, await one.handle.result()))

    assert [duplicate for duplicate, _ in started] == [False, True, True]
    assert len({result.refund_id for _, result in started}) == 1
    assert await service.stands() == service.gone()


async def test_two_requests_under_different_ids_share_every_effect(service: Service) -> None:
    """Started twice under ids of their own, both runs complete, and each system has been changed once."""
    async with service.worker() as worker:
        runs = [await worker.start(SubscriptionCancel.run, REQUEST) for _ in range(2)]
        ends = [await service.end(worker, run) for run in runs]

    assert [end.result for end in ends] == [ends[0].result] * 2
    assert ends[0].result is not None
    assert len(await service.calls(Operation.CANCEL_SUBSCRIPTION)) == 1
    assert await service.stands() == service.gone()


@pytest.mark.parametrize("choice", [Choice.APPROVE, Choice.REJECT])
async def test_large_refund_is_made_when_it_is_approved(
    server: WorkflowEnvironment, dear: Service, choice: Choice
) -> None:
    """The subscription ends at once; the refund waits for a person, who sees exactly what it is, and may reject it."""
    async with dear.worker() as worker:
        with server.with_time_skipping_disabled():  # else the approval would expire before anybody reads it
            run = await worker.start(SubscriptionCancel.run, REQUEST)
        task = await dear.task(run)
        waiting = await dear.stands()
        await dear.decide(run, choice)
        ended = await dear.end(worker, run)

    assert (task.kind, task.operation, task.owner) == (TaskKind.APPROVAL, "billing.refund_proration", "billing-team")
    assert task.question == "Refund 9900 usd for the unused time of sub_1?"
    assert (waiting.here, waiting.billed, waiting.entitled, waiting.refunds) == ("canceled", "canceled", "none", ())
    assert ended.result is not None
    assert await dear.stands() == dear.gone(refund=choice is Choice.APPROVE)


async def test_nothing_is_refunded_that_nobody_approves_in_time(dear: Service) -> None:
    """An approval that is not given within three days is none, and the cancellation is complete without the refund."""
    ended = await dear.cancel()

    assert ended.result is not None
    assert (ended.result.refund, ended.result.refund_id) == (0, None)
    assert await dear.stands() == dear.gone(refund=False)


async def test_request_that_makes_no_sense_is_refused_at_once(service: Service) -> None:
    """Bad input fails the run with no step taken."""
    async with service.worker() as worker:
        run = await worker.client.start_workflow(
            "SubscriptionCancel",
            {"subscription_id": "", "number": 0},
            id=f"bad-{service.folder.name}",
            task_queue=worker.task_queue,
        )
        ended = await service.end(worker, run)

    assert isinstance(ended.error, ApplicationError)
    assert ended.activities == []
