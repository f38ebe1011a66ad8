"""The ledger that a URL names."""

from __future__ import annotations

from kit.ledger.memory import MemoryLedger
from kit.ledger.migrating import parse_url
from kit.ledger.postgres import PostgresLedger
from kit.ledger.sqlite import SqliteLedger


def SqlLedger(url: str) -> MemoryLedger | SqliteLedger | PostgresLedger:  # noqa: N802 - reads as what it makes
    """The ledger for a URL.

    ==============================================  ====================
    ``sqlite:///file.db``, ``sqlite+aiosqlite://``  `SqliteLedger`
    ``postgresql://``, ``postgresql+asyncpg://``    `PostgresLedger`
    ``memory://``                                   `MemoryLedger`: for tests, nothing is kept
    ==============================================  ====================

    Raises:
        DefinitionError: The URL names none of them.
    """
    if url == "memory://":
        return MemoryLedger()
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteLedger(str(parsed.database))
    return PostgresLedger(parsed.set(drivername="postgresql").render_as_string(hide_password=False))
