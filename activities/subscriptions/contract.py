"""What may be asked of the service's own database about subscriptions, and how they may change."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from activities.email.contract import Address
from activities.entitlements.contract import Plan
from activities.payments.contract import Id
from kit.contract import (
    SQL_FAILURES,
    Dependency,
    Effect,
    FailureKind,
    Keys,
    Listing,
    Model,
    Once,
    Operation,
    Page,
    Retry,
    Scan,
    Transitions,
)

SUBSCRIPTIONS: Final = Dependency(
    name="subscriptions",
    owner="billing-team",
    # One database, read where it is written: what is committed is visible.
    settle=timedelta(0),
    failures=SQL_FAILURES,
    # A row whose state does not allow the change will not allow it for being asked again.
    retry={FailureKind.CONFLICT: Retry(attempts=1)},
    runbook="docs/explanation/failure-model.md#subscriptions",
)
"""The service's own database."""


class SubscriptionStatus(StrEnum):
    """Where a subscription stands for this service. What the customer is charged is the billing provider's to say."""

    ACTIVE = "active"
    CANCEL_PENDING = "cancel_pending"
    """The customer wants it to end; the billing provider has not confirmed that yet."""
    CANCELED = "canceled"


SUBSCRIPTION: Final = Transitions(
    "subscription",
    {
        SubscriptionStatus.ACTIVE: (SubscriptionStatus.CANCEL_PENDING,),
        SubscriptionStatus.CANCEL_PENDING: (SubscriptionStatus.CANCELED, SubscriptionStatus.ACTIVE),
        SubscriptionStatus.CANCELED: (),
    },
)
"""How a subscription may change. Back to active by the undo of ``subscriptions.begin_cancellation``."""

Number = Annotated[int, Field(ge=1)]
"""Which cancellation of a subscription it is. One that was refused and taken back is over; the next one has the next
number, and keys of its own."""


class BeginCancellation(Model):
    """Note that a subscription is to end."""

    subscription_id: Id
    number: Number = 1


class Begun(Model):
    """What the service knows of a subscription that is to end.

    Attributes:
        subscription_id: Which; the billing provider uses the same id.
        account_id: Whose it is.
        plan: Which plan ends.
        email: Who is told.
        on: The day on which the customer asked (UTC); from it on nothing is owed.
    """

    subscription_id: Id
    account_id: Id
    plan: Plan
    email: Address
    on: date


class FinishCancellation(Model):
    """Note that a subscription has ended."""

    subscription_id: Id
    number: Number = 1


class Finished(Model):
    """A subscription, as it was left."""

    subscription_id: Id
    status: SubscriptionStatus


begin_cancellation = Operation(
    "subscriptions.begin_cancellation",
    BeginCancellation,
    Begun,
    dependency=SUBSCRIPTIONS,
    effect=Effect.REVERSIBLE,
    once=Once.by_transaction(),
    key="begin-cancellation:{subscription_id}:{number}",
    timeout=timedelta(seconds=10),
    summary="Mark subscription {subscription_id} as about to end",
)
"""From active to ``cancel_pending``. Its undo makes the subscription active again."""

finish_cancellation = Operation(
    "subscriptions.finish_cancellation",
    FinishCancellation,
    Finished,
    dependency=SUBSCRIPTIONS,
    # What has ended at the provider is over, and so it is here: no state leads back.
    effect=Effect.IRREVERSIBLE,
    once=Once.by_transaction(),
    key="finish-cancellation:{subscription_id}:{number}",
    timeout=timedelta(seconds=10),
    summary="Mark subscription {subscription_id} as ended",
)
"""From ``cancel_pending`` to ``canceled``, for good."""

list_subscriptions = Operation(
    "subscriptions.list_subscriptions",
    Scan,
    Page,
    dependency=SUBSCRIPTIONS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of subscriptions",
)
"""All subscriptions, page by page, by their ids."""

find_subscriptions = Operation(
    "subscriptions.find_subscriptions",
    Keys,
    Page,
    dependency=SUBSCRIPTIONS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Find the subscriptions {keys}",
)
"""Some subscriptions."""

ALL_SUBSCRIPTIONS: Final = Listing(name="subscriptions", pages=list_subscriptions, again=find_subscriptions)
"""State: a `SubscriptionStatus`. Facts: ``account_id``, and the ``number`` of the latest cancellation."""
