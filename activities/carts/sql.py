"""Carts in the service's own database, beside the orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.carts import contract
from activities.carts.contract import Cart, CompleteCart
from activities.orders.contract import (
    CART,
    CART_TAKEN_BACK,
    ORDER,
    ORDER_TAKEN_BACK,
    CartStatus,
    OrderStatus,
)
from activities.orders.tables import carts, move, orders
from kit.contract import FailureKind, Token, Undo
from kit.errors import Refused
from kit.worker.connector import Connector

if TYPE_CHECKING:
    from kit.ledger import TransactionalLedger


class SqlCarts(Connector):
    """Completes carts; in one transaction with the order's state and the ledger row.

    Args:
        database: The database with the tables of `activities.orders.tables` and the ledger's own.
    """

    def __init__(self, database: TransactionalLedger) -> None:
        self.database = database

    @contract.complete.action
    async def complete(self, request: CompleteCart, token: Token, tx: AsyncConnection) -> Cart:
        """Complete the cart and place its order."""
        await self._check_owner(tx, request)
        await move(tx, carts, request.cart_id, CART, CartStatus.COMPLETED)
        await move(tx, orders, request.order_id, ORDER, OrderStatus.PLACED)
        return Cart(cart_id=request.cart_id, status=CartStatus.COMPLETED)

    @contract.complete.compensation
    async def take_back(self, undo: Undo[CompleteCart, Cart], token: Token, tx: AsyncConnection) -> None:
        """Take cart and order one state back."""
        request = undo.request
        status = await tx.scalar(select(carts.c.status).where(carts.c.id == request.cart_id).with_for_update())
        if status != CartStatus.COMPLETED:
            return
        await self._check_owner(tx, request)
        await move(tx, carts, request.cart_id, CART_TAKEN_BACK, CartStatus.CHECKED_OUT)
        await move(tx, orders, request.order_id, ORDER_TAKEN_BACK, OrderStatus.PENDING)

    async def _check_owner(self, tx: AsyncConnection, request: CompleteCart) -> None:
        owner = await tx.scalar(select(carts.c.order_id).where(carts.c.id == request.cart_id))
        if owner is not None and owner != request.order_id:
            raise Refused(
                FailureKind.CONFLICT,
                f"cart {request.cart_id!r} belongs to order {owner!r}, not to {request.order_id!r}",
                reason="cart_of_another_order",
            )
