"""What may be asked of the billing provider about subscriptions."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from activities.entitlements.contract import Plan
from activities.payments.contract import KEY_RETENTION, Amount, Currency, Id
from kit.contract import (
    HTTP_FAILURES,
    Dependency,
    Effect,
    FailureKind,
    Keys,
    Listing,
    Model,
    Once,
    Operation,
    Page,
    Scan,
    unknown,
)

BILLING: Final = Dependency(
    name="billing",
    owner="billing-team",
    # The way to the provider. What it has accepted it shows at once: a subscription is read by its id, not searched.
    settle=timedelta(seconds=5),
    failures=HTTP_FAILURES.extended(
        # A request under the same key, or on the same object, is still running: it may yet succeed.
        statuses={409: unknown(FailureKind.CONFLICT)}
    ),
    runbook="docs/explanation/failure-model.md#billing",
)


class BillingStatus(StrEnum):
    """Where a subscription stands at the provider; its own words."""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"
    UNPAID = "unpaid"
    PAUSED = "paused"


class ReadSubscription(Model):
    """Look a subscription up."""

    subscription_id: Id


class Subscription(Model):
    """A subscription, as the provider knows it.

    Attributes:
        subscription_id: The provider's own id. Everybody else uses it, too.
        account_id: Whose it is.
        plan: What it is charged for.
        status: Where it stands.
        period_start: From when the latest invoice counts.
        period_end: Until when.
        paid: What was paid for that time, in minor units; 0 when nothing was.
        currency: In which currency.
        payment_intent: With which payment; ``None`` when there was nothing to pay.
    """

    subscription_id: Id
    account_id: Id
    plan: Plan
    status: BillingStatus
    period_start: datetime
    period_end: datetime
    paid: Annotated[int, Field(ge=0)] = 0
    currency: Currency
    payment_intent: Id | None = None

    def unused(self, on: date) -> int:
        """The share of what was paid for the days from ``on``: whole days (UTC), in minor units, rounded down."""
        whole = (self.period_end.date() - self.period_start.date()).days
        left = (self.period_end.date() - max(on, self.period_start.date())).days
        return self.paid * max(left, 0) // whole if whole > 0 else 0


class CancelSubscription(Model):
    """End a subscription at once.

    Attributes:
        subscription_id: Which.
        number: Which cancellation of it this is, from 1: one that was refused and taken back is over, and the next one
            has a key of its own.
    """

    subscription_id: Id
    number: Annotated[int, Field(ge=1)] = 1


class Cancellation(Model):
    """A subscription that has ended."""

    subscription_id: Id
    status: BillingStatus


class RefundProration(Model):
    """Give back what was paid for the time after a cancellation."""

    subscription_id: Id
    payment_intent: Id
    amount: Amount
    currency: Currency


class Refund(Model):
    """Money that was given back."""

    refund_id: Id
    amount: Amount
    currency: Currency


class ChangePlan(Model):
    """Charge another plan from now on.

    Attributes:
        subscription_id: Which subscription.
        change_id: The business event that asks for it. Changing there, back and there again are three changes.
        plan: The new plan.
        before: The plan it must have now; what the undo goes back to.
    """

    subscription_id: Id
    change_id: Id
    plan: Plan
    before: Plan


read_subscription = Operation(
    "billing.read_subscription",
    ReadSubscription,
    Subscription,
    dependency=BILLING,
    effect=Effect.READ,
    timeout=timedelta(seconds=10),
    summary="Read subscription {subscription_id}",
)
"""Look a subscription up. It is found after its end, too."""

cancel_subscription = Operation(
    "billing.cancel_subscription",
    CancelSubscription,
    Cancellation,
    dependency=BILLING,
    # A subscription that has ended is never active again: the customer would have to take out another one.
    effect=Effect.IRREVERSIBLE,
    # The provider takes no idempotency key for a DELETE (https://docs.stripe.com/api/idempotent_requests): after a lost
    # reply the subscription itself is looked at.
    once=Once.by_probe(),
    key="cancel-subscription:{subscription_id}:{number}",
    timeout=timedelta(seconds=10),
    summary="Cancel subscription {subscription_id} at the billing provider",
)
"""End the subscription at once, without a proration by the provider. Cannot be taken back."""

refund_proration = Operation(
    "billing.refund_proration",
    RefundProration,
    Refund,
    dependency=BILLING,
    effect=Effect.IRREVERSIBLE,
    once=Once.by_key(ttl=KEY_RETENTION),
    # A subscription ends once, so there is one refund.
    key="refund-proration:{subscription_id}",
    timeout=timedelta(seconds=10),
    summary="Refund {amount} {currency} for the unused time of subscription {subscription_id}",
)
"""Give back what was paid for the unused time. Cannot be taken back."""

change_plan = Operation(
    "billing.change_plan",
    ChangePlan,
    Subscription,
    dependency=BILLING,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=KEY_RETENTION),
    key="change-plan:{subscription_id}:{change_id}",
    timeout=timedelta(seconds=10),
    summary="Change subscription {subscription_id} from {before} to {plan}",
)
"""Charge another plan. Its undo changes back, as long as nobody has changed it since."""

list_subscriptions = Operation(
    "billing.list_subscriptions",
    Scan,
    Page,
    dependency=BILLING,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of subscriptions",
)
"""All subscriptions, ended or not, page by page."""

find_subscriptions = Operation(
    "billing.find_subscriptions",
    Keys,
    Page,
    dependency=BILLING,
    effect=Effect.READ,
    timeout=timedelta(seconds=60),
    summary="Find the subscriptions {keys}",
)
"""Some subscriptions."""

list_accounts = Operation(
    "billing.list_accounts",
    Scan,
    Page,
    dependency=BILLING,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of charged accounts",
)
"""The subscriptions that have not ended, page by page, by whose they are."""

find_accounts = Operation(
    "billing.find_accounts",
    Keys,
    Page,
    dependency=BILLING,
    effect=Effect.READ,
    timeout=timedelta(seconds=60),
    summary="Find what {keys} are charged for",
)
"""The subscriptions of some accounts that have not ended."""

CHARGED_SUBSCRIPTIONS: Final = Listing(
    name="subscriptions at the billing provider", pages=list_subscriptions, again=find_subscriptions
)
"""State: a `BillingStatus`. Facts: ``subscription_id``, ``account_id`` and ``plan``."""

CHARGED_ACCOUNTS: Final = Listing(name="charged accounts", pages=list_accounts, again=find_accounts)
"""The same, of those that have not ended, by account."""
