"""What may be asked of the payment provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from kit.contract import HTTP_FAILURES, Dependency, Effect, FailureKind, Model, Once, Operation, unknown

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
