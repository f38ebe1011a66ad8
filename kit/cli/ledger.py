"""``kit ledger``: prepare a database for the ledger, and read what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from kit.errors import DefinitionError
from kit.ledger import Entry, SqlLedger, current_revision, migrate, migration_sql
from kit.ledger.schema import SCHEMA_REVISION

ledger = App(name="ledger", help="Prepare a database for the ledger, and read what it says.")

Url = Annotated[str, Parameter(env_var="KIT_LEDGER_URL")]


@ledger.command(name="migrate")
async def migrate_database(url: Url, *, sql: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Bring a database to the schema this version needs. Repeating it is harmless.

    Args:
        url: ``sqlite:///path/to/file.db`` or ``postgresql://user@host/database``.
        sql: Print the SQL for a new database instead of running it. Then ``sqlite`` or ``postgresql`` is enough.
    """
    if sql:
        print(migration_sql(url), end="")
        return 0
    print(f"ledger schema is at revision {await migrate(url)}")
    return 0


@ledger.command
async def status(url: Url) -> int:
    """Say which schema a database has. The exit code is 0 if it is the one needed, else 1.

    Args:
        url: As for ``migrate``.
    """
    found = await current_revision(url)
    print(f"ledger schema: {found or 'none'}, needed: {SCHEMA_REVISION}")
    return 0 if found == SCHEMA_REVISION else 1


@ledger.command
async def show(key: str, *, url: Url) -> int:
    """Print the row of one key as JSON. The exit code is 1 when there is none.

    Args:
        key: The effect's key.
        url: As for ``migrate``.
    """
    await _require_ledger(url)
    async with SqlLedger(url) as opened:
        row = await opened.get(key)
    print(json.dumps(None if row is None else _plain(row), indent=2))
    return 0 if row else 1


@ledger.command
async def saga(workflow_id: str, *, url: Url) -> int:
    """Print every row of one workflow as JSON, by step.

    Args:
        workflow_id: The workflow's id.
        url: As for ``migrate``.
    """
    await _require_ledger(url)
    async with SqlLedger(url) as opened:
        rows = await opened.of_saga(workflow_id)
    print(json.dumps([_plain(row) for row in rows], indent=2))
    return 0


@ledger.command
async def purge(url: Url) -> int:
    """Delete the settled rows whose retention is over. What is claimed, unknown or being undone stays.

    Args:
        url: As for ``migrate``.
    """
    await _require_ledger(url)
    async with SqlLedger(url) as opened:
        gone = await opened.purge(datetime.now(UTC))
    print(f"purged {gone} rows")
    return 0


async def _require_ledger(url: str) -> None:
    """Opening a SQLite ledger makes the file: a command that reads must not."""
    if await current_revision(url) is None:
        raise DefinitionError(
            "ledger URL", rule=f"there is no ledger at {url!r}", fix="check the URL, or run `kit ledger migrate`"
        )


def _plain(row: Entry) -> dict[str, Any]:
    """The row as an operator reads it: times as text, documents as documents."""
    plain: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if isinstance(value, datetime):
            plain[name] = value.isoformat()
        elif isinstance(value, bytes):
            plain[name] = json.loads(value)
        else:
            plain[name] = value
    return plain
