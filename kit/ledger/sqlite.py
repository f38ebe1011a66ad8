"""The ledger in a SQLite file: the embedded default."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

from kit.errors import DefinitionError, LedgerUnavailable
from kit.ledger._rows import (
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
from kit.ledger._writer import Writer
from kit.ledger.migrating import check_known, migrate_file
from kit.ledger.rules import decide
from kit.ledger.schema import SCHEMA_REVISION, VERSION_TABLE
from kit.ledger.sql_holds import SqlHolds
from kit.ledger.states import ClaimAction, ClaimUndo, Command, Decide, Entry, Verdict

_FIRST_CLAIMS = (ClaimAction, ClaimUndo, Decide)
"""Commands that write a row when there is none."""


class SqliteLedger:
    """Every effect in one file, for the worker processes of one host.

    Durable against the loss of power: write-ahead log, flushed at every commit (``synchronous=FULL``).
    Commits are shared by all callers of the process; between processes SQLite's own lock decides. May be
    used from several event loops and threads. Opening creates the file and brings it to the newest schema by itself.

    Not for a network file system, which has no such locks: use PostgreSQL when several hosts share a ledger.

    Args:
        path: The file; ``-wal`` and ``-shm`` appear beside it. Its folder must exist.
        busy_timeout: How long to wait for another process's transaction before `LedgerUnavailable`.
    """

    def __init__(self, path: str | Path, *, busy_timeout: timedelta = timedelta(seconds=5)) -> None:
        if str(path) in {"", ":memory:"}:
            raise DefinitionError(
                "SqliteLedger",
                rule=f"path {str(path)!r} is a database in memory, which is empty after every crash",
                fix="name a file, or use MemoryLedger in a test",
            )
        self._path = str(path)
        self._busy_timeout = busy_timeout.total_seconds()
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self.holds = SqlHolds(self._ask, opening=self.open, closing=self.close)

    async def open(self) -> None:
        """Open the file, creating or upgrading the schema. Idempotent.

        Raises:
            LedgerUnavailable: The file cannot be opened or written.
            LedgerSchemaError: A later version of the kit has upgraded it.
        """
        with self._lock:
            if self._writer is None or not self._writer.taking:
                self._writer = Writer(self._connect, name=repr(self._path))
            writer = self._writer
        await writer.started()

    async def close(self) -> None:
        """Finish what was asked for and close the file. Idempotent."""
        if self._writer is not None:
            await self._writer.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command to the row of its key; durable when it returns."""
        work = partial(_apply, command=command, expected=expected)
        return cast(Verdict, await self._do(work, writes=True))

    async def get(self, key: str) -> Entry | None:
        """The row of one key."""
        return cast("Entry | None", await self._do(partial(_get, key=key)))

    async def of_saga(self, saga: str) -> list[Entry]:
        """All rows of one workflow id, by step, then key."""
        return cast("list[Entry]", await self._do(partial(_of_saga, saga=saga)))

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """The rows whose key begins with a prefix, by key."""
        return cast("list[Entry]", await self._do(partial(_page, bounds=page_row(prefix, after, limit))))

    async def purge(self, now: datetime) -> int:
        """Delete the settled rows whose time is over, so many per transaction. See `Ledger.purge`."""
        work = partial(_purge, until=to_micros(now))
        total = gone = cast(int, await self._do(work, writes=True))
        while gone == PURGE_BATCH:
            gone = cast(int, await self._do(work, writes=True))
            total += gone
        return total

    async def _ask(self, statement: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Run one statement of the holds beside the effects."""
        work = partial(_rows, statement=statement.replace("$", "?"), values=tuple(values))
        return cast("list[tuple[Any, ...]]", await self._do(work, writes=not statement.startswith("SELECT")))

    async def _do(self, work: Any, *, writes: bool = False) -> Any:
        if self._writer is None:
            raise LedgerUnavailable(f"ledger {self._path!r} is not open: use it in `async with`")
        return await self._writer.do(work, writes=writes)

    def _connect(self) -> sqlite3.Connection:
        """A connection of the calling thread, to a file at the right schema."""
        try:
            return self._connect_once()
        except sqlite3.Error as exc:
            raise LedgerUnavailable(f"ledger {self._path!r} cannot be opened: {exc}") from exc

    def _connect_once(self) -> sqlite3.Connection:
        # No implicit BEGIN: the writer says where a transaction begins and ends.
        connection = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None)
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise LedgerUnavailable(f"ledger {self._path!r}: no write-ahead log there, only {mode!r}")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync leaves the drive's cache
            revision = _revision(connection)
            if revision != SCHEMA_REVISION:
                check_known(revision)
                migrate_file(self._path)
        except BaseException:
            connection.close()
            raise
        return connection


def _revision(connection: sqlite3.Connection) -> str | None:
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()
    if there is None:
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - our constant
    return None if row is None else str(row[0])


def _apply(connection: sqlite3.Connection, *, command: Command, expected: Entry | None) -> Verdict:
    """Guess the row, write if it was so; else read it and decide. At most one statement writes."""
    execute = connection.execute
    if expected is not None:
        row, verdict = decide(expected, command)
        if row is not None and execute(SQLITE.update, update_row(row, expected)).rowcount == 1:
            return verdict
    elif isinstance(command, _FIRST_CLAIMS):
        row, verdict = decide(None, command)
        if row is not None and execute(SQLITE.insert, insert_row(row)).rowcount == 1:
            return verdict
    # Nobody else writes now: the transaction holds the only write lock.
    current = _get(connection, key=command.key)
    row, verdict = decide(current, command)
    if row is not None:
        if current is None:
            execute(SQLITE.insert, insert_row(row))
        else:
            execute(SQLITE.update, update_row(row, current))
    return verdict


def _get(connection: sqlite3.Connection, *, key: str) -> Entry | None:
    row = connection.execute(SQLITE.select, (key,)).fetchone()
    return None if row is None else entry_of(row)


def _of_saga(connection: sqlite3.Connection, *, saga: str) -> list[Entry]:
    return entries_of(saga, connection.execute(SQLITE.of_saga, of_saga_row(saga)))


def _rows(connection: sqlite3.Connection, *, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


def _page(connection: sqlite3.Connection, *, bounds: tuple[str, str, int]) -> list[Entry]:
    return [entry_of(row) for row in connection.execute(SQLITE.page, bounds)]


def _purge(connection: sqlite3.Connection, *, until: int | None) -> int:
    return connection.execute(SQLITE.purge, (until,)).rowcount
