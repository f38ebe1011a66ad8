"""The tables of orders and carts, and the one way their state changes."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Column, Integer, MetaData, String, Table, Update, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from activities.orders.contract import CartStatus, OrderStatus
from kit.contract import FailureKind, Transitions
from kit.errors import Refused

StateT = TypeVar("StateT", bound=StrEnum)

metadata = MetaData()

carts = Table(
    "carts",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("status", String(20), nullable=False),
    Column("order_id", String(120), doc="The order it was turned into; empty while it is open."),
)

orders = Table(
    "orders",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("cart_id", String(120), nullable=False),
    Column("sku", String(120), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount", Integer, nullable=False, doc="In minor units."),
    Column("currency", String(3), nullable=False),
    Column("payment_intent", String(120), nullable=False),
    Column("reservation_id", String(120), nullable=False),
    Column("status", String(20), nullable=False),
)


async def create_tables(engine: AsyncEngine) -> None:
    """Create what is missing."""
    async with engine.begin() as tx:
        await tx.run_sync(metadata.create_all)


async def open_cart(engine: AsyncEngine, cart_id: str) -> None:
    """Put an open cart into the database, as the shop would.

    Raises:
        sqlalchemy.exc.IntegrityError: There is a cart of this id.
    """
    async with engine.begin() as tx:
        await tx.execute(insert(carts).values(id=cart_id, status=CartStatus.OPEN))


async def order_status(engine: AsyncEngine, order_id: str) -> OrderStatus | None:
    """Where an order stands; ``None`` when there is none."""
    async with engine.connect() as connection:
        status = await _status(connection, orders, order_id)
    return None if status is None else OrderStatus(status)


async def cart_status(engine: AsyncEngine, cart_id: str) -> CartStatus | None:
    """Where a cart stands; ``None`` when there is none."""
    async with engine.connect() as connection:
        status = await _status(connection, carts, cart_id)
    return None if status is None else CartStatus(status)


async def move(
    tx: AsyncConnection,
    table: Table,
    row_id: str,
    machine: Transitions[StateT],
    wanted: StateT,
    **values: Any,
) -> None:
    """Change a row's state by one compare-and-set: two who race for the same change cannot both win.

    Args:
        tx: The transaction.
        table: With the columns ``id`` and ``status``.
        row_id: Which row.
        machine: What is allowed.
        wanted: The state to be reached.
        **values: Further columns to write with it.

    Raises:
        TransitionError: The row is in a state from which ``wanted`` cannot be reached.
        Refused: There is no such row.
    """
    new = {"status": wanted, **values}
    change = _change(table, tuple(new))
    changed = await tx.execute(
        change, {"row": row_id, "sources": machine.sources(wanted), **{f"new_{name}": new[name] for name in new}}
    )
    if changed.rowcount:
        return
    status = await _status(tx, table, row_id)
    if status is None:
        raise Refused(FailureKind.NOT_FOUND, f"{table.name} has no {row_id!r}", reason=f"no_{machine.name}")
    machine.check(type(wanted)(status), wanted)


@functools.cache
def _change(table: Table, columns: tuple[str, ...]) -> Update:
    """The statement of `move`: building it costs more than running it."""
    return (
        update(table)
        .where(table.c.id == bindparam("row"), table.c.status.in_(bindparam("sources", expanding=True)))
        .values({name: bindparam(f"new_{name}") for name in columns})
    )


async def _status(connection: AsyncConnection, table: Table, row_id: str) -> str | None:
    status: str | None = await connection.scalar(select(table.c.status).where(table.c.id == row_id))
    return status
