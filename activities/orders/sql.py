"""Orders in the service's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.orders import contract
from activities.orders.contract import CART, ORDER, CartStatus, CreateOrder, Order, OrderStatus
from activities.orders.tables import carts, move, orders
from kit.contract import Keys, Page, Record, Scan, Token, Undo
from kit.worker.connector import Connector

if TYPE_CHECKING:
    from kit.ledger import TransactionalLedger


class SqlOrders(Connector):
    """Creates and cancels orders, each in one transaction with its ledger row, and lists them.

    Args:
        database: The database with the tables of `activities.orders.tables` and the ledger's own.
    """

    def __init__(self, database: TransactionalLedger) -> None:
        self.database: TransactionalLedger = database

    @contract.create.action
    async def create(self, request: CreateOrder, token: Token, tx: AsyncConnection) -> Order:
        """Check the cart out and create the order."""
        await move(tx, carts, request.cart_id, CART, CartStatus.CHECKED_OUT, order_id=request.order_id)
        row = request.model_dump(exclude={"order_id"})
        await tx.execute(insert(orders).values(id=request.order_id, status=OrderStatus.PENDING, **row))
        return Order(order_id=request.order_id, status=OrderStatus.PENDING)

    @contract.create.compensation
    async def cancel(self, undo: Undo[CreateOrder, Order], token: Token, tx: AsyncConnection) -> None:
        """Cancel the order and open its cart again."""
        order_id, cart_id = undo.request.order_id, undo.request.cart_id
        status = await tx.scalar(select(orders.c.status).where(orders.c.id == order_id).with_for_update())
        if status == OrderStatus.CANCELLED:
            return
        await move(tx, orders, order_id, ORDER, OrderStatus.CANCELLED)
        # Only while the cart is this order's: somebody may have opened it by hand and ordered it again since.
        await tx.execute(
            update(carts)
            .where(carts.c.id == cart_id, carts.c.order_id == order_id)
            .where(carts.c.status.in_(CART.sources(CartStatus.OPEN)))
            .values(status=CartStatus.OPEN, order_id=None)
        )

    @contract.list_orders.action
    async def list_orders(self, request: Scan, token: Token) -> Page:
        """One page of the orders, by their ids."""
        query = _ORDERS if request.after is None else _ORDERS.where(orders.c.id > request.after)
        async with self.database.engine.connect() as connection:
            rows = (await connection.execute(query.limit(request.limit))).all()
        return Page(records=tuple(map(_record, rows)), next=rows[-1].id if len(rows) == request.limit else None)

    @contract.find_orders.action
    async def find_orders(self, request: Keys, token: Token) -> Page:
        """Some orders."""
        async with self.database.engine.connect() as connection:
            rows = (await connection.execute(_ORDERS.where(orders.c.id.in_(request.keys)))).all()
        return Page(records=tuple(map(_record, rows)))


_ORDERS: Final = select(orders.c.id, orders.c.status, orders.c.amount, orders.c.currency).order_by(orders.c.id)


def _record(row: Any) -> Record:
    """An order; its table does not say since when it stands as it does."""
    return Record(key=row.id, state=row.status, facts={"amount": str(row.amount), "currency": row.currency})
