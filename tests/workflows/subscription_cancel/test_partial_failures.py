"""Every way in which a cancellation can fail in part: it ends everywhere, or is as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.testing.sandbox import FaultKind, Operation
from kit.workflow import COMPENSATED
from tests.workflows.subscription_cancel.service import ACTIVE, SUBSCRIPTION, Service
from workflows.subscription_cancel import CancelRequest, SubscriptionCancel

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SUCCESS = [
    "subscriptions.begin_cancellation",
    "billing.read_subscription",
    "billing.cancel_subscription",
    "subscriptions.finish_cancellation",
    "entitlements.revoke",
    "billing.refund_proration",
    "email.send_notice",
    "audit.record",
]
"""What a cancellation schedules when nothing has to be undone, whatever is retried."""


async def test_subscription_ends_everywhere(server: WorkflowEnvironment, tmp_path: Path, cached: bool) -> None:
    """Service, provider and entitlement agree, the unused time is refunded, the customer told, the end recorded."""
    async with Service.open(server, tmp_path, cached=cached) as service:
        ended = await service.cancel()
        stands = await service.stands()

    assert ended.result is not None
    assert (ended.result.refund, ended.activities) == (1900, SUCCESS)
    assert stands == service.gone()


class Goes(NamedTuple):
    """A failure after which the subscription ends all the same."""

    operation: Operation
    fault: FaultKind
    calls: int
    """How often the provider is asked for what fails."""
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(Goes(Operation.CANCEL_SUBSCRIPTION, FaultKind.DROP_REPLY, 1), id="cancelled and the reply lost"),
        pytest.param(Goes(Operation.CANCEL_SUBSCRIPTION, FaultKind.ERROR_AFTER, 1), id="cancelled and then an error"),
        pytest.param(Goes(Operation.CANCEL_SUBSCRIPTION, FaultKind.DROP_BEFORE, 2), id="lost before it cancelled"),
        pytest.param(Goes(Operation.CANCEL_SUBSCRIPTION, FaultKind.RATE_LIMIT, 2), id="rate limit"),
        pytest.param(Goes(Operation.CHANGE_ENTITLEMENT, FaultKind.DROP_REPLY, 1), id="revoked and the reply lost"),
        pytest.param(Goes(Operation.REFUND, FaultKind.DROP_REPLY, 2), id="refunded and the reply lost"),
        pytest.param(Goes(Operation.SEND, FaultKind.UNAVAILABLE, 3, {"times": 2}), id="mail server down"),
    ],
)
async def test_what_fails_on_the_way_changes_nothing(service: Service, failure: Goes) -> None:
    """What has happened is found, what has not is repeated: each system has it once."""
    await service.fault(failure.operation, failure.fault, **failure.options)

    ended = await service.cancel()

    assert ended.result is not None
    assert ended.activities == SUCCESS
    assert len(await service.calls(failure.operation)) == failure.calls
    assert await service.stands() == service.gone()


async def test_cancelling_that_takes_too_long_is_found(service: Service) -> None:
    """The provider has cancelled and its reply takes too long: it is looked up, and not asked for again."""
    service.network.times_out(f"DELETE /v1/subscriptions/{SUBSCRIPTION}")

    ended = await service.cancel()

    assert ended.result is not None
    assert len(await service.calls(Operation.CANCEL_SUBSCRIPTION)) == 1
    assert await service.stands() == service.gone()


@pytest.mark.parametrize("operation", [Operation.CANCEL_SUBSCRIPTION, Operation.READ_SUBSCRIPTION])
async def test_refusal_leaves_everything_as_before(service: Service, operation: Operation) -> None:
    """The provider definitely refuses: the subscription is active again, and no e-mail leaves."""
    await service.fault(operation, FaultKind.REFUSE)

    ended = await service.cancel()

    assert isinstance(ended.error, ApplicationError)
    assert ended.error.type == COMPENSATED
    assert ended.activities[-1] == "subscriptions.begin_cancellation.undo"
    assert await service.stands() == ACTIVE


async def test_refused_customer_may_ask_again(service: Service) -> None:
    """After a cancellation that was taken back the next one has keys of its own."""
    await service.fault(Operation.CANCEL_SUBSCRIPTION, FaultKind.REFUSE)
    await service.cancel(number=1)

    ended = await service.cancel(number=2)

    assert ended.result is not None
    assert await service.stands() == service.gone()


async def test_what_was_cancelled_by_hand_is_followed(service: Service) -> None:
    """Somebody has ended the subscription at the provider before: here it ends, too, and nobody asks for it twice."""
    async with httpx.AsyncClient(base_url=service.sandbox.url, trust_env=False) as http:
        headers = {"Authorization": "Bearer sk_test_sandbox"}
        (await http.delete(f"/v1/subscriptions/{SUBSCRIPTION}", headers=headers)).raise_for_status()

    ended = await service.cancel()

    assert ended.result is not None
    assert await service.stands() == service.gone()


async def test_refusal_after_the_end_waits_for_a_person(service: Service) -> None:
    """The subscription has ended, and the refund is refused: nothing turns round; the customer is told in the end."""
    await service.fault(Operation.REFUND, FaultKind.REFUSE)
    async with service.worker() as worker:
        run = await worker.start(SubscriptionCancel.run, CancelRequest(subscription_id=SUBSCRIPTION))
        await service.task(run)
        parked = await service.stands()
        await service.well()
        await service.decide(run, Choice.RETRY)
        ended = await service.end(worker, run)

    assert (parked.here, parked.billed, parked.refunds, parked.notices) == ("canceled", "canceled", (), 0)
    assert ended.result is not None
    assert await service.stands() == service.gone()


async def test_what_has_ended_is_not_cancelled_again(service: Service) -> None:
    """An illegal transition is refused with both states, and no provider is asked for anything."""
    await service.cancel(number=1)
    before = await service.stands()

    ended = await service.cancel(number=2)

    assert "subscription cannot go from 'canceled' to 'cancel_pending'" in str(ended.error)
    assert len(await service.calls(Operation.CANCEL_SUBSCRIPTION)) == 1
    assert await service.stands() == before


async def test_subscription_that_does_not_exist_cannot_be_cancelled(service: Service) -> None:
    """What nobody knows is refused at once, by name."""
    async with service.worker() as worker:
        run = await worker.start(SubscriptionCancel.run, CancelRequest(subscription_id="sub_none"))
        ended = await service.end(worker, run)

    assert "subscriptions has no 'sub_none'" in str(ended.error)
    assert ended.activities == ["subscriptions.begin_cancellation"]
