"""asyncpg, which only a ledger on PostgreSQL needs: an extra of the wheel."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kit.errors import DefinitionError, LedgerUnavailable
from kit.ledger.migrating import check_current
from kit.ledger.schema import VERSION_TABLE

if TYPE_CHECKING:
    import asyncpg

FAILED: tuple[type[Exception], ...] = (OSError, TimeoutError)
"""Everything the driver raises when the database did not do its work."""

BAD_DATA: tuple[type[Exception], ...] = (ValueError,)  # the driver's own, before anything was sent
"""What says that a row cannot be stored; the connection is as good as before."""

try:
    import asyncpg as _driver
except ModuleNotFoundError:
    _driver = None  # type: ignore[assignment] # `PostgresLedger` says so when it is built
else:
    FAILED += (_driver.PostgresError, _driver.InterfaceError, _driver.InternalClientError)
    BAD_DATA += (
        _driver.DataError,
        _driver.IntegrityConstraintViolationError,
        _driver.ProgramLimitExceededError,  # a key too long for its index
    )


async def connect(dsn: str, *, timeout: float) -> asyncpg.Connection[Any]:
    """A connection to a database that is durable and at the right schema.

    Args:
        dsn: Where.
        timeout: Seconds, for connecting and then for each statement.

    Raises:
        LedgerUnavailable: No connection.
        LedgerSchemaError: Not the schema this version needs.
        DefinitionError: The server does not wait for its disk.
    """
    try:
        connection: asyncpg.Connection[Any] = await _driver.connect(dsn, timeout=timeout, command_timeout=timeout)
        try:
            await _check(connection)
        except BaseException:
            await disconnect(connection)
            raise
    except FAILED as exc:
        raise unavailable(exc) from exc
    return connection


async def disconnect(connection: asyncpg.Connection[Any] | None) -> None:
    """Say goodbye if the server still listens, else hang up."""
    if connection is None:
        return
    with suppress(*FAILED):
        await connection.close(timeout=1)
        return
    connection.terminate()


def unavailable(exc: BaseException) -> LedgerUnavailable:
    """The ledger's word for it."""
    error = LedgerUnavailable(f"the ledger's database did not do its work: {exc!r}")
    error.__cause__ = exc
    return error


async def _check(connection: asyncpg.Connection[Any]) -> None:
    if await connection.fetchval("SELECT current_setting('synchronous_commit')") == "off":
        raise DefinitionError(
            "PostgresLedger",
            rule="the server has synchronous_commit = 'off': it answers before its disk has the row",
            fix="set synchronous_commit = 'on' for the ledger's user or database",
        )
    there = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", VERSION_TABLE)
    statement = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - our own constant
    check_current(await connection.fetchval(statement) if there else None, "the database")
