"""What may be asked of the service's own database about orders, and how orders and carts may change."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final

from activities.inventory.contract import Quantity
from activities.payments.contract import Amount, Currency, Id
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

ORDERS = Dependency(
    name="orders",
    owner="checkout-team",
    # One database, read where it is written: what is committed is visible.
    settle=timedelta(0),
    failures=SQL_FAILURES,
    # A row whose state does not allow the change will not allow it for being asked again.
    retry={FailureKind.CONFLICT: Retry(attempts=1)},
    runbook="docs/explanation/failure-model.md#orders",
)
"""The service's own database. Orders and carts live in it together."""


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    """Created; its payment is authorized and not yet taken."""
    PLACED = "placed"
    """Paid."""
    SHIPPED = "shipped"
    """Left the warehouse."""
    CANCELLED = "cancelled"
    """Undone before it was paid."""


ORDER = Transitions(
    "order",
    {
        OrderStatus.PENDING: (OrderStatus.PLACED, OrderStatus.CANCELLED),
        OrderStatus.PLACED: (OrderStatus.SHIPPED,),
        OrderStatus.SHIPPED: (),
        OrderStatus.CANCELLED: (),
    },
)
"""How an order may change."""

ORDER_TAKEN_BACK = Transitions(
    "order that is taken back",
    {
        OrderStatus.PENDING: (),
        OrderStatus.PLACED: (OrderStatus.PENDING,),
        OrderStatus.SHIPPED: (),
        OrderStatus.CANCELLED: (),
    },
)
"""How the undo of ``carts.complete`` may change an order. A machine of its own: nothing else may go back."""


class CartStatus(StrEnum):
    """Where a cart stands."""

    OPEN = "open"
    CHECKED_OUT = "checked_out"
    COMPLETED = "completed"


CART = Transitions(
    "cart",
    {
        CartStatus.OPEN: (CartStatus.CHECKED_OUT,),
        CartStatus.CHECKED_OUT: (CartStatus.COMPLETED, CartStatus.OPEN),
        CartStatus.COMPLETED: (),
    },
)
"""How a cart may change. Back to open by the undo of ``orders.create``."""

CART_TAKEN_BACK = Transitions(
    "cart that is taken back",
    {
        CartStatus.OPEN: (),
        CartStatus.CHECKED_OUT: (),
        CartStatus.COMPLETED: (CartStatus.CHECKED_OUT,),
    },
)
"""How the undo of ``carts.complete`` may change a cart. In `CART` it would let a cart be ordered twice."""


class CreateOrder(Model):
    """Turn a cart into an order."""

    order_id: Id
    cart_id: Id
    sku: Id
    quantity: Quantity
    amount: Amount
    currency: Currency
    payment_intent: Id
    reservation_id: Id


class Order(Model):
    """An order, as it was left."""

    order_id: Id
    status: OrderStatus


create = Operation(
    "orders.create",
    CreateOrder,
    Order,
    dependency=ORDERS,
    effect=Effect.REVERSIBLE,
    once=Once.by_transaction(),
    key="create-order:{order_id}",
    timeout=timedelta(seconds=10),
    summary="Create order {order_id} from cart {cart_id}",
)
"""Create the order and check its cart out. Its undo cancels the order and opens the cart again."""

list_orders = Operation(
    "orders.list_orders",
    Scan,
    Page,
    dependency=ORDERS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of orders",
)
"""All orders, page by page, by their ids."""

find_orders = Operation(
    "orders.find_orders",
    Keys,
    Page,
    dependency=ORDERS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Find the orders {keys}",
)
"""Some orders."""

ALL_ORDERS: Final = Listing(name="orders", pages=list_orders, again=find_orders)
"""State: an `OrderStatus`. Facts: ``amount`` and ``currency``."""
