"""The schema: described once, migrated to, and checked before use."""

import asyncio
import sqlite3
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from kit.errors import DefinitionError, LedgerSchemaError, LedgerUnavailable
from kit.ledger import (
    MemoryLedger,
    PostgresLedger,
    SqliteLedger,
    SqlLedger,
    current_revision,
    migrate,
    migration_sql,
)
from kit.ledger.schema import SCHEMA_REVISION, VERSION_TABLE, metadata

migrate_module = import_module("kit.ledger.migrating")


def difference(connection: Connection) -> list[object]:
    """What alembic would still change."""
    options = {"version_table": VERSION_TABLE, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_newest_migration_is_the_one_needed() -> None:
    """The revision this version asks for is the head of the migrations in the wheel."""
    assert ScriptDirectory.from_config(migrate_module._config()).get_heads() == [SCHEMA_REVISION]


async def test_migrations_make_the_described_schema_on_sqlite(tmp_path: Path) -> None:
    """On SQLite the migrations and the description say the same."""
    await migrate(f"sqlite:///{tmp_path / 'ledger.db'}")

    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        assert difference(connection) == []


@pytest.mark.slow
async def test_migrations_make_the_described_schema_on_postgres(empty_postgres: str) -> None:
    """On PostgreSQL the migrations and the description say the same."""
    await migrate(empty_postgres)

    engine = create_async_engine(empty_postgres.replace("postgresql:", "postgresql+asyncpg:"), poolclass=NullPool)
    async with engine.connect() as connection:
        assert await connection.run_sync(difference) == []


async def test_migrating_tells_the_revision_and_may_be_repeated(tmp_path: Path) -> None:
    """A database goes from no revision to the newest, once."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    assert await current_revision(url) is None
    assert not (tmp_path / "ledger.db").exists()
    assert await migrate(url) == SCHEMA_REVISION
    assert await migrate(url) == SCHEMA_REVISION
    assert await current_revision(url) == SCHEMA_REVISION


async def test_sqlite_migrators_at_once_do_not_collide(tmp_path: Path) -> None:
    """Workers that start together on a new file all find it migrated."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    assert await asyncio.gather(*(migrate(url) for _ in range(4))) == [SCHEMA_REVISION] * 4


@pytest.mark.slow
async def test_postgres_migrators_at_once_do_not_collide(empty_postgres: str) -> None:
    """Deployments that migrate together all find the database migrated."""
    assert await current_revision(empty_postgres) is None

    assert await asyncio.gather(*(migrate(empty_postgres) for _ in range(3))) == [SCHEMA_REVISION] * 3
    assert await current_revision(empty_postgres) == SCHEMA_REVISION


@pytest.mark.parametrize("name", ["sqlite", "sqlite:///some.db"])
def test_printed_sql_makes_the_schema(name: str, tmp_path: Path) -> None:
    """The printed SQL, run by hand, makes the schema the migrations make."""
    sql = migration_sql(name).replace(" RETURNING kit_schema.version_num", "")
    file = sqlite3.connect(tmp_path / "ledger.db")
    file.executescript(sql)
    file.close()

    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        assert difference(connection) == []


def test_printed_sql_of_postgres_is_postgres() -> None:
    """The SQL for PostgreSQL has its types and its partial indexes."""
    sql = migration_sql("postgresql")

    assert "lease_until BIGINT" in sql
    assert "WHERE state IN ('claimed', 'undoing', 'unknown')" in sql


@pytest.mark.slow
async def test_postgres_without_schema_is_refused(empty_postgres: str) -> None:
    """Opening does not migrate a shared database: it says which command does."""
    with pytest.raises(LedgerSchemaError, match=r"no ledger schema.*kit ledger migrate"):
        await PostgresLedger(empty_postgres).open()


@pytest.mark.slow
async def test_newer_schema_is_refused(empty_postgres: str) -> None:
    """A database that a later version has migrated is neither used nor migrated."""
    import asyncpg

    await migrate(empty_postgres)
    connection = await asyncpg.connect(empty_postgres)
    await connection.execute("UPDATE kit_schema SET version_num = '9999'")
    await connection.close()

    with pytest.raises(LedgerSchemaError, match="'9999'"):
        await PostgresLedger(empty_postgres).open()
    with pytest.raises(LedgerSchemaError, match="'9999'"):
        await migrate(empty_postgres)


async def test_unreachable_databases_are_unavailable(tmp_path: Path) -> None:
    """A database that cannot be reached is named in the error."""
    with pytest.raises(LedgerUnavailable, match="missing"):
        await migrate(f"sqlite:///{tmp_path / 'missing' / 'ledger.db'}")
    with pytest.raises(LedgerUnavailable, match="cannot be used"):
        await migrate(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(LedgerUnavailable):
        await PostgresLedger(f"postgresql://nobody@/none?host={tmp_path}").open()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryLedger),
        ("sqlite:///ledger.db", SqliteLedger),
        ("sqlite+aiosqlite:///ledger.db", SqliteLedger),
        ("postgresql://me:secret@host/db", PostgresLedger),
        ("postgres://me@host/db", PostgresLedger),
        ("postgresql+asyncpg://me@host/db", PostgresLedger),
    ],
)
def test_url_names_the_ledger(url: str, kind: type) -> None:
    """The scheme of a URL says which ledger it is."""
    assert type(SqlLedger(url)) is kind


@pytest.mark.parametrize("url", ["mysql://host/db", "ledger.db", "redis://x", "memory:", ""])
def test_other_urls_are_refused(url: str) -> None:
    """A URL of anything else is refused, with its value and what to write instead."""
    with pytest.raises(DefinitionError) as caught:
        SqlLedger(url)

    assert repr(url) in str(caught.value)
    assert "sqlite:///" in caught.value.fix


def test_password_of_a_refused_url_is_not_shown() -> None:
    """The message about a URL hides its password."""
    with pytest.raises(DefinitionError) as caught:
        SqlLedger("mysql://me:secret@host/db")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(url: str) -> None:
    """A SQLite database in memory is no ledger."""
    with pytest.raises(DefinitionError, match="empty after every crash"):
        SqlLedger(url)


def test_sql_of_an_unknown_dialect_is_refused() -> None:
    """SQL is printed for the databases the ledger can live in, and no other."""
    with pytest.raises(DefinitionError, match="'oracle'"):
        migration_sql("oracle")


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asyncpg, a PostgreSQL ledger is refused when it is built, with what to install."""
    monkeypatch.setattr(migrate_module, "find_spec", lambda _: None)

    with pytest.raises(DefinitionError, match=r"asyncpg is not installed.*\[postgres\]"):
        PostgresLedger("postgresql://host/db")
