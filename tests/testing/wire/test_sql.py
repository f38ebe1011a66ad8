"""Each fault on the wire of the shop's own database, where a transaction is one request."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from activities.orders.contract import CartStatus, Order, OrderStatus, create
from kit.contract import FailureKind, Outcome
from kit.testing.faults import FaultKind
from kit.testing.wire import WorkerLost
from kit.testing.wire.sql import SqlEngine, SqlTemplate
from tests.testing.wire.bench import CREATE, bench
from tests.worker.world import clock
from tests.worlds.checkout import CART, ORDER


async def test_a_transaction_is_one_request_of_its_call() -> None:
    """It is seen once, under the key of its step, and is done when it is committed."""
    shop = await bench()

    got = await shop.act(create, CREATE)

    (seen,) = shop.wire.seen
    assert isinstance(got, Order)
    assert (str(seen.point), seen.key, seen.outcome) == ("orders.create#1", "create-order:ORDER-1", Outcome.DONE)
    assert shop.world.order_status(ORDER) == OrderStatus.PENDING


async def test_a_database_has_the_faults_of_a_database() -> None:
    """It refuses nothing of its own, forgets nothing late, and its ledger row is written with the effect."""
    shop = await bench()

    await shop.act(create, CREATE)

    (seen,) = shop.wire.seen
    assert {FaultKind.OUTAGE, FaultKind.REPLY_LOST, FaultKind.CRASH_AFTER, FaultKind.CANCEL_DURING} <= set(seen.kinds)
    assert not {
        FaultKind.REFUSED,
        FaultKind.LATE_AFTER_UNDO,
        FaultKind.TWICE,
        FaultKind.UNRECORDED,
        FaultKind.STALLED,
    } & set(seen.kinds)


async def test_an_outage_keeps_the_transaction_from_beginning() -> None:
    """This attempt and the next find nobody: nothing was started. The third commits."""
    shop = await bench("orders.create#1:outage")

    first, second, third = [await shop.act(create, CREATE) for _ in range(3)]

    assert (first.kind, first.outcome) == (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)
    assert second.kind is FailureKind.UNAVAILABLE
    assert isinstance(third, Order)


async def test_a_hold_keeps_the_transaction_from_beginning() -> None:
    """A held call begins nothing."""
    shop = await bench("orders.create#1:held")

    first = await shop.act(create, CREATE)

    assert (first.kind, first.outcome) == (FailureKind.HELD, Outcome.NOT_STARTED)
    assert shop.world.cart_status(CART) == CartStatus.OPEN


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("reply_lost", FailureKind.UNAVAILABLE),
        ("too_slow", FailureKind.TIMEOUT),
        ("final_error", FailureKind.BUG),
    ],
)
async def test_a_commit_without_its_reply_is_an_unknown_outcome(kind: str, failure: FailureKind) -> None:
    """It is committed, the driver says that the connection is gone, and the next attempt reads the row."""
    shop = await bench(f"orders.create#1:{kind}")

    first = await shop.act(create, CREATE)
    standing = shop.world.order_status(ORDER)
    second = await shop.act(create, CREATE)

    assert (first.kind, first.outcome) == (failure, Outcome.UNKNOWN)
    assert standing == OrderStatus.PENDING
    assert isinstance(second, Order)
    assert await shop.live() == ["orders.create"]


@pytest.mark.parametrize(("kind", "order"), [("crash_before", None), ("crash_after", OrderStatus.PENDING)])
async def test_a_worker_dies_around_the_commit(kind: str, order: OrderStatus | None) -> None:
    """Before it everything is rolled back, the ledger's row too; after it everything is there."""
    shop = await bench(f"orders.create#1:{kind}")

    with pytest.raises(WorkerLost):
        await shop.act(create, CREATE)

    assert shop.world.order_status(ORDER) == order
    assert len(await shop.world.rows("w-1")) == (0 if order is None else 1)
    assert isinstance(await shop.drive(lambda: shop.act(create, CREATE)), Order)
    assert await shop.live() == ["orders.create"]


async def test_a_transaction_that_is_rolled_back_did_nothing() -> None:
    """An order that its cart does not allow: the request was let in, and nothing came of it."""
    shop = await bench("orders.create#1:reply_lost")
    other = CREATE.model_copy(update={"cart_id": "no-such-cart"})

    failed = await shop.act(create, other)

    (seen,) = shop.wire.seen
    assert (failed.kind, failed.outcome) == (FailureKind.NOT_FOUND, Outcome.REFUSED)
    assert seen.outcome is Outcome.NOT_STARTED
    assert shop.wire.unreached() == shop.wire.scenario.faults


async def test_the_server_is_told_after_the_commit_and_before_its_reply() -> None:
    """A cancellation while the transaction is at its database finds the order there."""
    shop = await bench("orders.create#1:cancel_during")

    await shop.act(create, CREATE)

    assert (shop.hand.asked, shop.hand.live) == (["cancel"], 1)


async def test_the_database_writes_down_what_happened_to_an_order() -> None:
    """Made, and undone: the order is told as taken back, in its place among all effects."""
    shop = await bench()
    made = await shop.act(create, CREATE)

    await shop.undo(create, CREATE, result=made)

    (effect,) = await shop.world.truth()
    assert (effect.operation, effect.key, effect.live) == ("orders.create", "create-order:ORDER-1", False)
    assert shop.world.cart_status(CART) == CartStatus.OPEN


async def test_it_needs_no_thread_and_no_time() -> None:
    """Everything happens inline, on the loop of whoever asks."""
    threads, began = threading.active_count(), clock()
    shop = await bench()

    await shop.act(create, CREATE)

    assert (threading.active_count(), clock()) == (threads, began)


async def test_databases_of_two_scenarios_share_nothing() -> None:
    """Both are copies of one template, and what happens in one is not seen in the other."""
    one, other = await bench(), await bench()

    await one.act(create, CREATE)

    assert one.world.engine.dump() != other.world.engine.dump()
    assert other.world.order_status(ORDER) is None
    assert (await bench()).world.engine.dump() == other.world.engine.dump()


async def test_a_reader_does_not_see_what_is_not_committed() -> None:
    """Each connection has a transaction of its own."""
    shop = await bench()

    async with shop.world.engine.connect() as writer:
        await writer.execute(text("UPDATE carts SET status = 'checked_out'"))
        seen_inside = await writer.scalar(text("SELECT status FROM carts"))
    seen_after = shop.world.cart_status(CART)

    assert (seen_inside, seen_after) == ("checked_out", "open")


async def test_a_template_fills_only_engines_of_a_wire() -> None:
    """Another engine is refused, with its name."""

    async def build(engine: object) -> None:
        raise AssertionError("never built")

    engine = create_async_engine("sqlite+aiosqlite://")

    with pytest.raises(TypeError, match=r"is not an engine of Wire\.sql"):
        await SqlTemplate(build).copy_to(engine)
    await engine.dispose()


def test_a_database_goes_with_what_it_knows() -> None:
    """A world whose own methods are functions of its database goes with its scenario."""

    class Shop:
        def __init__(self) -> None:
            self.engine = SqlEngine(functions={"told": self.told})

        def told(self) -> str:
            return "told"

    shop = Shop()
    rows = shop.engine.rows("SELECT told()")
    alive = weakref.ref(shop)

    del shop
    gc.collect()

    assert rows == [("told",)]
    assert alive() is None


async def test_connection_of_a_scenario_that_was_stopped_is_not_the_next_ones() -> None:
    """It is closed when the garbage collector finds it, which may be after the database has come back."""
    engine = SqlEngine()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE carts (id TEXT)"))
    back = engine._database.keep()
    left_open = await engine.connect()
    await left_open.execute(text("INSERT INTO carts VALUES ('stopped')"))

    back()
    await left_open.close()

    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO carts VALUES ('next')"))
    assert engine.rows("SELECT id FROM carts") == [("next",)]


async def test_a_database_tells_what_is_in_it_now() -> None:
    """What was told before is not told again once something has changed, through whichever connection."""
    here, there = SqlEngine(), SqlEngine()
    here.rows("CREATE TABLE stock (item TEXT)")
    empty = here.dump()

    async with here.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO stock VALUES ('lamp')")
    by_another = here.dump(), here.table("stock")
    here.rows("INSERT INTO stock VALUES ('chair')")
    here.rows("COMMIT")
    by_itself = here.dump()
    here.fill(there)

    assert by_another[1] == [{"item": "lamp"}]
    assert len({empty, by_another[0], by_itself, here.dump()}) == 4
    assert here.dump() == there.dump()
