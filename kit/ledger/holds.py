"""Where holds are kept: beside the ledger, with the history of who switched what on and off, and why.

A switch is a row that is added and never changed: a hold is on when the last switch of its scope and name says so. So a
switch is one statement, repeating it is harmless, and nothing has to be cleared up after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, Self, runtime_checkable

from kit.contract import Hold, HoldScope

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
