"""The external systems of one scenario, and what they know to be true."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kit.ledger import Entry, Ledger, MemoryLedger
from kit.testing.runs import Run, Truth
from kit.testing.wire import Wire
from kit.worker import Connector
from kit.workflow import Task


class World(ABC):
    """Fresh providers and the connectors to them, for one scenario.

    A subclass builds real connectors on transports of the wire (`Wire.http`, `Wire.sql`, ...), so that every request
    passes where faults strike, and says from the providers' own records what is true. It uses no sockets, no threads and
    no clock of its own: then one seed gives one run.

    Args:
        wire: Where every request of the scenario passes.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ledger: Ledger = MemoryLedger()

    async def open(self) -> None:
        """Bring everything into the state before the run: an open cart, some stock."""

    async def close(self) -> None:
        """Give back what `open` took."""

    @property
    @abstractmethod
    def connectors(self) -> Sequence[Connector]:
        """The connectors of the service's worker; the same objects each time."""

    @abstractmethod
    async def truth(self) -> list[Truth]:
        """What the providers did, by their own records, oldest first."""

    async def found(self, task: Task, key: str) -> Any | None:
        """What a person finds who looks into the external system for an effect that no machine can look up.

        Asked where ``retry`` would say that it did not happen: only a person can know, and looks first.

        Args:
            task: What they are asked.
            key: The idempotency key of the step that it is about.

        Returns:
            The operation's result, which the person then supplies; ``None`` where they cannot tell it.
        """
        return None

    async def state(self) -> bytes | None:
        """All that the providers' later answers and their truth depend on, so that equal states have equal futures.

        A record that no answer depends on, such as a log of requests, is left out. With ``None``, the default, nothing
        is known, and a sweep runs every scenario to its end.
        """
        return None

    async def rows(self, *workflow_ids: str) -> list[Entry]:
        """What the ledgers know of these runs: the effect ledger, and the one in every connector's own database."""
        databases = {id(found): found for c in self.connectors if (found := c.database) is not None}
        ledgers: list[Ledger] = [self.ledger, *databases.values()]
        rows: list[Entry] = []
        for ledger in ledgers:
            # A row that several runs share is one row.
            held = {entry.key: entry for saga in workflow_ids for entry in await ledger.of_saga(saga)}
            rows.extend(held.values())
        return rows


@dataclass(frozen=True)
class Invariant:
    """A business rule over a world and a run.

    Attributes:
        name: What is said when it does not hold, such as "a cancelled order has no live charge".
        check: Yields one sentence, with the values, for each thing that is wrong. Asked when the run parks and when it
            has ended; `Run.ending` tells which.
    """

    name: str
    check: Callable[[Any, Run], Awaitable[Iterable[str]] | Iterable[str]]


@dataclass(frozen=True)
class Subject:
    """What is put under faults.

    Attributes:
        workflow: The workflow class.
        request: Its argument.
        world: Builds the world of one scenario. Importable (a class, or a function of a module), so that a scenario can
            run in another process.
        invariants: The user's own, besides the built-in ones.
        previous: The same workflow as the previous version wrote it, for hand-overs.
        others: Further workflows the worker must have, such as children.
    """

    workflow: type
    request: Any
    world: Callable[[Wire], World]
    invariants: tuple[Invariant, ...] = ()
    previous: type | None = None
    others: tuple[type, ...] = ()
