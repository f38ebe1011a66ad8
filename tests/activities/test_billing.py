"""Billing against a provider that speaks Stripe's wire format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from activities.billing import contract as billing
from activities.billing.contract import (
    BillingStatus,
    CancelSubscription,
    ChangePlan,
    ReadSubscription,
    RefundProration,
    Subscription,
)
from activities.billing.stripe import StripeBilling
from activities.entitlements.contract import Plan
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.errors import Refused
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import live

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
UNAVAILABLE = (FailureKind.UNAVAILABLE, Outcome.UNKNOWN)


def token(key: str) -> Token:
    """What the guard passes on."""
    return Token(key=key, correlation_id="corr-1", workflow_id="cancel-sub_1-1")


@pytest.fixture
def connector(http: httpx.AsyncClient) -> StripeBilling:
    """The connector under test."""
    return StripeBilling(http)


@pytest.fixture(autouse=True)
async def _subscribed(sandbox: Sandbox) -> None:
    for number in range(1, 9):
        await sandbox.control.subscribe(f"sub_{number}", account_id="ACC-1", price="price_pro", since=BEGAN)


def scripted(sandbox: Sandbox, operation: Operation, fault: FaultKind) -> Callable[[], Awaitable[None]]:
    """Makes the provider fail at its next call."""

    async def inject() -> None:
        await sandbox.control.fault(operation, fault)

    return inject


async def read(connector: StripeBilling, subscription_id: str = "sub_1") -> Subscription:
    """How the provider knows a subscription."""
    return await connector.read_subscription(ReadSubscription(subscription_id=subscription_id), token(""))


def change(subscription_id: str = "sub_1") -> ChangePlan:
    """A change from pro to enterprise."""
    return ChangePlan(subscription_id=subscription_id, change_id="UP-1", plan=Plan.ENTERPRISE, before=Plan.PRO)


def key_of(request: ChangePlan) -> str:
    """The key of a change."""
    return billing.change_plan.key_for(request, workflow_id="upgrade-1")


# -- the promises --------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_cancellation_keeps_its_promises(sandbox: Sandbox, connector: StripeBilling) -> None:
    """Cancelling conforms, whatever the provider does on the way."""

    def fault(kind: FaultKind, number: int, expected: FailureKind, outcome: Outcome) -> Fault:
        request = CancelSubscription(subscription_id=f"sub_{number}")
        return Fault(scripted(sandbox, Operation.CANCEL_SUBSCRIPTION, kind), request, expected, outcome)

    report = await check_connector(
        connector,
        billing.cancel_subscription,
        CancelSubscription(subscription_id="sub_1"),
        oracle=lambda: live(sandbox, EffectKind.CANCELED),
        faults=[
            fault(FaultKind.REFUSE, 2, FailureKind.FORBIDDEN, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, 3, FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, 4, *UNAVAILABLE),
            fault(FaultKind.DROP_BEFORE, 5, *UNAVAILABLE),
            fault(FaultKind.DROP_REPLY, 6, *UNAVAILABLE),
            fault(FaultKind.ERROR_AFTER, 7, *UNAVAILABLE),
        ],
    )

    assert report.faults == 6
    assert Promise.PROBE_AFTER in report.kept


@pytest.mark.slow
async def test_refund_keeps_its_promises(sandbox: Sandbox, connector: StripeBilling) -> None:
    """Refunding conforms, whatever the provider does on the way."""

    async def request(number: int) -> RefundProration:
        found = await read(connector, f"sub_{number}")
        assert found.payment_intent is not None
        return RefundProration(
            subscription_id=found.subscription_id, payment_intent=found.payment_intent, amount=500, currency="usd"
        )

    async def fault(kind: FaultKind, number: int, expected: FailureKind, outcome: Outcome) -> Fault:
        return Fault(scripted(sandbox, Operation.REFUND, kind), await request(number), expected, outcome)

    async def refunds() -> int:
        return sum(effect.kind is EffectKind.REFUNDED for effect in await sandbox.control.effects())

    report = await check_connector(
        connector,
        billing.refund_proration,
        await request(1),
        oracle=refunds,
        faults=[
            await fault(FaultKind.REFUSE, 2, FailureKind.FORBIDDEN, Outcome.REFUSED),
            await fault(FaultKind.DROP_BEFORE, 3, *UNAVAILABLE),
            await fault(FaultKind.DROP_REPLY, 4, *UNAVAILABLE),
            # The 500 is stored under the key, and the refund is found.
            await fault(FaultKind.ERROR_AFTER, 5, *UNAVAILABLE),
        ],
    )

    assert report.faults == 4
    assert Promise.KEY_HONOURED in report.kept


@pytest.mark.slow
async def test_change_of_plan_keeps_its_promises(sandbox: Sandbox, connector: StripeBilling) -> None:
    """Changing a plan conforms, whatever the provider does on the way."""

    def fault(kind: FaultKind, number: int, expected: FailureKind, outcome: Outcome) -> Fault:
        inject = scripted(sandbox, Operation.CHANGE_SUBSCRIPTION, kind)
        return Fault(inject, change(f"sub_{number}"), expected, outcome)

    async def upgraded() -> int:
        subscriptions = sandbox.app.billing.subscriptions.values()
        return sum(each.price == "price_enterprise" for each in subscriptions)

    report = await check_connector(
        connector,
        billing.change_plan,
        change(),
        oracle=upgraded,
        faults=[
            fault(FaultKind.REFUSE, 2, FailureKind.FORBIDDEN, Outcome.REFUSED),
            fault(FaultKind.DROP_BEFORE, 3, *UNAVAILABLE),
            fault(FaultKind.DROP_REPLY, 4, *UNAVAILABLE),
            fault(FaultKind.ERROR_AFTER, 5, *UNAVAILABLE),
        ],
    )

    assert report.faults == 4
    assert {Promise.KEY_HONOURED, Promise.PROBE_UNDONE, Promise.UNDO_FORGOTTEN} <= set(report.kept)


# -- reading -------------------------------------------------------------------------------------------------------


async def test_subscription_is_read_with_what_was_paid(connector: StripeBilling) -> None:
    """Account, plan, period and payment are what the provider says."""
    found = await read(connector)

    assert (found.account_id, found.plan, found.status) == ("ACC-1", Plan.PRO, BillingStatus.ACTIVE)
    assert (found.period_start, found.period_end - found.period_start) == (BEGAN, timedelta(days=30))
    assert (found.paid, found.currency) == (9900, "usd")
    assert found.payment_intent is not None


@pytest.mark.parametrize(("after", "unused"), [(-1, 9900), (0, 9900), (10, 6600), (29, 330), (30, 0), (31, 0)])
async def test_unused_time_is_what_is_left_of_the_period(connector: StripeBilling, after: int, unused: int) -> None:
    """The unused share is by the day, never below nothing and never above what was paid."""
    found = await read(connector)

    assert found.unused(BEGAN.date() + timedelta(days=after)) == unused


async def test_subscription_with_a_price_of_no_plan_is_invalid(http: httpx.AsyncClient) -> None:
    """A price that nobody has given a plan is named, with what to do about it."""
    connector = StripeBilling(http, prices={Plan.STARTER: "price_starter"})

    with pytest.raises(Refused, match=r"price 'price_pro', which is no plan's: give StripeBilling\(prices=...\) one"):
        await read(connector)


# -- cancelling ----------------------------------------------------------------------------------------------------


async def test_what_somebody_else_has_cancelled_is_cancelled(
    sandbox: Sandbox, connector: StripeBilling, http: httpx.AsyncClient
) -> None:
    """A subscription that was ended by hand has ended: that is what was asked for."""
    await http.delete("/v1/subscriptions/sub_1")

    found = await connector.cancel_subscription(CancelSubscription(subscription_id="sub_1"), token("cancel"))

    assert found.status is BillingStatus.CANCELED
    assert await live(sandbox, EffectKind.CANCELED) == 1


async def test_subscription_that_does_not_exist_cannot_be_cancelled(connector: StripeBilling) -> None:
    """Only what is found to have ended counts as cancelled; what is not there is a refusal."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.cancel_subscription(CancelSubscription(subscription_id="sub_none"), token("cancel"))

    failure = classify(connector, billing.cancel_subscription, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.NOT_FOUND, Outcome.REFUSED)


async def test_provider_sees_for_which_key_a_subscription_was_cancelled(
    sandbox: Sandbox, connector: StripeBilling
) -> None:
    """A DELETE has no idempotency key: the key is the comment of the cancellation."""
    await connector.cancel_subscription(
        CancelSubscription(subscription_id="sub_1"), token("cancel-subscription:sub_1:1")
    )

    assert sandbox.app.billing.subscriptions["sub_1"].comment == "cancel-subscription:sub_1:1"


# -- changing a plan -----------------------------------------------------------------------------------------------


async def test_plan_that_was_changed_since_is_left_alone(connector: StripeBilling) -> None:
    """A change is made to the plan that it was asked for, and to no other."""
    request = ChangePlan(subscription_id="sub_1", change_id="UP-1", plan=Plan.ENTERPRISE, before=Plan.STARTER)

    with pytest.raises(Refused, match="'active' with plan 'pro', not with 'starter'") as raised:
        await connector.change_plan(request, token(key_of(request)))

    assert (raised.value.kind, raised.value.reason) == (FailureKind.CONFLICT, "subscription_changed")


async def test_subscription_that_has_ended_gets_no_plan(connector: StripeBilling, http: httpx.AsyncClient) -> None:
    """What has ended is not charged again."""
    await http.delete("/v1/subscriptions/sub_1")

    with pytest.raises(Refused, match="is 'canceled'"):
        await connector.change_plan(change(), token(key_of(change())))


async def test_undo_leaves_a_later_change_alone(connector: StripeBilling) -> None:
    """When somebody has changed the plan since, their change stays."""
    request = change()
    made = await connector.change_plan(request, token(key_of(request)))
    later = ChangePlan(subscription_id="sub_1", change_id="DOWN-1", plan=Plan.STARTER, before=Plan.ENTERPRISE)
    await connector.change_plan(later, token(key_of(later)))

    await connector.change_back(Undo(request, made), token(key_of(request) + ":undo"))

    assert (await read(connector)).plan is Plan.STARTER


async def test_change_that_was_made_again_later_is_not_taken_for_the_first(connector: StripeBilling) -> None:
    """A change is told by its key, not by the plan that it leads to."""
    first, again = change(), change().model_copy(update={"change_id": "UP-2"})
    made = await connector.change_plan(first, token(key_of(first)))
    await connector.change_back(Undo(first, made), token(key_of(first) + ":undo"))
    await connector.change_plan(again, token(key_of(again)))

    assert await connector.find_change(first, token(key_of(first))) is None
    assert await connector.find_change(again, token(key_of(again))) is not None


async def test_plan_without_a_price_is_refused(connector: StripeBilling) -> None:
    """Nobody can be charged for no plan."""
    request = ChangePlan(subscription_id="sub_1", change_id="UP-1", plan=Plan.NONE, before=Plan.PRO)

    with pytest.raises(Refused, match="plan 'none' has no price"):
        await connector.change_plan(request, token(key_of(request)))
