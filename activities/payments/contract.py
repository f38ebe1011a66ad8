"""What may be asked of the payment provider."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

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

Amount = Annotated[int, Field(gt=0)]
"""Money in minor units (cents)."""

Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
"""ISO 4217, in lower case as Stripe writes it."""

Id = Annotated[str, Field(min_length=1, max_length=120)]
"""The id of a business object. Two of them and a verb fit into one idempotency key."""

KEY_RETENTION: Final = timedelta(hours=24)
"""Stripe may forget an idempotency key after 24 hours (https://docs.stripe.com/api/idempotent_requests)."""

PAYMENTS = Dependency(
    name="payments",
    owner="payments-team",
    # The way to the provider. That Stripe's search lags behind is the connector's business: it lists, too.
    settle=timedelta(seconds=5),
    failures=HTTP_FAILURES.extended(
        # A request under the same key, or on the same object, is still running: it may yet succeed.
        statuses={409: unknown(FailureKind.CONFLICT)}
    ),
    runbook="docs/explanation/failure-model.md#payments",
)


class AuthorizePayment(Model):
    """Hold an amount on a payment method."""

    order_id: Id
    amount: Amount
    currency: Currency
    payment_method: Id
    customer_email: str | None = None


class Authorization(Model):
    """An amount held, not yet taken."""

    payment_intent: Id
    amount: Amount
    currency: Currency


class CapturePayment(Model):
    """Take an amount that is held."""

    order_id: Id
    payment_intent: Id
    amount: Amount


class Capture(Model):
    """An amount taken."""

    payment_intent: Id
    charge: str | None = None
    amount: Amount


class RefundPayment(Model):
    """Give back all of a payment that is not given back yet."""

    order_id: Id
    payment_intent: Id


class Refunded(Model):
    """A payment of which nothing is left."""

    payment_intent: Id


authorize = Operation(
    "payments.authorize",
    AuthorizePayment,
    Authorization,
    dependency=PAYMENTS,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=KEY_RETENTION),
    key="authorize:{order_id}",
    timeout=timedelta(seconds=10),
    summary="Authorize {amount} {currency} for order {order_id}",
)
"""Hold the amount. Its undo cancels the hold."""

capture = Operation(
    "payments.capture",
    CapturePayment,
    Capture,
    dependency=PAYMENTS,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=KEY_RETENTION),
    key="capture:{order_id}",
    timeout=timedelta(seconds=10),
    summary="Capture {amount} for order {order_id}",
)
"""Take the amount that is held. Its undo refunds what has not been refunded yet."""

refund = Operation(
    "payments.refund",
    RefundPayment,
    Refunded,
    dependency=PAYMENTS,
    effect=Effect.IRREVERSIBLE,
    # What is left is looked at first, and nobody can refund more than that.
    once=Once.by_state(),
    key="refund:{payment_intent}",
    timeout=timedelta(seconds=10),
    summary="Refund what is left of payment {payment_intent} for order {order_id}",
)
"""Give back what is left of a payment. Cannot be taken back: reconciliations do it, and no saga."""

list_taken = Operation(
    "payments.list_taken",
    Scan,
    Page,
    dependency=PAYMENTS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of payments",
)
"""The payments for orders that took money, page by page, newest first."""

find_taken = Operation(
    "payments.find_taken",
    Keys,
    Page,
    dependency=PAYMENTS,
    effect=Effect.READ,
    timeout=timedelta(seconds=60),
    summary="Find the payments for {keys}",
)
"""All payments for some orders that took money."""


class Taken(StrEnum):
    """How a payment that took money stands."""

    TAKEN = "taken"
    """Some of it, or all, has not been given back."""
    REFUNDED = "refunded"
    """All of it has been given back."""


TAKEN_PAYMENTS: Final = Listing(name="payments taken", pages=list_taken, again=find_taken)
"""Facts: ``payment_intent``, ``left`` (not given back, in minor units), ``currency``, and the ``kit_key`` of ours."""
