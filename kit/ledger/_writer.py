"""Group commit: one thread that writes for everybody.

A durable commit costs a flush to the disk, whatever it contains. So one thread takes all the work that
waits, does it in one transaction, commits once, and answers everybody. It never waits for a batch to fill: a
batch is what has arrived while the commit before it was running, so a single caller pays for one commit and
64 callers share one.

States of a `Writer`::

    starting ──> running ──> closing ──> over
        └───────────┴── the thread fails ──^

``closing`` finishes what was asked before and takes nothing new. However the thread ends, whoever still waits
is told; nobody is left hanging.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent import futures
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from kit.errors import KitError, LedgerError, LedgerUnavailable

Work: TypeAlias = Callable[[sqlite3.Connection], Any]
"""What a caller wants done inside a transaction. At most one statement of it writes."""

MAX_BATCH = 512
"""Callers served by one transaction: bounds how long it keeps other processes out."""


class _Job:
    """One caller waiting for one piece of work."""

    __slots__ = ("future", "loop", "work", "writes")

    def __init__(self, work: Work, *, writes: bool) -> None:
        self.work = work
        self.writes = writes
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


_Answer: TypeAlias = tuple[_Job, Any, BaseException | None]


class Writer:
    """A thread with a connection of its own. Used once: after `close`, make another.

    Args:
        connect: Opens the connection, in the thread.
        name: Of the thread and in errors.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, name: str) -> None:
        self._connect = connect
        self._name = name
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()  # between asking and ending: what is in the queue will be answered
        self._taking = True
        self._started: futures.Future[None] = futures.Future()
        # A daemon: a process that forgot to close still ends, and each answer it had is on the disk already.
        self._thread = threading.Thread(target=self._main, name=f"ledger {name}", daemon=True)
        self._thread.start()

    async def started(self) -> None:
        """Wait for the connection; raises what opening it raised."""
        await asyncio.shield(asyncio.wrap_future(self._started))

    @property
    def taking(self) -> bool:
        """Whether it takes work: neither closed nor failed."""
        return self._taking

    async def do(self, work: Work, *, writes: bool) -> Any:
        """Have the work done and committed.

        A caller that is cancelled while it waits does not call its work back.

        Raises:
            LedgerUnavailable: The database failed, or the thread is over. The work may have been done.
            LedgerError: The database refused this work alone.
        """
        job = _Job(work, writes=writes)
        with self._lock:
            if not self._taking:
                raise LedgerUnavailable(f"ledger {self._name} is closed")
            self._queue.put(job)
        return await job.future

    async def close(self) -> None:
        """Finish what was asked for, then end the thread. Idempotent."""
        with self._lock:
            if self._taking:
                self._taking = False
                self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    # --- in the thread ----------------------------------------------------------------------------

    def _main(self) -> None:
        connection: sqlite3.Connection | None = None
        batch: list[_Job] = []
        try:
            connection = self._connect()
            self._started.set_result(None)
            open_ = True
            while open_:
                batch, open_ = self._next_batch()
                if not batch:
                    continue
                if connection is None:
                    connection = self._reconnect(batch)
                    if connection is None:
                        continue
                if not _commit(connection, batch, self._name):
                    _close(connection)
                    connection = None
        except BaseException as exc:
            if not self._started.done():
                self._taking = False  # before anybody hears of it and opens anew
                self._started.set_exception(exc)  # raised in `started`, by whoever opens the ledger
            else:
                raise
        finally:
            self._end(connection, batch)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for work and take all there is; ``False`` when it is the last."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) == MAX_BATCH:
                return batch, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _reconnect(self, batch: list[_Job]) -> sqlite3.Connection | None:
        try:
            return self._connect()
        except (sqlite3.Error, KitError) as exc:
            _answer((job, None, _unavailable(self._name, exc)) for job in batch)
            return None

    def _end(self, connection: sqlite3.Connection | None, batch: list[_Job]) -> None:
        with self._lock:
            self._taking = False
        left = list(batch)  # answered already, unless the thread failed in the middle of it
        with suppress(Empty):
            while True:
                job = self._queue.get_nowait()
                if job is not None:
                    left.append(job)
        _answer((job, None, LedgerUnavailable(f"ledger {self._name} has failed")) for job in left)
        if connection is not None:
            _close(connection)


def _commit(connection: sqlite3.Connection, batch: list[_Job], name: str) -> bool:
    """Do a batch in one transaction and answer it; ``False`` when the connection can no longer be trusted."""
    answers: list[_Answer] = []
    writes = any(job.writes for job in batch)
    sound = True
    try:
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        for job in batch:
            try:
                answers.append((job, job.work(connection), None))
            except (sqlite3.OperationalError, sqlite3.InternalError):
                raise  # the disk or the file, not the work
            except Exception as exc:  # one caller's bad data is that caller's error, whatever it is
                answers.append((job, None, _refused(exc)))
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        answers = [(job, None, _unavailable(name, exc)) for job in batch]
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            sound = False
    _answer(answers)
    return sound


def _close(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.close()


def _refused(exc: Exception) -> Exception:
    if isinstance(exc, KitError):
        return exc
    refused = LedgerError(f"the ledger cannot store this: {exc!r}")
    refused.__cause__ = exc
    return refused


def _unavailable(name: str, exc: Exception) -> LedgerUnavailable:
    unavailable = LedgerUnavailable(f"ledger {name}: {exc}")
    unavailable.__cause__ = exc
    return unavailable


def _answer(answers: Iterable[_Answer]) -> None:
    """Wake the callers: one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        by_loop.setdefault(answer[0].loop, []).append(answer)
    for loop, mine in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(answers: list[_Answer]) -> None:
    for job, value, error in answers:
        if job.future.done():  # its caller was cancelled
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)
