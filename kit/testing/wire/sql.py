"""The wire of a service's own database: SQLite in memory, called inline, where a transaction is one request.

The request goes out when the connection is opened (a hold and an outage strike there) and takes effect when the
transaction is committed: a reply can be lost, and a worker can die, before and after that. There is no thread, so a run
is a function of its scenario, and a scenario's database is a copy of pages in memory, so it costs microseconds.

The dialect calls itself ``aiosqlite``: to a connector and to `kit.ledger.TransactionalLedger` it is that.
"""

from __future__ import annotations

import functools
import itertools
import sqlite3
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Self

from sqlalchemy import Engine, make_url, pool
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from kit.ledger.schema import EFFECTS_TABLE
from kit.testing.faults import FaultKind
from kit.testing.wire.answers import ON_EVERY_WIRE, Answers
from kit.testing.wire.carrying import Carrier, Request
from kit.testing.wire.keeping import Keeping

Functions = Mapping[str, Callable[[], Any]]
"""SQL functions without arguments, by name; for triggers that keep a record of their own."""

_numbers: Final = itertools.count(1)


class SqlAnswers(Answers[None]):
    """What a database driver sees."""

    offers: ClassVar[frozenset[FaultKind]] = ON_EVERY_WIRE - {
        # A session ends with its connection: what was not committed by then never is, and nothing is sent twice.
        FaultKind.LATE_AFTER_RETRY,
        FaultKind.LATE_AFTER_UNDO,
        FaultKind.TWICE,
    }
    what = "COMMIT"

    def unreachable(self) -> BaseException:
        """See base class."""
        return sqlite3.OperationalError("nobody answers the connection")

    def lost(self) -> BaseException:
        """See base class."""
        return sqlite3.OperationalError("the connection was closed before the reply")


class SqlEngine(AsyncEngine):
    """An engine over a database of its own.

    Args:
        carrier: Carries its transactions; ``None`` for a database that no scenario touches.
        system: Its name.
        functions: For triggers.
    """

    __slots__ = ("_database",)

    def __init__(self, carrier: Carrier | None = None, *, system: str = "", functions: Functions | None = None) -> None:
        self._database = _Database(carrier, system, functions or {})
        engine = Engine(
            _pool(self._database.connection),
            _dialect(),
            _URL,
            query_cache_size=0,
            execution_options={"compiled_cache": _COMPILED},
        )
        super().__init__(engine)

    def fill(self, source: SqlEngine) -> None:
        """Make this database a copy of another one."""
        self._database.fill(source._database.anchor)

    def dump(self) -> bytes:
        """All that is in it: equal databases give equal bytes.

        The kit's own ledger is left out: its rows are told by themselves (`table`).
        """
        found: bytes = self._database.remembered("", self._dump)
        return found

    def _dump(self) -> bytes:
        schema = self.rows("SELECT type, name, sql FROM sqlite_master ORDER BY name")
        names = [name for kind, name, _ in schema if kind == "table" and name != EFFECTS_TABLE]
        return repr((schema, [(name, self.table(name)) for name in names])).encode()

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of one table, by column."""
        return [dict(row) for row in self._database.remembered(name, functools.partial(self._table, name))]

    def effects(self) -> list[dict[str, Any]]:
        """The rows of its ledger."""
        return self.table(EFFECTS_TABLE)

    def _table(self, name: str) -> list[dict[str, Any]]:
        found = self._database.anchor.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - a table of this database
        columns = [column[0] for column in found.description]
        return [dict(zip(columns, row, strict=True)) for row in found]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query finds: the database's own word, read past every wire."""
        return self._database.anchor.execute(statement).fetchall()


class SqlTemplate:
    """A database that is built once in a process, and copied for every scenario.

    Args:
        build: Creates tables and what is always in them.
    """

    def __init__(self, build: Callable[[AsyncEngine], Awaitable[None]]) -> None:
        self._build = build
        self._built: SqlEngine | None = None

    async def copy_to(self, engine: AsyncEngine) -> None:
        """Fill the database of an engine of `Wire.sql`."""
        if not isinstance(engine, SqlEngine):
            raise TypeError(f"{engine!r} is not an engine of Wire.sql")
        if self._built is None:
            built = SqlEngine()
            await self._build(built)
            self._built = built
        engine.fill(self._built)


class _Database(Keeping):
    """One database in memory, and the connections to it."""

    def __init__(self, carrier: Carrier | None, system: str, functions: Functions) -> None:
        self._carrier = carrier
        self._system = system
        self._functions = functions
        self._name = _name()
        self._free: list[sqlite3.Connection] = []
        self._told: dict[str, tuple[tuple[int, int], Any]] = {}
        """What was told of a part of it, and of which of its versions."""
        self.anchor = self._open()  # the database lives for as long as somebody is connected to it
        self._answers = SqlAnswers()

    def connection(self) -> Any:
        """A connection, as a pool asks for it. The transaction on it is one request of the running call."""
        request = await_only(self._carrier.admit(self._system, self._answers)) if self._carrier is not None else None
        raw = self._free.pop() if self._free else self._open()
        return _Connection(self, raw, request)

    async def commit(self, raw: sqlite3.Connection, request: Request) -> None:
        """Carry a commit."""

        async def send() -> None:
            raw.commit()

        if self._carrier is not None:
            await self._carrier.deliver(request, send)

    def rolled_back(self, request: Request) -> None:
        """Tell of a transaction that ended without a commit."""
        if self._carrier is not None:
            self._carrier.withdrawn(request, "ROLLBACK")

    @property
    def name(self) -> str:
        """Which database this is now: another one after every coming back."""
        return self._name

    def give_back(self, raw: sqlite3.Connection) -> None:
        """Keep a connection for the next one who asks."""
        self._free.append(raw)

    def fill(self, source: sqlite3.Connection) -> None:
        """Make it a copy of another one."""
        source.backup(self.anchor)
        self._told = {}

    def remembered(self, part: str, tell: Callable[[], Any]) -> Any:
        """What is told of a part, asked for anew when something has changed since, whoever did it."""
        version = self.anchor.execute("PRAGMA data_version").fetchone()[0], self.anchor.total_changes
        known = self._told.get(part)
        if known is None or known[0] != version:
            known = self._told[part] = (version, tell())
        return known[1]

    def keep(self) -> Callable[[], None]:
        """Remember all that is in it; what is returned goes on with a copy of that, whoever holds the old one."""
        kept = sqlite3.connect(":memory:", check_same_thread=False)
        self.anchor.backup(kept)

        def back() -> None:
            self._name = _name()
            self._free = []
            self.anchor = self._open()
            self.fill(kept)

        return back

    def _open(self) -> sqlite3.Connection:
        raw = sqlite3.connect(self._name, uri=True, timeout=0, check_same_thread=False)
        # SQLite holds its functions where the garbage collector does not look, and they usually know the world, which
        # knows this: held weakly, it all goes with the scenario.
        alive = weakref.ref(self)
        for name in self._functions:
            raw.create_function(name, 0, functools.partial(_call, alive, name))
        return raw


def _name() -> str:
    return f"file:/kit-wire-{next(_numbers)}?vfs=memdb"


def _call(alive: weakref.ref[_Database], name: str) -> Any:
    database = alive()
    return None if database is None else database._functions[name]()


async def _nothing() -> None:
    """Wait for nothing."""


class _Cursor(sqlite3.Cursor):
    """SQLite's, called inline. SQLAlchemy takes a driver that never waits for one that blocks: so this waits a bit."""

    def execute(self, *arguments: Any) -> Self:
        """SQLite's."""
        await_only(_nothing())
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Self:
        """SQLite's."""
        await_only(_nothing())
        return super().executemany(*arguments)

    async def _async_soft_close(self) -> None:
        """What SQLAlchemy asks of an async driver's cursor once its rows have been read."""


class _Connection:
    """What SQLAlchemy takes for the driver's connection. Everything but the commit is SQLite's own, called inline."""

    def __init__(self, database: _Database, raw: sqlite3.Connection, request: Request | None) -> None:
        self._database = database
        self._name = database.name
        self._request = request
        self._raw = raw

    @property
    def isolation_level(self) -> str | None:
        """SQLite's."""
        return self._raw.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: str | None) -> None:
        self._raw.isolation_level = value  # type: ignore[assignment] # the driver's own type is narrower than its setter

    @property
    def in_transaction(self) -> bool:
        """SQLite's."""
        return self._raw.in_transaction

    def cursor(self) -> sqlite3.Cursor:
        """SQLite's."""
        return self._raw.cursor(_Cursor)

    def create_function(self, *arguments: Any, **options: Any) -> None:
        """SQLite's."""
        self._raw.create_function(*arguments, **options)

    def commit(self) -> None:
        """Commit: the request reaches the database, and its reply comes back."""
        request, self._request = self._request, None
        if request is None:
            self._raw.commit()
        else:
            await_only(self._database.commit(self._raw, request))

    def rollback(self) -> None:
        """SQLite's. Begun and not committed means that nothing happened."""
        self._raw.rollback()

    def close(self) -> None:
        """Give the connection back; what was not committed is gone.

        Of a scenario that was stopped, the garbage collector closes what was open, at any time: that is no business of
        the next scenario's.
        """
        self._raw.rollback()
        if self._name != self._database.name:
            self._raw.close()
            return
        if self._request is not None:
            self._database.rolled_back(self._request)
            self._request = None
        self._database.give_back(self._raw)

    terminate = close


class InlineDialect(SQLiteDialect_pysqlite):
    """SQLite's dialect over a connection that is called inline, for an async engine."""

    driver = "aiosqlite"
    is_async = True
    supports_statement_cache = True


_COMPILED: Final[dict[Any, Any]] = {}
"""Compiled statements, shared by the databases of all scenarios: compiling costs more than running."""


@functools.cache
def _dialect() -> InlineDialect:
    """One dialect for all: it has asked a database what it can do, which need not be asked again."""
    dialect = InlineDialect(dbapi=sqlite3)
    with Engine(_pool(lambda: sqlite3.connect(":memory:")), dialect, _URL).connect() as connection:
        dialect.initialize(connection)
    return dialect


def _pool(connect: Callable[[], Any]) -> pool.NullPool:
    """A pool that knows nothing of the event loop, for connections that never wait for one."""
    return pool.NullPool(connect)


_URL: Final = make_url("sqlite+aiosqlite://")
