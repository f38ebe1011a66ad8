"""The requests, results and operations of the benchmark's checkout: the same payloads on both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kit import Dependency, Effect, Model, Once, Operation


class Cart(Model):
    """What is bought."""

    order_id: str
    sku: str
    quantity: int
    amount: int
    currency: str


class Reserve(Model):
    order_id: str
    sku: str
    quantity: int


class Reserved(Model):
    reservation_id: str


class Authorize(Model):
    order_id: str
    amount: int
    currency: str


class Authorized(Model):
    payment_id: str


class Create(Model):
    order_id: str
    reservation_id: str
    payment_id: str
    amount: int


class Created(Model):
    order_id: str
    status: str


class Capture(Model):
    order_id: str
    payment_id: str
    amount: int


class Captured(Model):
    payment_id: str
    status: str


class Complete(Model):
    order_id: str


class Completed(Model):
    order_id: str
    status: str


class Placed(Model):
    order_id: str
    payment_id: str
    status: str


TIMEOUT: Final = timedelta(seconds=10)
"""Start-to-close of every activity, on both sides."""

STOCK: Final = Dependency(name="stock", owner="stock-team", settle=timedelta(seconds=1))
PAYMENTS: Final = Dependency(name="payments", owner="payments-team", settle=timedelta(seconds=1))
ORDERS: Final = Dependency(name="orders", owner="orders-team", settle=timedelta(0))

reserve = Operation(
    "inventory.reserve",
    Reserve,
    Reserved,
    dependency=STOCK,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=timedelta(hours=24)),
    key="reserve:{order_id}",
    timeout=TIMEOUT,
    summary="Reserve {quantity} of {sku}",
)
authorize = Operation(
    "payments.authorize",
    Authorize,
    Authorized,
    dependency=PAYMENTS,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=timedelta(hours=24)),
    key="authorize:{order_id}",
    timeout=TIMEOUT,
    summary="Authorize {amount} {currency}",
)
create = Operation(
    "orders.create",
    Create,
    Created,
    dependency=ORDERS,
    effect=Effect.REVERSIBLE,
    once=Once.by_state(),
    key="create:{order_id}",
    timeout=TIMEOUT,
    summary="Create order {order_id}",
)
capture = Operation(
    "payments.capture",
    Capture,
    Captured,
    dependency=PAYMENTS,
    effect=Effect.IRREVERSIBLE,
    once=Once.by_key(ttl=timedelta(hours=24)),
    key="capture:{order_id}",
    timeout=TIMEOUT,
    summary="Capture {amount}",
)
complete = Operation(
    "carts.complete",
    Complete,
    Completed,
    dependency=ORDERS,
    effect=Effect.REVERSIBLE,
    once=Once.by_state(),
    key="complete:{order_id}",
    timeout=TIMEOUT,
    summary="Complete the cart of {order_id}",
)
