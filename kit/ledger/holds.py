"""Where holds are kept: beside the ledger, with the history of who switched what on and off, and why.

A switch is a row that is added and never changed: a hold is on when the last switch of its scope and name says so. So a
switch is one statement, repeating it is harmless, and nothing has to be cleared up after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, Self, runtime_checkable

from kit.contract import Hold, HoldGate, HoldScope
from kit.ledger._rows import from_micros, to_micros
from kit.ledger.schema import HOLDS_TABLE

OVER_FOR: Final = timedelta(days=1)
"""A hold that ended by itself longer ago than this is not read any more. Whether one has ended is decided by whoever it
would stop, on their own clock; clocks do not differ by this much."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One turn of a hold's switch.

    Attributes:
        on: Whether it was switched on; else off.
        scope: Of the hold.
        name: Of the hold.
        who: Who did it.
        reason: Why.
        at: When, by their clock.
        hold: What was switched on; ``None`` when it was switched off.
    """

    on: bool
    scope: HoldScope
    name: str
    who: str
    reason: str
    at: datetime
    hold: Hold | None


class HoldStore(Protocol):
    """What every place that keeps holds promises.

    Raises everywhere:
        LedgerUnavailable: The store did not answer. The switch may or may not have been turned; repeating is safe.
    """

    async def open(self) -> None:
        """Connect. Idempotent.

        Raises:
            LedgerSchemaError: The schema is missing or older than this version needs.
        """
        ...

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        ...

    async def __aenter__(self) -> Self:
        """Open."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        ...

    async def switch_on(self, hold: Hold) -> None:
        """Switch a hold on. Of two on the same scope and name the later counts: so its terms are changed."""
        ...

    async def switch_off(self, scope: HoldScope, name: str, *, who: str, reason: str, at: datetime) -> Hold | None:
        """Switch a hold off. Returns it, or ``None`` when none was on."""
        ...

    async def active(self) -> list[Hold]:
        """The holds that are on, oldest first; also those that have ended by themselves not long ago."""
        ...

    async def history(self, *, limit: int = 100) -> list[Switch]:
        """The last switches, newest first."""
        ...


@runtime_checkable
class KeepsHolds(Protocol):
    """A ledger that has a place for holds beside its rows."""

    @property
    def holds(self) -> HoldStore:
        """The place."""
        ...


def holds_of(ledger: object) -> HoldStore | None:
    """The place for holds beside a ledger's rows; ``None`` where it has none."""
    return ledger.holds if isinstance(ledger, KeepsHolds) else None


class MemoryHolds:
    """Holds in the memory of one process: for tests. May be used from several event loops and threads."""

    def __init__(self) -> None:
        self._switches: list[Switch] = []
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing. The holds stay for as long as the object does."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def switch_on(self, hold: Hold) -> None:
        """See `HoldStore.switch_on`."""
        with self._lock:
            self._switches.append(Switch(True, hold.scope, hold.name, hold.who, hold.reason, hold.since, hold))

    async def switch_off(self, scope: HoldScope, name: str, *, who: str, reason: str, at: datetime) -> Hold | None:
        """See `HoldStore.switch_off`."""
        with self._lock:
            hold = _last(self._switches).get((scope, name))
            if hold is not None:
                self._switches.append(Switch(False, scope, name, who, reason, at, None))
        return hold

    async def active(self) -> list[Hold]:
        """See `HoldStore.active`."""
        with self._lock:
            return list(_last(self._switches).values())

    async def history(self, *, limit: int = 100) -> list[Switch]:
        """See `HoldStore.history`."""
        with self._lock:
            return self._switches[: -limit - 1 : -1]


def _last(switches: Sequence[Switch]) -> dict[tuple[HoldScope, str], Hold]:
    """The holds that are on after all these switches."""
    on: dict[tuple[HoldScope, str], Hold] = {}
    for switch in switches:
        on.pop((switch.scope, switch.name), None)
        if switch.hold is not None:
            on[switch.scope, switch.name] = switch.hold
    return on


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
