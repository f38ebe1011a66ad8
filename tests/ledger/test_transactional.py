"""The ledger in a service's own database: effect, row and result commit together or not at all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.errors import DefinitionError, LedgerError, LedgerSchemaError, LedgerUnavailable
from kit.ledger import Busy, Claimed, Settled, State, TransactionalLedger
from kit.ledger import transactional as transactional_module
from tests.ledger._commands import at, claim, complete, undo

orders = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True))

KINDS = ["sqlite", "sqlite-with-begin-event", pytest.param("postgres", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bool]:
    """A database, and whether its engine begins SQLite's transactions by itself."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres")
        return url.replace("postgresql:", "postgresql+asyncpg:"), False
    return f"sqlite+aiosqlite:///{tmp_path / 'service.db'}", request.param != "sqlite"


@pytest.fixture
async def engine(engine_url: tuple[str, bool]) -> AsyncIterator[AsyncEngine]:
    """The service's engine, with a table of its own."""
    url, begins = engine_url
    engine = create_async_engine(url, **({"connect_args": {"timeout": 0.05}} if "sqlite" in url else {}))
    if begins:
        begin_by_event(engine)
    async with engine.begin() as connection:
        await connection.run_sync(orders.metadata.drop_all)
        await connection.run_sync(orders.metadata.create_all)
    await TransactionalLedger(engine).create_schema()
    yield engine
    await engine.dispose()


def begin_by_event(engine: AsyncEngine) -> None:
    """SQLAlchemy's own advice for SQLite: the engine emits BEGIN, which is a deferred one."""

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    sa.event.listen(engine.sync_engine, "connect", connected)
    sa.event.listen(engine.sync_engine, "begin", begun)


async def ids(engine: AsyncEngine) -> list[str]:
    """The orders there are."""
    async with engine.connect() as connection:
        return list((await connection.scalars(sa.select(orders.c.id))).all())


async def test_effect_and_row_commit_together(engine: AsyncEngine) -> None:
    """After the block, the effect, the row and its result are all there."""
    async with TransactionalLedger(engine) as ledger:
        async with ledger.begin() as tx:
            assert isinstance(await ledger.apply_in(tx, claim()), Claimed)
            await tx.execute(sa.insert(orders).values(id="ord-1"))
            assert isinstance(await ledger.apply_in(tx, complete()), Settled)

        row = await ledger.get("k")
        assert row is not None
        assert row.state is State.DONE
    assert await ids(engine) == ["ord-1"]


async def test_failed_effect_leaves_no_row(engine: AsyncEngine) -> None:
    """When the block fails, neither the effect nor the row has happened, and the error is the service's own."""
    async with TransactionalLedger(engine) as ledger:

        async def same_order_twice() -> None:
            async with ledger.begin() as tx:
                await ledger.apply_in(tx, claim())
                await tx.execute(sa.insert(orders).values(id="ord-1"))
                await tx.execute(sa.insert(orders).values(id="ord-1"))

        with pytest.raises(IntegrityError):
            await same_order_twice()

        assert await ledger.get("k") is None
    assert await ids(engine) == []


async def test_one_of_two_transactions_has_the_key(engine: AsyncEngine) -> None:
    """While one transaction holds a new key, another waits; then it sees what the first has written."""
    async with TransactionalLedger(engine) as ledger:

        async def attempt(owner: str) -> object:
            while True:
                try:
                    async with ledger.begin() as tx:
                        verdict = await ledger.apply_in(tx, claim(owner=owner))
                        await asyncio.sleep(0)
                        return verdict
                except LedgerUnavailable:
                    continue  # SQLite's lock was held for too long

        verdicts = await asyncio.gather(attempt("a"), attempt("b"), attempt("c"))

    assert sum(isinstance(verdict, Claimed) for verdict in verdicts) == 1
    assert sum(isinstance(verdict, Busy) for verdict in verdicts) == 2


async def test_transaction_holds_its_lock_from_the_beginning(tmp_path: Path) -> None:
    """On SQLite a second transaction cannot begin while one is open, so neither decides on an old row."""
    for begins in (False, True):
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / f'{begins}.db'}", connect_args={"timeout": 0.01})
        if begins:
            begin_by_event(engine)
        one = TransactionalLedger(engine)
        two = TransactionalLedger(engine)
        await one.create_schema()

        async with one.begin():
            with pytest.raises(LedgerUnavailable, match="locked"):
                async with two.begin():
                    pytest.fail("a second transaction began")

        assert isinstance(await one.apply(claim()), Claimed)
        await engine.dispose()


async def test_transactions_of_one_process_take_turns(tmp_path: Path) -> None:
    """On SQLite a transaction waits for those before it, but not for ever: a nested one would."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'service.db'}")
    ledger = TransactionalLedger(engine, turn_timeout=timedelta(milliseconds=20))
    await ledger.create_schema()

    async with ledger.begin():
        with pytest.raises(LedgerUnavailable, match="by a transaction of this process"):
            await ledger.apply(claim())

    assert isinstance(await ledger.apply(claim()), Claimed)
    await engine.dispose()


async def test_bad_data_is_the_callers_error(engine: AsyncEngine) -> None:
    """A row that cannot be stored is an error of its own, and nothing is written."""
    async with TransactionalLedger(engine) as ledger:
        with pytest.raises((LedgerError, OverflowError)) as caught:
            await ledger.apply(claim(step=2**70))

        assert not isinstance(caught.value, LedgerUnavailable)
        assert await ledger.get("k") is None


async def test_schema_is_checked(tmp_path: Path) -> None:
    """Opening without the ledger's table says what to do."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'service.db'}")

    with pytest.raises(LedgerSchemaError, match="no ledger schema"):
        await TransactionalLedger(engine).open()
    await engine.dispose()


async def test_database_that_does_not_wait_for_its_disk_is_refused(tmp_path: Path) -> None:
    """A connection that would lose the last commits in a power cut is refused."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'service.db'}")

    def hasten(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")

    sa.event.listen(engine.sync_engine, "connect", hasten)
    ledger = TransactionalLedger(engine)
    await ledger.create_schema()

    with pytest.raises(DefinitionError, match="PRAGMA synchronous"):
        await ledger.open()
    await engine.dispose()


async def test_unreachable_database_is_unavailable(tmp_path: Path) -> None:
    """A database that cannot be reached is `LedgerUnavailable`, for reading and for writing."""
    for url in (f"sqlite+aiosqlite:///{tmp_path}/no/x.db", f"postgresql+asyncpg://u@/d?host={tmp_path}"):
        engine = create_async_engine(url)
        ledger = TransactionalLedger(engine)

        with pytest.raises(LedgerUnavailable):
            await ledger.apply(claim())
        with pytest.raises(LedgerUnavailable):
            await ledger.get("k")
        assert ledger.engine is engine
        await engine.dispose()


@pytest.mark.slow
async def test_connection_that_is_ended_is_unavailable(postgres: str) -> None:
    """When the server ends the connection in the middle, nothing has happened, and the next one works."""
    engine = create_async_engine(postgres.replace("postgresql:", "postgresql+asyncpg:"))
    async with TransactionalLedger(engine) as ledger:

        async def lose_the_connection() -> None:
            async with ledger.begin() as tx:
                await ledger.apply_in(tx, claim())
                pid = await tx.scalar(sa.text("SELECT pg_backend_pid()"))
                async with engine.connect() as admin:
                    await admin.scalar(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
                await ledger.apply_in(tx, complete())

        with pytest.raises(LedgerUnavailable):
            await lose_the_connection()

        assert await ledger.get("k") is None
        assert isinstance(await ledger.apply(claim()), Claimed)
    await engine.dispose()


async def test_engine_of_another_driver_is_refused() -> None:
    """Only the drivers whose transactions the kit knows are accepted."""
    engine = create_async_engine("sqlite+aiosqlite://")
    engine.sync_engine.dialect.driver = "other"

    with pytest.raises(DefinitionError, match=r"'sqlite\+other'"):
        TransactionalLedger(engine)


async def test_key_that_comes_and_goes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be pinned down is the caller's to try again."""
    monkeypatch.setattr(transactional_module, "MAX_ROUNDS", 0)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'service.db'}")
    ledger = TransactionalLedger(engine)
    await ledger.create_schema()

    with pytest.raises(LedgerUnavailable, match="appeared and went"):
        await ledger.apply(claim())
    await engine.dispose()


async def test_purge_goes_on_until_all_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge takes as many transactions as it needs."""
    monkeypatch.setattr(transactional_module, "PURGE_BATCH", 1)
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'service.db'}")
    ledger = TransactionalLedger(engine)
    await ledger.create_schema()
    await ledger.apply(undo(expires=1))

    assert await ledger.purge(at(1)) == 1
    await engine.dispose()
