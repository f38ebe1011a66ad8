"""What every ledger promises."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, Self

from kit.ledger.states import Command, Entry, Verdict


class Ledger(Protocol):
    """The durable record of every effect.

    Guarantees of every implementation: `apply` is atomic and linearizable per key; when it has returned, the
    answer survives the death of the process and, for the SQL ledgers, of the machine. It decides by
    `kit.ledger.rules.decide` and by nothing else. Not guaranteed: anything about several keys together.

    Raises everywhere:
        LedgerUnavailable: The store did not answer. The command may or may not have been applied; repeating
        it is safe.
    """

    async def open(self) -> None:
        """Connect and check the schema. Idempotent.

        Raises:
            LedgerSchemaError: The schema is missing or older than this version needs.
        """
        ...

    async def close(self) -> None:
        """Finish what was asked for and disconnect. Idempotent."""
        ...

    async def __aenter__(self) -> Self:
        """Open."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        ...

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """Apply one command to the row of its key.

        Args:
            command: What is asked.
            expected: The row as the caller last saw it, a hint that saves a read. It is never trusted: a
                store that writes on its word compares and swaps, and decides anew when the row has moved on.
        """
        ...

    async def get(self, key: str) -> Entry | None:
        """The row of one key."""
        ...

    async def of_saga(self, saga: str) -> list[Entry]:
        """All rows of one workflow id, by step, then key: its effects, and those it shares with another's."""
        ...

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """The rows whose key begins with a prefix, by key.

        Args:
            prefix: What a key template begins with, such as ``"receipt:"``.
            after: The last key of the page before; empty for the first page.
            limit: The most rows wanted.
        """
        ...

    async def purge(self, now: datetime) -> int:
        """Delete the rows whose ``expires_at`` has come, and return how many there were.

        Only settled rows go. What is claimed, unknown or being undone stays for ever: deleting it would let
        an effect that may have happened happen again.
        """
        ...
