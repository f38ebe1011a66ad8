"""Holds in a SQL ledger's own database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from kit.contract import Hold, HoldGate, HoldScope
from kit.ledger._rows import from_micros, to_micros
from kit.ledger.holds import OVER_FOR, Switch
from kit.ledger.schema import HOLDS_TABLE

Ask = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]
"""Runs one statement with its values, in a transaction of its own, and returns the rows."""

_COLUMNS: Final = "scope, name, switched_on, who, reason, at, until, gates, accepts, undo"
_INSERT: Final = (  # only names and parameter marks of this module, here and below
    f"INSERT INTO {HOLDS_TABLE} ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id"  # noqa: S608
)
_ACTIVE: Final = (
    f"SELECT {_COLUMNS} FROM {HOLDS_TABLE} AS one WHERE switched_on AND (until IS NULL OR until > $1) "  # noqa: S608
    f"AND NOT EXISTS (SELECT 1 FROM {HOLDS_TABLE} AS later "
    "WHERE later.scope = one.scope AND later.name = one.name AND later.id > one.id) ORDER BY id"
)
_HISTORY: Final = f"SELECT {_COLUMNS} FROM {HOLDS_TABLE} ORDER BY id DESC LIMIT $1"  # noqa: S608


class SqlHolds:
    """Holds in a SQL ledger's own database. Made by the ledger: ``SqlLedger(url).holds``.

    Args:
        ask: Runs a statement whose parameters are written ``$1``, ``$2``, ...
        opening: Opens the database. Idempotent.
        closing: Closes it. Idempotent.
    """

    def __init__(
        self, ask: Ask, *, opening: Callable[[], Awaitable[None]], closing: Callable[[], Awaitable[None]]
    ) -> None:
        self._ask = ask
        self._opening = opening
        self._closing = closing

    async def open(self) -> None:
        """Open the ledger's database."""
        await self._opening()

    async def close(self) -> None:
        """Close the ledger's database."""
        await self._closing()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def switch_on(self, hold: Hold) -> None:
        """See `HoldStore.switch_on`."""
        gates = ",".join(sorted(hold.gates))
        until = to_micros(hold.until)
        said = (hold.who, hold.reason, to_micros(hold.since), until, gates, hold.accepts, hold.undo)
        await self._ask(_INSERT, (hold.scope.value, hold.name, True, *said))

    async def switch_off(self, scope: HoldScope, name: str, *, who: str, reason: str, at: datetime) -> Hold | None:
        """See `HoldStore.switch_off`. A switch that somebody else turns at the same time may be turned back by it."""
        found = next((hold for hold in await self.active() if (hold.scope, hold.name) == (scope, name)), None)
        if found is not None:
            said = (who, reason, to_micros(at), None, "", False, False)
            await self._ask(_INSERT, (scope.value, name, False, *said))
        return found

    async def active(self) -> list[Hold]:
        """See `HoldStore.active`."""
        rows = await self._ask(_ACTIVE, (to_micros(datetime.now(UTC) - OVER_FOR),))
        return [hold for row in rows if (hold := _switch(row).hold) is not None]

    async def history(self, *, limit: int = 100) -> list[Switch]:
        """See `HoldStore.history`."""
        return [_switch(row) for row in await self._ask(_HISTORY, (limit,))]


def _switch(row: Sequence[Any]) -> Switch:
    scope, name, on, who, reason, at, until, gates, accepts, undo = row
    began = from_micros(at)
    if began is None:
        raise AssertionError("a switch without an instant")
    hold = None
    if on:
        hold = Hold(
            scope=HoldScope(scope),
            name=name,
            reason=reason,
            who=who,
            since=began,
            until=from_micros(until),
            gates=frozenset(map(HoldGate, gates.split(","))),
            accepts=bool(accepts),
            undo=bool(undo),
        )
    return Switch(bool(on), HoldScope(scope), name, who, reason, began, hold)
