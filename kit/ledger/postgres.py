"""The ledger in PostgreSQL: for workers on several hosts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kit.errors import KitError, LedgerError, LedgerUnavailable
from kit.ledger._asyncpg import BAD_DATA, FAILED, connect, disconnect, unavailable
from kit.ledger._batch import INSERT_MANY, INSERT_ONE, UPDATE_MANY, UPDATE_ONE, WRITE_MANY, transposed
from kit.ledger._rows import (
    CHANGING,
    POSTGRES,
    PURGE_BATCH,
    entries_of,
    entry_of,
    insert_row,
    of_saga_row,
    page_row,
    to_micros,
    update_row,
)
from kit.ledger.migrating import require_asyncpg
from kit.ledger.rules import decide
from kit.ledger.sql_holds import SqlHolds
from kit.ledger.states import ClaimAction, ClaimUndo, Command, Decide, Entry, Verdict

if TYPE_CHECKING:
    import asyncpg

_T = TypeVar("_T")

MAX_BATCH = 512
"""Commands per round trip: bounds the size of a message and the time row locks are held."""

MAX_ROUNDS = 32
"""How often a command is decided anew because other processes changed the row in between."""

_KEY = 0
_SEEN_KEY = len(CHANGING)
"""Where `insert_row` and `update_row` have the key."""


class _Job:
    """One caller waiting for one command."""

    __slots__ = ("command", "expected", "future", "rounds")

    def __init__(self, command: Command, expected: Entry | None) -> None:
        self.command = command
        self.expected = expected
        self.future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.rounds = 0


class _Round:
    """What one batch sends to the database: each job either writes on a guess or has its row read."""

    def __init__(self) -> None:
        self.guesses: dict[str, tuple[_Job, Verdict]] = {}
        self.inserts: list[tuple[Any, ...]] = []
        self.updates: list[tuple[Any, ...]] = []
        self.reads: dict[str, _Job] = {}

    def plan(self, job: _Job, seen: Entry | None, *, known: bool) -> None:
        """Decide on the row as it was ``seen``; without a row to write, only a ``known`` row is the answer."""
        row, verdict = decide(seen, job.command)
        if row is None:
            if known:
                _resolve(job, verdict)
            else:
                self.reads[job.command.key] = job
            return
        if seen is None:
            self.inserts.append(insert_row(row))
        else:
            self.updates.append(update_row(row, seen))
        self.guesses[row.key] = (job, verdict)

    def first_guess(self, job: _Job) -> None:
        """Guess the row, so that the usual claim and the usual completion are one statement each."""
        if job.expected is not None:
            self.plan(job, job.expected, known=False)
        elif isinstance(job.command, ClaimAction | ClaimUndo | Decide):
            self.plan(job, None, known=False)
        else:
            self.reads[job.command.key] = job

    async def write(self, connection: asyncpg.Connection[Any]) -> None:
        """Send the guesses in one round trip; who lost its race is read next."""
        if len(self.guesses) == 1:  # a caller alone: nothing to unpack for the server
            statement, row = (INSERT_ONE, self.inserts) if self.inserts else (UPDATE_ONE, self.updates)
            written = await connection.fetch(statement, *row[0])
        elif self.inserts and self.updates:
            arrays = transposed(self.inserts, key=_KEY) + transposed(self.updates, key=_SEEN_KEY)
            written = await connection.fetch(WRITE_MANY, *arrays)
        elif self.inserts:
            written = await connection.fetch(INSERT_MANY, *transposed(self.inserts, key=_KEY))
        elif self.updates:
            written = await connection.fetch(UPDATE_MANY, *transposed(self.updates, key=_SEEN_KEY))
        else:
            return
        for record in written:
            job, verdict = self.guesses.pop(record[0])
            _resolve(job, verdict)
        for key, (job, _) in self.guesses.items():
            self.reads[key] = job


class PostgresLedger:
    """Every effect in one table, shared by the workers of any number of hosts.

    Durable as the server's ``synchronous_commit`` says; ``off`` is refused. All commands that wait go out in one
    round trip and one commit; each compares the row it relies on and swaps it, and whoever loses a race reads the
    row and decides anew. May be used from several event loops; the work is done in the one that opened it.

    The schema is made by ``kit ledger migrate``, never by opening: several versions of a service share the table.

    Args:
        dsn: ``postgresql://user@host/database``, with asyncpg's options.
        writers: Connections that write. Two, so that one batch is gathered and sent while the other commits.
        timeout: How long to wait for a connection, or for one statement, before `LedgerUnavailable`.
    """

    def __init__(self, dsn: str, *, writers: int = 2, timeout: timedelta = timedelta(seconds=10)) -> None:
        require_asyncpg()
        self._dsn = dsn.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._writers = writers
        self._timeout = timeout.total_seconds()
        self._waiting: deque[_Job] = deque()
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._reader: asyncpg.Connection[Any] | None = None
        self.holds = SqlHolds(self._ask_holds, opening=self.open, closing=self.close)

    async def open(self) -> None:
        """Connect and check the schema and the server's durability. Idempotent.

        Raises:
            LedgerUnavailable: The server cannot be reached.
            LedgerSchemaError: The schema is missing, older or newer than this version needs.
            DefinitionError: The server does not wait for its disk (``synchronous_commit = off``).
        """
        async with self._opening:
            if self._tasks:
                return
            self._loop = asyncio.get_running_loop()
            self._closing = False
            self._work, self._reading = asyncio.Event(), asyncio.Lock()
            self._reader = await self._connect()
            self._tasks = [asyncio.create_task(self._write()) for _ in range(self._writers)]

    async def close(self) -> None:
        """Finish what was asked for and disconnect. Idempotent."""
        async with self._opening:
            if not self._tasks:
                return
            self._closing = True
            self._work.set()
            await asyncio.gather(*self._tasks)
            self._tasks = []
            async with self._reading:
                await disconnect(self._reader)
                self._reader = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command to the row of its key; durable when it returns."""
        return await self._here(lambda: self._ask(command, expected))

    async def get(self, key: str) -> Entry | None:
        """The row of one key."""
        rows = await self._here(lambda: self._read(POSTGRES.select, key))
        return entry_of(rows[0]) if rows else None

    async def of_saga(self, saga: str) -> list[Entry]:
        """All rows of one workflow id, by step, then key."""
        return entries_of(saga, await self._here(lambda: self._read(POSTGRES.of_saga, *of_saga_row(saga))))

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """The rows whose key begins with a prefix, by key. Reads all, where the database sorts otherwise."""
        bounds = page_row(prefix, after, limit)
        return [entry_of(row) for row in await self._here(lambda: self._read(POSTGRES.page, *bounds))]

    async def purge(self, now: datetime) -> int:
        """Delete the settled rows whose time is over, so many per transaction. See `Ledger.purge`."""
        total, until = 0, to_micros(now)
        while True:
            gone = len(await self._here(lambda: self._read(POSTGRES.purge + " RETURNING key", until)))
            total += gone
            if gone < PURGE_BATCH:
                return total

    async def _ask_holds(self, statement: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Run one statement of the holds beside the effects."""
        rows: list[Any] = await self._here(lambda: self._read(statement, *values))
        return rows

    # --- callers ----------------------------------------------------------------------------------

    async def _here(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask in the event loop that holds the connections."""
        if self._loop is None or self._closing or all(task.done() for task in self._tasks):
            raise LedgerUnavailable("the ledger is not open: use it in `async with`")
        if asyncio.get_running_loop() is self._loop:
            return await ask()

        async def there() -> _T:
            return await ask()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))

    async def _ask(self, command: Command, expected: Entry | None) -> Verdict:
        job = _Job(command, expected)
        self._waiting.append(job)
        self._work.set()
        return await job.future

    async def _read(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        async with self._reading:
            try:
                if self._reader is None or self._reader.is_closed():
                    self._reader = await self._connect()
                return await self._reader.fetch(statement, *values)
            except FAILED as exc:
                await disconnect(self._reader)
                self._reader = None
                raise unavailable(exc) from exc

    async def _connect(self) -> asyncpg.Connection[Any]:
        return await connect(self._dsn, timeout=self._timeout)

    # --- writers ----------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Serve whoever waits, until closed and nobody does."""
        connection: asyncpg.Connection[Any] | None = None
        batch: list[_Job] = []
        try:
            while await self._anyone():
                batch = self._next_batch()
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._connect()
                    await self._serve(connection, batch)
                except Exception as exc:  # whatever it was, its callers are told and the next batch is served
                    _fail(batch, exc if isinstance(exc, KitError) else unavailable(exc))
                    await disconnect(connection)
                    connection = None
        finally:  # also when the event loop is torn down with callers waiting
            _fail([*batch, *self._waiting], LedgerUnavailable("the ledger was stopped"))
            await disconnect(connection)

    async def _anyone(self) -> bool:
        """Wait for work; ``False`` when there is none and there will be none."""
        while not self._waiting:
            if self._closing:
                return False
            self._work.clear()
            await self._work.wait()
        return True

    def _next_batch(self) -> list[_Job]:
        """The jobs that wait, one per key; a second one for the same key waits for the next batch."""
        batch: dict[str, _Job] = {}
        later: list[_Job] = []
        while self._waiting and len(batch) < MAX_BATCH:
            job = self._waiting.popleft()
            if batch.setdefault(job.command.key, job) is not job:
                later.append(job)
        self._waiting.extendleft(reversed(later))
        return list(batch.values())

    async def _serve(self, connection: asyncpg.Connection[Any], batch: list[_Job]) -> None:
        """Answer every job of the batch. A job whose data is bad fails alone."""
        todo = _Round()
        for job in batch:
            _planned(job, lambda job=job: todo.first_guess(job))  # type: ignore[misc]
        while todo.guesses or todo.reads:
            try:
                await todo.write(connection)
            except BAD_DATA as exc:
                await self._one_by_one(connection, batch, exc)
                return
            todo = await _next_round(connection, list(todo.reads.values()))

    async def _one_by_one(self, connection: asyncpg.Connection[Any], batch: list[_Job], exc: Exception) -> None:
        """Some row of the statement was refused, and all with it: find out whose."""
        waiting = [job for job in batch if not job.future.done()]
        if len(batch) == 1:
            _fail(waiting, _refused(exc))
            return
        for job in waiting:
            await self._serve(connection, [job])


async def _next_round(connection: asyncpg.Connection[Any], jobs: list[_Job]) -> _Round:
    """Read the rows of those who lost a race, or had nothing to guess by, and decide anew."""
    todo = _Round()
    if not jobs:
        return todo
    rows = await connection.fetch(READ_MANY, [job.command.key for job in jobs])
    current = {entry.key: entry for entry in map(entry_of, rows)}
    for job in jobs:
        job.rounds += 1
        if job.rounds > MAX_ROUNDS:
            _fail([job], LedgerUnavailable(f"{job.command.key!r} changed under each of {MAX_ROUNDS} attempts"))
            continue
        seen = current.get(job.command.key)
        _planned(job, lambda job=job, seen=seen: todo.plan(job, seen, known=True))  # type: ignore[misc]
    return todo


def _planned(job: _Job, plan: Callable[[], None]) -> None:
    """Plan for one job; what its data raises is its caller's error and nobody else's."""
    try:
        plan()
    except Exception as exc:
        _fail([job], _refused(exc))


READ_MANY = POSTGRES.select.replace("key = $1", "key = ANY($1::text[])")


def _resolve(job: _Job, verdict: Verdict) -> None:
    if not job.future.done():  # its caller may have been cancelled
        job.future.set_result(verdict)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)


def _refused(exc: Exception) -> Exception:
    if isinstance(exc, KitError):
        return exc
    refused = LedgerError(f"the ledger cannot store this: {exc!r}")
    refused.__cause__ = exc
    return refused
