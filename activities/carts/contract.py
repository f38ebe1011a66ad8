"""What may be asked of the service's own database about carts."""

from __future__ import annotations

from datetime import timedelta

from activities.orders.contract import ORDERS, CartStatus
from activities.payments.contract import Id
from kit.contract import Effect, Model, Once, Operation


class CompleteCart(Model):
    """Close a cart whose order is paid."""

    cart_id: Id
    order_id: Id


class Cart(Model):
    """A cart, as it was left."""

    cart_id: Id
    status: CartStatus


complete = Operation(
    "carts.complete",
    CompleteCart,
    Cart,
    dependency=ORDERS,
    effect=Effect.REVERSIBLE,
    once=Once.by_transaction(),
    key="complete-cart:{cart_id}:{order_id}",
    timeout=timedelta(seconds=10),
    summary="Complete cart {cart_id} of order {order_id}",
)
"""Complete the cart and place its order. Its undo takes both one state back."""
