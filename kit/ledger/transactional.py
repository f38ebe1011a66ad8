"""The ledger in a service's own database: effect, row and result commit together.

For operations declared ``Once.by_transaction()``. The row is locked first (the whole database on SQLite, the row on
PostgreSQL), so deciding and writing need no retries beyond the race for a new key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kit.errors import DefinitionError, LedgerError, LedgerUnavailable
from kit.ledger._rows import (
    POSTGRES,
    PURGE_BATCH,
    SQLITE,
    entries_of,
    entry_of,
    insert_row,
    of_saga_row,
    page_row,
    to_micros,
    update_row,
)
from kit.ledger.migrating import check_current, revision_of, upgrade
from kit.ledger.rules import decide
from kit.ledger.states import Command, Entry, Verdict

_STATEMENTS = {"sqlite": SQLITE, "postgresql": POSTGRES}
_DRIVERS = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}

MAX_ROUNDS = 8
"""How often a new key is tried again because it appeared and was purged in between."""


class TransactionalLedger:
    """The ledger as a table of the service's own database.

    ::

        async with ledger.begin() as tx:
            verdict = await ledger.apply_in(tx, claim)
            await tx.execute(insert(orders).values(...))
            await ledger.apply_in(tx, Complete(...))

    Everything in the block commits together or not at all. It also is a `kit.ledger.Ledger`, with a transaction per
    command: right, but without the group commit of `SqliteLedger` and `PostgresLedger`.

    Args:
        engine: The service's engine, ``sqlite+aiosqlite`` or ``postgresql+asyncpg``. It stays the service's: closing
            the ledger does not dispose of it.
        turn_timeout: On SQLite, which has one writer at a time, how long a transaction waits for those that were
            asked for before it in this process. Other processes are waited for as the engine's ``timeout`` says.
    """

    def __init__(self, engine: AsyncEngine, *, turn_timeout: timedelta = timedelta(seconds=30)) -> None:
        backend, driver = engine.dialect.name, engine.dialect.driver
        if _DRIVERS.get(backend) != driver:
            raise DefinitionError(
                "TransactionalLedger",
                rule=f"the engine speaks {backend + '+' + driver!r}",
                fix="use an engine of 'sqlite+aiosqlite' or 'postgresql+asyncpg'",
            )
        self._engine = engine
        self._sqlite = backend == "sqlite"
        self._sql = _STATEMENTS[backend]
        self._turn = asyncio.Lock()
        self._turn_timeout = turn_timeout.total_seconds()

    @property
    def engine(self) -> AsyncEngine:
        """The service's engine."""
        return self._engine

    async def create_schema(self) -> None:
        """Create the ledger's table or bring it to the newest schema, with the kit's own migrations."""
        async with self.begin() as tx:
            await upgrade(tx)

    async def open(self) -> None:
        """Check the schema and the durability. Idempotent.

        Raises:
            LedgerUnavailable: The database did not answer.
            LedgerSchemaError: The schema is not the one this version needs; see `create_schema`.
            DefinitionError: The database does not wait for its disk.
        """
        try:
            async with self._engine.connect() as connection, _translated():
                setting, revision = await connection.run_sync(self._look)
        except (DBAPIError, PoolTimeout, OSError) as exc:
            raise _unavailable(exc) from exc
        self._check_durable(setting)
        check_current(revision, "the service's database")

    async def close(self) -> None:
        """Do nothing: the engine is the service's."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of the service's database, committed at the end of the block, rolled back on any error.

        On SQLite it holds the write lock from its beginning (``BEGIN IMMEDIATE``), on PostgreSQL it reads what others
        have committed (``READ COMMITTED``), whatever the engine's defaults are.

        Raises:
            LedgerUnavailable: It could not begin, or it is unknown whether it committed. Repeating is safe: the
                row tells.
        """
        async with self._in_turn():
            try:
                connection = await self._engine.connect()
            except (DBAPIError, PoolTimeout, OSError) as exc:
                raise _unavailable(exc) from exc
            try:
                async with _translated():
                    await self._begin_on(connection)
                yield connection
                async with _translated():
                    await connection.commit()
            finally:
                await connection.close()  # rolls back what was not committed

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """First come, first served within the process: SQLite's own waiting is a lottery that some lose."""
        if not self._sqlite:
            yield
            return
        try:
            async with asyncio.timeout(self._turn_timeout):
                await self._turn.acquire()
        except TimeoutError as exc:
            raise LedgerUnavailable("the service's database is locked by a transaction of this process") from exc
        try:
            yield
        finally:
            self._turn.release()

    async def apply_in(self, tx: AsyncConnection, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command within a transaction of `begin`; it counts when that commits.

        The row stays locked until then. ``expected`` is not needed: the row is read under its lock.

        Raises:
            LedgerUnavailable: The database failed.
            LedgerError: The row cannot be stored.
        """
        async with _translated():
            return await tx.run_sync(self._apply_in, command)

    def _apply_in(self, tx: Connection, command: Command) -> Verdict:
        for _ in range(MAX_ROUNDS):
            rows = tx.exec_driver_sql(self._sql.lock, (command.key,)).all()
            current = entry_of(rows[0]) if rows else None
            row, verdict = decide(current, command)
            if row is None or self._store(tx, row, current):
                return verdict
        raise LedgerUnavailable(f"{command.key!r} appeared and went in each of {MAX_ROUNDS} attempts")

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command in a transaction of its own."""
        async with self.begin() as tx:
            return await self.apply_in(tx, command)

    async def get(self, key: str) -> Entry | None:
        """The row of one key."""
        rows = await self._read(self._sql.select, key)
        return entry_of(rows[0]) if rows else None

    async def of_saga(self, saga: str) -> list[Entry]:
        """All rows of one workflow id, by step, then key."""
        return entries_of(saga, await self._read(self._sql.of_saga, *of_saga_row(saga)))

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """The rows whose key begins with a prefix, by key."""
        return [entry_of(row) for row in await self._read(self._sql.page, *page_row(prefix, after, limit))]

    async def purge(self, now: datetime) -> int:
        """Delete the settled rows whose time is over, so many per transaction. See `Ledger.purge`."""
        total = 0
        while True:
            async with self.begin() as tx, _translated():
                result = await tx.exec_driver_sql(self._sql.purge, (to_micros(now),))
                gone = result.rowcount
            total += gone
            if gone < PURGE_BATCH:
                return total

    def _store(self, tx: Connection, row: Entry, current: Entry | None) -> bool:
        """Write; ``False`` when another transaction was first with a new key."""
        if current is None:
            result = tx.exec_driver_sql(self._sql.insert, insert_row(row))
        else:
            result = tx.exec_driver_sql(self._sql.update, update_row(row, current))
        return result.rowcount == 1

    async def _begin_on(self, connection: AsyncConnection) -> None:
        if not self._sqlite:
            await connection.execution_options(isolation_level="READ COMMITTED")
            await connection.begin()
            return
        await connection.run_sync(_begin_immediate)

    def _look(self, connection: Connection) -> tuple[Any, str | None]:
        return connection.exec_driver_sql(self._ask_durable).scalar(), revision_of(connection)

    @property
    def _ask_durable(self) -> str:
        return "PRAGMA synchronous" if self._sqlite else "SHOW synchronous_commit"

    def _check_durable(self, found: Any) -> None:
        if found in _NOT_DURABLE:
            raise DefinitionError(
                "TransactionalLedger",
                rule=f"`{self._ask_durable}` answers {found!r}: a commit does not wait for the disk",
                fix="set PRAGMA synchronous = FULL on every connection"
                if self._sqlite
                else "set synchronous_commit = 'on' for the service's user or database",
            )

    async def _read(self, statement: str, *values: Any) -> Sequence[Any]:
        try:
            async with self._engine.connect() as connection:
                return await self._run(connection, statement, values)
        except (DBAPIError, PoolTimeout, OSError) as exc:
            raise _unavailable(exc) from exc

    async def _run(self, tx: AsyncConnection, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
        return (await tx.exec_driver_sql(statement, values)).all()


def _begin_immediate(connection: Connection) -> None:
    connection.begin()
    raw = connection.connection.driver_connection
    if raw is not None and raw.in_transaction:
        # The engine has an event that begins deferred transactions: this one must hold the lock from here.
        connection.exec_driver_sql("ROLLBACK")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


_NOT_DURABLE = frozenset({0, 1, "off"})
"""SQLite's OFF and NORMAL (which loses the last commits of a write-ahead log), PostgreSQL's off."""


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """The ledger's words for what the database says about the ledger's own statements."""
    try:
        yield
    except (OperationalError, InterfaceError, OSError) as exc:
        raise _unavailable(exc) from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise _unavailable(exc) from exc
        raise LedgerError(f"the ledger cannot store this: {exc.orig!r}") from exc


def _unavailable(exc: BaseException) -> LedgerUnavailable:
    return LedgerUnavailable(f"the service's database did not do its work: {exc!r}")
