"""BY_TRANSACTION on a real database: effect and record commit together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, func, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from kit.contract import (
    SQL_FAILURES,
    Dependency,
    Effect,
    FailureKind,
    Once,
    Operation,
    Outcome,
    Token,
    Undo,
    UndoRequest,
)
from kit.errors import LedgerUnavailable, Refused
from kit.ledger import Command, Complete, Entry, Lost, MemoryLedger, State, TransactionalLedger, Undone, Verdict
from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.guard import Guard
from kit.workflow import Choice, DecisionRecord
from tests.worker.world import EPOCH, Crash, Failure, Pay, Receipt, http_error

SHOP = Dependency(name="shop", owner="orders", settle=timedelta(0), failures=SQL_FAILURES, breaker=None)

orders = Table("orders", MetaData(), Column("id", String, primary_key=True), Column("status", String))


def _operation(effect: Effect) -> Operation[Any, Any]:
    return Operation(
        "shop.order",
        Pay,
        Receipt,
        dependency=SHOP,
        effect=effect,
        once=Once.by_transaction(),
        key="order:{order_id}",
        timeout=timedelta(seconds=10),
    )


create = _operation(Effect.REVERSIBLE)
final = _operation(Effect.IRREVERSIBLE)


class Troubles:
    """What goes wrong, and where."""

    before: BaseException | None = None
    after: BaseException | None = None
    gives: Any = None
    hang: float = 0.0


class Shop(Connector):
    """Writes orders."""

    def __init__(self, database: TransactionalLedger | None) -> None:
        self.database = database
        self.troubles = Troubles()
        self.calls = 0
        self.began = asyncio.Event()

    @create.action
    async def create(self, request: Pay, token: Token, tx: AsyncConnection) -> Receipt:
        """Insert the order."""
        self.calls += 1
        self.began.set()
        if self.troubles.before is not None:
            raise self.troubles.before
        await tx.execute(insert(orders).values(id=request.order_id, status="new"))
        await asyncio.sleep(self.troubles.hang)
        if self.troubles.after is not None:
            raise self.troubles.after
        gives: Receipt = self.troubles.gives or Receipt(charge=f"row {request.order_id}")
        return gives

    @create.compensation
    async def cancel(self, undo: Undo[Pay, Receipt], token: Token, tx: AsyncConnection) -> None:
        """Cancel the order."""
        self.calls += 1
        await tx.execute(update(orders).where(orders.c.id == undo.request.order_id).values(status="cancelled"))
        if self.troubles.after is not None:
            raise self.troubles.after


class Final(Connector):
    """Writes orders that nobody takes back."""

    def __init__(self, database: TransactionalLedger) -> None:
        self.database = database

    @final.action
    async def create(self, request: Pay, token: Token, tx: AsyncConnection) -> Receipt:
        """Insert the order."""
        await tx.execute(insert(orders).values(id=request.order_id, status="new"))
        return Receipt(charge=request.order_id)


class FlakyDatabase(TransactionalLedger):
    """A database that fails on command."""

    begin_fails: BaseException | None = None
    commit_fails: BaseException | None = None
    commit_reply_lost: BaseException | None = None
    commit_hangs: float = 0.0
    answers_lost_to: type[Command] | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """See `TransactionalLedger`."""
        if self.begin_fails is not None:
            raise self.begin_fails
        async with super().begin() as tx:
            yield tx
            await asyncio.sleep(self.commit_hangs)
            if self.commit_fails is not None:
                raise self.commit_fails
        if self.commit_reply_lost is not None:
            raise self.commit_reply_lost

    async def apply_in(self, tx: AsyncConnection, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See `TransactionalLedger`."""
        verdict = await super().apply_in(tx, command, expected=expected)
        return Lost(None) if type(command) is self.answers_lost_to else verdict

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self.begin_fails = self.commit_fails = self.commit_reply_lost = self.answers_lost_to = None
        self.commit_hangs = 0.0


class Database:
    """A shop with its database, and a guard whose own ledger must not be touched."""

    def __init__(self, ledger: FlakyDatabase) -> None:
        self.ledger = ledger
        self.shop = Shop(ledger)
        self.memory = MemoryLedger()
        self.guard = Guard(self.memory)
        self.number = 0

    def _attempt(self, timeout: timedelta) -> Attempt:
        self.number += 1
        return Attempt(number=self.number, started_at=EPOCH + self.number * timedelta(hours=1), timeout=timeout)

    async def act(self, *, amount: int = 100, timeout: timedelta = timedelta(seconds=10)) -> Any:
        """Make an attempt of the action."""
        pay = Pay(order_id="o-1", amount=amount)
        return await self.guard.act(self.shop, create, pay, _token(), self._attempt(timeout))

    async def undo(self, result: Receipt | None = None, *, amount: int = 100) -> bool:
        """Make an attempt of the undo."""
        outcome = Outcome.UNKNOWN if result is None else Outcome.DONE
        undo = UndoRequest[Pay, Receipt](request=Pay(order_id="o-1", amount=amount), result=result, outcome=outcome)
        return await self.guard.undo(self.shop, create, undo, _token(), self._attempt(timedelta(seconds=10)))

    async def settle(self) -> tuple[bool, Any]:
        """Make an attempt to find out what has become of the action."""
        ask = UndoRequest[Pay, Receipt](request=Pay(order_id="o-1"), outcome=Outcome.UNKNOWN, keeps=True)
        return await self.guard.settle(self.shop, create, ask, _token(), self._attempt(timedelta(seconds=10)))

    async def fails(self, attempt: Any) -> Failure:
        """How it failed."""
        with pytest.raises(Exception) as caught:  # noqa: PT011 - read below
            await attempt
        return Failure.of(caught.value)  # type: ignore[arg-type] # fails loudly when it is something else

    async def rows(self) -> tuple[int, str | None]:
        """How many orders there are, and the state of the ledger's row."""
        async with self.ledger.engine.connect() as tx:
            number = await tx.scalar(select(func.count()).where(orders.c.status == "new"))
        row = await self.ledger.get("order:o-1")
        return number or 0, None if row is None else row.state.value


def _token() -> Token:
    return Token(key="order:o-1", correlation_id="corr-1", workflow_id="saga-1", step=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables: making them takes longer than any test."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"

    async def make() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        await TransactionalLedger(engine).create_schema()
        async with engine.begin() as tx:
            await tx.run_sync(orders.metadata.create_all)
        await engine.dispose()

    asyncio.run(make())
    return path


@pytest.fixture
async def db(template: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """A database of the test's own."""
    path = tmp_path / "shop.db"
    path.write_bytes(template.read_bytes())
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    database = Database(FlakyDatabase(engine))
    yield database
    assert await database.memory.get("order:o-1") is None, "the worker's own ledger was used"
    await engine.dispose()


# --- the action -------------------------------------------------------------------------------------------------------


async def test_effect_and_record_commit_together(db: Database) -> None:
    """After a success both the order and the done row are there."""
    assert await db.act() == Receipt(charge="row o-1")
    assert await db.rows() == (1, State.DONE)


async def test_recorded_action_is_answered_from_the_row(db: Database) -> None:
    """A second attempt answers from the record and calls nobody."""
    first = await db.act()

    assert await db.act() == first
    assert db.shop.calls == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_crash_before_the_commit_leaves_nothing(db: Database, when: str) -> None:
    """A worker that dies before the commit has done nothing, and the next attempt starts afresh, at once."""
    setattr(db.shop.troubles, when, Crash())
    with pytest.raises(Crash):
        await db.act()
    assert await db.rows() == (0, None)

    db.shop.troubles = Troubles()

    assert await db.act() == Receipt(charge="row o-1")


async def test_lost_commit_reply_is_unknown_and_recovered(db: Database) -> None:
    """A commit that happened and was not confirmed is unknown; the next attempt reads the row."""
    db.ledger.commit_reply_lost = LedgerUnavailable("the connection broke")

    failure = await db.fails(db.act())
    db.ledger.heal()

    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.UNKNOWN)
    assert not failure.permanent
    assert await db.act() == Receipt(charge="row o-1")
    assert (db.shop.calls, await db.rows()) == (1, (1, State.DONE))


async def test_failed_commit_is_unknown_and_done_again(db: Database) -> None:
    """A commit that did not happen is unknown too, and the next attempt finds no row and does it."""
    db.ledger.commit_fails = OperationalError("COMMIT", {}, Exception("disk full"))

    failure = await db.fails(db.act())
    db.ledger.heal()

    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.UNKNOWN)
    assert await db.act() == Receipt(charge="row o-1")
    assert (db.shop.calls, await db.rows()) == (2, (1, State.DONE))


@pytest.mark.slow
async def test_commit_that_hangs_is_cut_off_in_doubt(db: Database) -> None:
    """A commit without an answer ends with the attempt, unknown."""
    db.ledger.commit_hangs = 60

    failure = await db.fails(db.act(timeout=timedelta(seconds=2)))

    assert (failure.kind, failure.outcome) == (FailureKind.TIMEOUT, Outcome.UNKNOWN)


@pytest.mark.slow
async def test_action_that_hangs_is_cut_off_clean(db: Database) -> None:
    """An action that does not end is rolled back: nothing was started."""
    db.shop.troubles.hang = 60

    failure = await db.fails(db.act(timeout=timedelta(seconds=2)))

    assert (failure.kind, failure.outcome) == (FailureKind.TIMEOUT, Outcome.NOT_STARTED)
    assert await db.rows() == (0, None)


async def test_database_that_cannot_be_reached_started_nothing(db: Database) -> None:
    """Without a transaction a first attempt has done nothing, and it is no bug."""
    db.ledger.begin_fails = LedgerUnavailable("no connection")

    first = await db.fails(db.act())
    second = await db.fails(db.act())

    assert (first.kind, first.outcome) == (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)
    assert second.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("error", "kind", "outcome"),
    [
        (Refused(FailureKind.CONFLICT, "cart is closed"), FailureKind.CONFLICT, Outcome.REFUSED),
        (OperationalError("x", {}, Exception("gone")), FailureKind.UNAVAILABLE, Outcome.NOT_STARTED),
        (KeyError("x"), FailureKind.BUG, Outcome.NOT_STARTED),
        (http_error(504), FailureKind.BUG, Outcome.NOT_STARTED),
    ],
    ids=["refused", "database", "bug", "http"],
)
async def test_failure_before_the_commit_is_clean(
    db: Database, error: Exception, kind: FailureKind, outcome: Outcome
) -> None:
    """Whatever an action raises is rolled back with everything it wrote: no doubt is left."""
    db.shop.troubles.after = error

    failure = await db.fails(db.act())

    assert (failure.kind, failure.outcome) == (kind, outcome)
    assert await db.rows() == (0, None)


async def test_clean_failure_after_a_lost_commit_knows_that_nothing_happened(db: Database) -> None:
    """The claim has read that no earlier attempt committed, so a refusal now is clean whatever went before."""
    db.ledger.commit_fails = OperationalError("COMMIT", {}, Exception("disk full"))
    await db.fails(db.act())
    db.ledger.heal()
    db.shop.troubles.before = Refused(FailureKind.CONFLICT, "cart is closed")

    assert (await db.fails(db.act())).outcome is Outcome.REFUSED


async def test_result_of_the_wrong_type_is_rolled_back(db: Database) -> None:
    """A result that cannot be recorded takes its effect with it."""
    db.shop.troubles.gives = {"charge": "x"}

    failure = await db.fails(db.act())

    assert (failure.reason, failure.outcome) == ("invalid_result", Outcome.NOT_STARTED)
    assert await db.rows() == (0, None)


async def test_effect_without_its_record_does_not_commit(db: Database) -> None:
    """A ledger that does not confirm the record takes the effect back."""
    db.ledger.answers_lost_to = Complete

    failure = await db.fails(db.act())

    assert (failure.kind, failure.reason) == (FailureKind.BUG, "unrecorded")
    assert await db.rows() == (0, None)


async def test_cancellation_rolls_back(db: Database) -> None:
    """A worker that shuts down in the middle of a transaction leaves nothing."""
    db.shop.troubles.hang = 60
    task = asyncio.ensure_future(db.act())
    await db.shop.began.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.rows() == (0, None)


async def test_key_of_another_request_is_refused(db: Database) -> None:
    """The same key with another request is refused as anywhere."""
    await db.act(amount=100)

    failure = await db.fails(db.act(amount=200))

    assert failure.kind is FailureKind.KEY_REUSED
    assert await db.rows() == (1, State.DONE)


async def test_connector_without_its_database_is_a_bug() -> None:
    """A connector that forgot its database says so, and does nothing."""
    shop = Shop(None)
    attempt = Attempt(number=1, started_at=EPOCH, timeout=timedelta(seconds=10))

    with pytest.raises(Exception, match="Shop has no database") as caught:
        await Guard(MemoryLedger()).act(shop, create, Pay(order_id="o-1"), _token(), attempt)

    failure = Failure.of(caught.value)  # type: ignore[arg-type] # fails loudly when it is something else
    assert (failure.kind, failure.outcome) == (FailureKind.BUG, Outcome.NOT_STARTED)


# --- the undo ---------------------------------------------------------------------------------------------------------


async def test_undo_and_its_record_commit_together(db: Database) -> None:
    """After an undo the order is cancelled and the row undone; a second one does nothing."""
    receipt = await db.act()

    assert await db.undo(receipt) is True
    assert await db.undo(receipt) is True
    assert (db.shop.calls, await db.rows()) == (2, (0, State.UNDONE))


async def test_undo_before_the_action_closes_the_key(db: Database) -> None:
    """An undo that comes first leaves a tombstone in the same database, and the action is refused."""
    assert await db.undo() is False

    assert (await db.fails(db.act())).reason == "after_undo"
    assert await db.rows() == (0, State.VOID)


async def test_undo_of_what_may_have_committed_reads_the_row(db: Database) -> None:
    """After a lost commit reply the undo needs no look-up: the row says that it happened."""
    db.ledger.commit_reply_lost = LedgerUnavailable("the connection broke")
    await db.fails(db.act())
    db.ledger.heal()

    assert await db.undo() is True
    assert await db.rows() == (0, State.UNDONE)


async def test_undo_of_a_lost_row_takes_the_effect_back(db: Database) -> None:
    """The workflow holds the result and the row is gone: the effect is undone."""
    receipt = await db.act()
    async with db.ledger.begin() as tx:
        await tx.exec_driver_sql("DELETE FROM kit_effects")

    assert await db.undo(receipt) is True
    assert await db.rows() == (0, State.UNDONE)


@pytest.mark.parametrize("error", [OperationalError("x", {}, Exception("gone")), LedgerUnavailable("gone")])
async def test_failed_undo_is_rolled_back_and_tried_again(db: Database, error: Exception) -> None:
    """An undo that fails before its commit has undone nothing and comes back."""
    receipt = await db.act()
    db.shop.troubles.after = error

    failure = await db.fails(db.undo(receipt))
    db.shop.troubles = Troubles()

    assert (failure.outcome, failure.permanent) == (Outcome.UNKNOWN, False)
    assert await db.rows() == (1, State.DONE)
    assert await db.undo(receipt) is True


async def test_undo_without_its_record_does_not_commit(db: Database) -> None:
    """A ledger that does not confirm the undo takes it back."""
    receipt = await db.act()
    db.ledger.answers_lost_to = Undone

    assert (await db.fails(db.undo(receipt))).reason == "unrecorded"
    assert await db.rows() == (1, State.DONE)


async def test_undo_of_another_request_goes_to_a_person(db: Database) -> None:
    """An undo whose request is not the recorded one undoes nothing."""
    await db.act()

    failure = await db.fails(db.undo(amount=200))

    assert (failure.kind, failure.needs_person) == (FailureKind.KEY_REUSED, True)
    assert await db.rows() == (1, State.DONE)


async def test_effect_without_an_undo_goes_to_a_person(db: Database) -> None:
    """What has no compensation is put to a person, and the row stays done."""
    shop = Final(db.ledger)
    pay, token = Pay(order_id="o-1"), _token()
    attempt = Attempt(number=1, started_at=EPOCH, timeout=timedelta(seconds=10))
    receipt = await db.guard.act(shop, final, pay, token, attempt)
    undo = UndoRequest[Pay, Receipt](request=pay, result=receipt, outcome=Outcome.DONE)

    failure = await db.fails(db.guard.undo(shop, final, undo, token, attempt))

    assert (failure.needs_person, failure.reason) == (True, "no_undo")
    assert await db.rows() == (1, State.DONE)


async def test_what_has_committed_is_found_and_stays(db: Database) -> None:
    """Asked what has become of an action, the row tells its result, and nothing is undone."""
    receipt = await db.act()

    assert await db.settle() == (True, receipt)
    assert await db.rows() == (1, State.DONE)


async def test_what_has_not_committed_never_will(db: Database) -> None:
    """Of what has not happened a tombstone is left: a late attempt is refused, and a second look says the same."""
    assert [await db.settle(), await db.settle()] == [(False, None), (False, None)]

    assert (await db.fails(db.act())).outcome is Outcome.REFUSED
    assert await db.rows() == (0, State.VOID)


async def test_decision_is_written_into_the_same_database(db: Database) -> None:
    """A person's decision goes where the row is."""
    record = DecisionRecord(
        operation="shop.order",
        request={"order_id": "o-1"},
        result={"charge": "by hand"},
        choice=Choice.SUPPLY,
        undo=False,
        who="ada",
        why="typed it in",
    )
    attempt = Attempt(number=1, started_at=EPOCH, timeout=timedelta(seconds=10))

    await db.guard.record_decision(db.shop, create, record, _token(), attempt)

    assert await db.rows() == (0, State.DONE)
    assert await db.act() == Receipt(charge="by hand")
