"""A ledger in the memory of one process."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Self

from kit.ledger.holds import MemoryHolds
from kit.ledger.rules import decide
from kit.ledger.states import SETTLED_STATES, Command, Entry, Verdict


class MemoryLedger:
    """The rules without the storage: for tests, and for trying the kit out.

    Not durable: every row is gone with the process, and with it the knowledge of which effects happened. Not
    shared: two workers with a `MemoryLedger` each do not see one another. Everything else is as
    `kit.ledger.Ledger` promises; it may be used from several event loops and threads.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self.holds = MemoryHolds()

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing. The rows stay for as long as the object does."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command to the row of its key. ``expected`` has nothing to save here."""
        with self._lock:
            row, verdict = decide(self._rows.get(command.key), command)
            if row is not None:
                self._rows[row.key] = row
        return verdict

    async def get(self, key: str) -> Entry | None:
        """The row of one key."""
        return self._rows.get(key)

    async def of_saga(self, saga: str) -> list[Entry]:
        """All rows of one workflow id, by step, then key."""
        with self._lock:
            rows = [row for row in self._rows.values() if saga in row.sagas]
        return sorted(rows, key=lambda row: (row.step_of(saga), row.key))

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """The rows whose key begins with a prefix, by key."""
        with self._lock:
            keys = sorted(key for key in self._rows if key.startswith(prefix) and key > after)
            return [self._rows[key] for key in keys[:limit]]

    async def purge(self, now: datetime) -> int:
        """Delete the settled rows whose time is over; returns how many. See `kit.ledger.Ledger.purge`."""
        with self._lock:
            gone = [key for key, row in self._rows.items() if _expired(row, now)]
            for key in gone:
                del self._rows[key]
        return len(gone)


def _expired(row: Entry, now: datetime) -> bool:
    return row.state in SETTLED_STATES and row.expires_at is not None and row.expires_at <= now
