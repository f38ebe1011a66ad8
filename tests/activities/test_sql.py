"""Orders and carts in the service's own database, with its ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from activities.carts import contract as carts_contract
from activities.carts.contract import Cart, CompleteCart
from activities.carts.sql import SqlCarts
from activities.orders import contract as orders_contract
from activities.orders.contract import CartStatus, CreateOrder, Order, OrderStatus
from activities.orders.sql import SqlOrders
from activities.orders.tables import cart_status, carts, create_tables, open_cart, order_status, orders
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.errors import Refused, TransitionError
from kit.ledger import TransactionalLedger
from kit.testing import ConformanceError, Fault, Promise, check_connector
from kit.worker.failures import classify

TOKEN = Token(key="k", correlation_id="corr-1", workflow_id="checkout-1")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A database file with the tables and one open cart."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    await create_tables(engine)
    await open_cart(engine, "CART-1")
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(engine: AsyncEngine) -> TransactionalLedger:
    """The ledger beside the tables."""
    ledger = TransactionalLedger(engine)
    await ledger.create_schema()
    return ledger


def _order(order_id: str, *, cart_id: str = "CART-1") -> CreateOrder:
    return CreateOrder(
        order_id=order_id,
        cart_id=cart_id,
        sku="BOOK",
        quantity=2,
        amount=4999,
        currency="usd",
        payment_intent="pi_1",
        reservation_id="res_1",
    )


async def _create(database: TransactionalLedger, order_id: str, *, cart_id: str = "CART-1") -> Order:
    async with database.begin() as tx:
        return await SqlOrders(database).create(_order(order_id, cart_id=cart_id), TOKEN, tx)


async def _cancel(database: TransactionalLedger, order_id: str) -> None:
    result = Order(order_id=order_id, status=OrderStatus.PENDING)
    async with database.begin() as tx:
        await SqlOrders(database).cancel(Undo(_order(order_id), result), TOKEN, tx)


COMPLETE = CompleteCart(cart_id="CART-1", order_id="ORDER-1")


async def _complete(database: TransactionalLedger, request: CompleteCart = COMPLETE) -> Cart:
    async with database.begin() as tx:
        return await SqlCarts(database).complete(request, TOKEN, tx)


async def _take_back(database: TransactionalLedger) -> None:
    result = Cart(cart_id="CART-1", status=CartStatus.COMPLETED)
    async with database.begin() as tx:
        await SqlCarts(database).take_back(Undo(COMPLETE, result), TOKEN, tx)


async def _states(engine: AsyncEngine) -> tuple[OrderStatus | None, CartStatus | None]:
    return await order_status(engine, "ORDER-1"), await cart_status(engine, "CART-1")


# -- conformance ---------------------------------------------------------------------------------------------------


async def test_create_keeps_its_promises(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """Creating an order conforms: order, cart and ledger row commit together."""

    async def standing() -> int:
        async with engine.connect() as tx:
            query = select(func.count()).select_from(orders).where(orders.c.status != OrderStatus.CANCELLED)
            return await tx.scalar(query) or 0

    async def nothing() -> None:
        return None

    await open_cart(engine, "CART-2")
    report = await check_connector(
        SqlOrders(database),
        orders_contract.create,
        _order("ORDER-1"),
        oracle=standing,
        faults=[
            Fault(nothing, _order("ORDER-2", cart_id="CART-9"), FailureKind.NOT_FOUND, Outcome.REFUSED),
            # The key is known, and stands for another request.
            Fault(nothing, _order("ORDER-1", cart_id="CART-2"), FailureKind.KEY_REUSED, Outcome.REFUSED),
        ],
    )

    assert report.faults == 2
    assert {Promise.TRANSACTION, Promise.RECORDED, Promise.UNDO_FORGOTTEN} <= set(report.kept)
    assert await _states(engine) == (OrderStatus.CANCELLED, CartStatus.OPEN)
    assert await cart_status(engine, "CART-2") is CartStatus.OPEN


async def test_complete_keeps_its_promises(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """Completing a cart conforms: cart, order and ledger row commit together."""

    async def standing() -> int:
        return int(await _states(engine) == (OrderStatus.PLACED, CartStatus.COMPLETED))

    await _create(database, "ORDER-1")
    report = await check_connector(SqlCarts(database), carts_contract.complete, COMPLETE, oracle=standing)

    assert {Promise.TRANSACTION, Promise.RECORDED, Promise.UNDO_FORGOTTEN} <= set(report.kept)
    assert await _states(engine) == (OrderStatus.PENDING, CartStatus.CHECKED_OUT)


async def test_a_connector_that_ignores_its_transaction_is_caught(
    engine: AsyncEngine, database: TransactionalLedger
) -> None:
    """A write that survives the roll-back of the transaction it was given breaks a promise."""
    written: list[str] = []

    class Careless(SqlOrders):
        @orders_contract.create.action
        async def create(self, request: CreateOrder, token: Token, tx: AsyncConnection) -> Order:
            written.append(request.order_id)
            return Order(order_id=request.order_id, status=OrderStatus.PENDING)

    async def standing() -> int:
        return len(written)

    with pytest.raises(ConformanceError) as raised:
        await check_connector(Careless(database), orders_contract.create, _order("ORDER-1"), oracle=standing)

    assert raised.value.promise is Promise.TRANSACTION


# -- state changes -------------------------------------------------------------------------------------------------


async def test_a_cart_goes_the_whole_way_and_back(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """Each action moves cart and order together, and its undo moves them back."""
    seen = [await _states(engine)]
    await _create(database, "ORDER-1")
    seen.append(await _states(engine))
    await _complete(database)
    seen.append(await _states(engine))
    await _take_back(database)
    seen.append(await _states(engine))
    await _cancel(database, "ORDER-1")
    seen.append(await _states(engine))

    assert seen == [
        (None, CartStatus.OPEN),
        (OrderStatus.PENDING, CartStatus.CHECKED_OUT),
        (OrderStatus.PLACED, CartStatus.COMPLETED),
        (OrderStatus.PENDING, CartStatus.CHECKED_OUT),
        (OrderStatus.CANCELLED, CartStatus.OPEN),
    ]


async def test_a_cart_is_ordered_once(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """A second order from a cart that is checked out is an impossible change, and leaves no order."""
    await _create(database, "ORDER-1")

    with pytest.raises(TransitionError) as raised:
        await _create(database, "ORDER-2")

    assert str(raised.value) == (
        "cart cannot go from 'checked_out' to 'checked_out'; from 'checked_out' it may go to completed, open"
    )
    assert await order_status(engine, "ORDER-2") is None


async def test_an_order_id_is_used_once(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """An order that exists, whoever created it, is a conflict and rolls the cart back."""
    await open_cart(engine, "CART-2")
    await _create(database, "ORDER-1")

    with pytest.raises(IntegrityError) as raised:
        await _create(database, "ORDER-1", cart_id="CART-2")

    failure = classify(SqlOrders(database), orders_contract.create, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.CONFLICT, Outcome.REFUSED)
    assert await cart_status(engine, "CART-2") is CartStatus.OPEN


async def test_a_completed_cart_is_not_ordered_again(database: TransactionalLedger) -> None:
    """That an undo may take a cart back opens no way for a new order."""
    await _create(database, "ORDER-1")
    await _complete(database)

    with pytest.raises(TransitionError) as raised:
        await _create(database, "ORDER-2")

    assert str(raised.value) == (
        "cart cannot go from 'completed' to 'checked_out'; from 'completed' it may go to nothing: it is final"
    )


async def test_two_orders_race_for_one_cart_and_one_wins(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """Of two orders at the same time, compare-and-set lets one through."""
    results = await asyncio.gather(_create(database, "ORDER-1"), _create(database, "ORDER-2"), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["Order", "TransitionError"]


async def test_a_placed_order_is_not_cancelled(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """The undo of an order that is placed is refused, and the cart stays as it is."""
    await _create(database, "ORDER-1")
    await _complete(database)

    with pytest.raises(TransitionError, match="order cannot go from 'placed' to 'cancelled'"):
        await _cancel(database, "ORDER-1")

    assert await _states(engine) == (OrderStatus.PLACED, CartStatus.COMPLETED)


async def test_a_cart_that_was_ordered_again_is_left_alone(engine: AsyncEngine, database: TransactionalLedger) -> None:
    """The undo opens the cart only while it belongs to the order that is undone."""
    await _create(database, "ORDER-1")
    async with engine.begin() as tx:
        await tx.execute(update(carts).values(order_id="ORDER-2"))

    await _cancel(database, "ORDER-1")

    assert await _states(engine) == (OrderStatus.CANCELLED, CartStatus.CHECKED_OUT)


async def test_an_order_nobody_knows_cannot_be_cancelled(database: TransactionalLedger) -> None:
    """An undo that finds no order says so instead of reporting success."""
    with pytest.raises(Refused, match="orders has no 'ORDER-9'") as raised:
        await _cancel(database, "ORDER-9")

    assert (raised.value.kind, raised.value.reason) == (FailureKind.NOT_FOUND, "no_order")


async def test_a_cart_is_completed_for_its_own_order_only(database: TransactionalLedger) -> None:
    """Completing a cart for another order than the one it was turned into is refused."""
    await _create(database, "ORDER-1")

    with pytest.raises(Refused, match="cart 'CART-1' belongs to order 'ORDER-1', not to 'ORDER-2'") as raised:
        await _complete(database, CompleteCart(cart_id="CART-1", order_id="ORDER-2"))

    assert raised.value.kind is FailureKind.CONFLICT


async def test_an_open_cart_is_not_completed(database: TransactionalLedger) -> None:
    """A cart without an order cannot be completed."""
    with pytest.raises(TransitionError, match="cart cannot go from 'open' to 'completed'"):
        await _complete(database)
