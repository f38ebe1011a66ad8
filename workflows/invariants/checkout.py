"""Orders, payments and receipts: what must be true between them."""

from __future__ import annotations

from typing import Final

from activities.email import contract as email
from activities.orders import contract as orders
from activities.orders.contract import OrderStatus
from activities.payments import contract as payments
from activities.payments.contract import RefundPayment, Taken
from kit.contract import Invariant, Pair, Record, Repair, Severity

RUNBOOK: Final = "docs/how-to/reconcile.md"

PAID_FOR: Final = frozenset({OrderStatus.PLACED, OrderStatus.SHIPPED})
"""Orders that stand, and so must have been paid."""


def _taken(pair: Pair) -> list[Record]:
    return [record for record in pair.right if record.state == Taken.TAKEN]


def _paid_without_order(pair: Pair) -> str | None:
    taken = _taken(pair)
    if not taken or any(order.state in PAID_FOR for order in pair.left):
        return None
    order = f"is {pair.left[0].state}" if pair.left else "does not exist"
    paid = " and ".join(f"{record.facts['left']} {record.facts['currency']}" for record in taken)
    return f"order {pair.key!r} {order}, and {paid} was taken for it"


def _refund(pair: Pair) -> RefundPayment | None:
    """Give one payment of ours back whose order is gone. One that is still pending may be wanted: a person decides."""
    taken = _taken(pair)
    gone = all(order.state == OrderStatus.CANCELLED for order in pair.left)
    if len(taken) != 1 or not gone or "kit_key" not in taken[0].facts:
        return None
    return RefundPayment(order_id=pair.key, payment_intent=taken[0].facts["payment_intent"])


def _order_without_payment(pair: Pair) -> str | None:
    standing = [order for order in pair.left if order.state in PAID_FOR]
    if not standing:
        return None
    (order,) = standing
    paid = sum(int(record.facts["left"]) for record in _taken(pair))
    if paid == int(order.facts["amount"]):
        return None
    return f"order {pair.key!r} is {order.state} over {order.facts['amount']}, and has paid {paid}"


def _receipt_without_order(pair: Pair) -> str | None:
    sent = any(receipt.state == "done" for receipt in pair.right)
    if not sent or any(order.state in PAID_FOR for order in pair.left):
        return None
    order = f"is {pair.left[0].state}" if pair.left else "does not exist"
    return f"order {pair.key!r} {order}, and its receipt was sent"


CAPTURED_HAS_ORDER: Final = Invariant(
    name="a captured payment has an order",
    severity=Severity.CRITICAL,
    owner="checkout-team",
    left=orders.ALL_ORDERS,
    right=payments.TAKEN_PAYMENTS,
    check=_paid_without_order,
    effects=("authorize:{key}",),
    repair=Repair(operation=payments.refund, request=_refund),
    runbook=RUNBOOK,
)

ORDER_IS_PAID: Final = Invariant(
    name="an order that stands is paid in full, once",
    severity=Severity.CRITICAL,
    owner="checkout-team",
    left=orders.ALL_ORDERS,
    right=payments.TAKEN_PAYMENTS,
    check=_order_without_payment,
    effects=("authorize:{key}",),
    runbook=RUNBOOK,
)

RECEIPT_HAS_ORDER: Final = Invariant(
    name="a receipt belongs to an order that stands",
    severity=Severity.WARNING,
    owner="customer-care-team",
    left=orders.ALL_ORDERS,
    right=email.RECEIPTS,
    check=_receipt_without_order,
    effects=("receipt:{key}", "authorize:{key}"),
    runbook=RUNBOOK,
)
"""A message cannot be unsent: somebody must write to the customer."""
