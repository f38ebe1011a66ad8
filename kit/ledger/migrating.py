"""Bring a database to the ledger's schema, or print how.

The migrations travel in the wheel. PostgreSQL needs no second driver: they run on the asyncpg connection.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from kit.errors import DefinitionError, LedgerSchemaError, LedgerUnavailable
from kit.ledger.schema import SCHEMA_REVISION, VERSION_TABLE

MIGRATE_COMMAND = "kit ledger migrate"

_REVISION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - our own constant
"""What alembic wrote down. Our migrations have no branches, so it is one row."""

_ADVISORY_LOCK = 0x6B69746C65646765
"""PostgreSQL's advisory lock of the migrators: "kitledge" in ASCII."""

_alembic = threading.Lock()
# alembic keeps the running migration in module globals: one at a time in a process.
_WAIT = 0.01  # seconds between two looks at that lock from an event loop, which must not block


async def migrate(url: str) -> str:
    """Bring the database to the schema this version needs, and return its revision.

    Safe to run from several processes at once and again and again.

    Args:
        url: As for `kit.ledger.SqlLedger`.

    Raises:
        DefinitionError: The URL names no database the ledger can live in.
        LedgerUnavailable: The database did not answer.
        LedgerSchemaError: The database is newer than this version of the kit.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return await asyncio.to_thread(migrate_file, str(parsed.database))
    async with _postgres(parsed) as connection:
        return await upgrade(connection)


def migrate_file(path: str) -> str:
    """`migrate` for a SQLite file, from a thread that may block."""
    with _sqlite(path, begin="BEGIN IMMEDIATE") as connection, _alembic:
        return _upgrade(connection)


async def upgrade(connection: AsyncConnection) -> str:
    """`migrate` on an open connection, within its transaction."""
    while not _alembic.acquire(blocking=False):  # noqa: ASYNC110 - the holder may be in another thread
        await asyncio.sleep(_WAIT)
    try:
        return await connection.run_sync(_upgrade)
    finally:
        _alembic.release()


async def current_revision(url: str) -> str | None:
    """The revision the database is at; ``None`` when it has never seen the ledger.

    Raises:
        DefinitionError: The URL names no database the ledger can live in.
        LedgerUnavailable: The database did not answer.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return await asyncio.to_thread(revision_of_file, str(parsed.database))
    async with _postgres(parsed) as connection:
        return await connection.run_sync(revision_of)


def revision_of_file(path: str) -> str | None:
    """`current_revision` of a SQLite file, from a thread that may block. Makes no file."""
    if not Path(path).exists():
        return None
    with _sqlite(path, begin="BEGIN") as connection:
        return revision_of(connection)


def migration_sql(url_or_dialect: str) -> str:
    """The SQL that creates the schema, for a database that has never seen the ledger.

    Args:
        url_or_dialect: ``"postgresql"``, ``"sqlite"``, or a URL of one of them.

    Raises:
        DefinitionError: It is neither.
    """
    dialect = url_or_dialect if ":" not in url_or_dialect else parse_url(url_or_dialect).get_backend_name()
    if dialect not in _DIALECTS:
        raise _no_database(url_or_dialect)
    text = io.StringIO()
    config = _config(output=text)
    config.attributes["dialect"] = dialect
    with _alembic:
        command.upgrade(config, "head", sql=True)
    return text.getvalue()


def _upgrade(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    found = revision_of(connection)
    check_known(found)
    if found != SCHEMA_REVISION:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return SCHEMA_REVISION


def revision_of(connection: Connection) -> str | None:
    """The revision over an open connection; ``None`` where there has never been a ledger."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    found: str | None = connection.exec_driver_sql(_REVISION).scalar()
    return found


def check_known(found: str | None) -> None:
    """Refuse a schema that a later version of the kit has made."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise LedgerSchemaError(
            f"the ledger's schema is at revision {found!r}, which this version of the kit does not know; "
            f"it knows up to {SCHEMA_REVISION!r}. Upgrade the kit"
        )


def check_current(found: str | None, where: str) -> None:
    """Refuse any schema but the one this version needs.

    Raises:
        LedgerSchemaError: With what to do about it.
    """
    if found == SCHEMA_REVISION:
        return
    check_known(found)
    state = "has no ledger schema" if found is None else f"is at ledger schema {found!r}"
    raise LedgerSchemaError(f"{where} {state}, needed is {SCHEMA_REVISION!r}: run `{MIGRATE_COMMAND}`")


def require_asyncpg() -> None:
    """Refuse to begin without the driver, which is an extra of the wheel."""
    if find_spec("asyncpg") is None:
        raise DefinitionError(
            "ledger on PostgreSQL",
            rule="asyncpg is not installed",
            fix="install 'workflow-reliability-kit[postgres]'",
        )


def parse_url(url: str) -> URL:
    """The URL, checked.

    Raises:
        DefinitionError: Not a URL, or not of a database the ledger can live in.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise _no_database(url) from None
    if parsed.drivername not in _DRIVERS:
        raise _no_database(parsed.render_as_string(hide_password=True))
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise DefinitionError(
            "ledger URL",
            rule=f"{url!r} is a database in memory, which is empty after every crash",
            fix="name a file, as in 'sqlite:///ledger.db', or say 'memory://' for a test",
        )
    return parsed


_DIALECTS = ("postgresql", "sqlite")
_DRIVERS = frozenset(
    {
        "sqlite",
        "sqlite+pysqlite",
        "sqlite+aiosqlite",
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
    }
)


@contextmanager
def _sqlite(path: str, *, begin: str) -> Iterator[Connection]:
    """A transaction that really begins where it says: left alone, the driver commits each DDL statement."""
    engine = sa.create_engine(URL.create("sqlite", database=path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(begin)
            yield connection
            connection.commit()
    except DBAPIError as exc:
        raise LedgerUnavailable(f"the ledger's file {path!r} cannot be used: {exc.orig}") from exc
    finally:
        engine.dispose()


@asynccontextmanager
async def _postgres(url: URL) -> AsyncIterator[AsyncConnection]:
    require_asyncpg()
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            yield connection
    except (DBAPIError, OSError) as exc:
        where = url.render_as_string(hide_password=True)
        raise LedgerUnavailable(f"the ledger's database {where} cannot be used: {exc}") from exc
    finally:
        await engine.dispose()


def _no_database(value: str) -> DefinitionError:
    return DefinitionError(
        "ledger URL",
        rule=f"{value!r} names no database the ledger can live in",
        fix="use 'sqlite:///path/to/file.db', 'postgresql://user@host/database', or 'memory://' for a test",
    )


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output)
    here = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", here.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
