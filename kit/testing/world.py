"""The external systems of one scenario, and what they know to be true."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel

from kit import contract
from kit.errors import DefinitionError
from kit.ledger import Entry, Ledger, MemoryLedger
from kit.testing.faults import FaultKind
from kit.testing.naming import imported, where
from kit.testing.runs import Ending, Run, Truth
from kit.testing.wire import Wire
from kit.worker import Connector
from kit.workflow import EntityWorkflow, Task


class World(ABC):
    """Fresh providers and the connectors to them, for one scenario.

    ::

        class TripWorld(World):
            def connect(self) -> Sequence[Connector]:
                self.airline = Airline()
                return [AirlineConnector(self.wire.client(self.airline, system="airline"))]

            async def truth(self) -> list[Truth]:
                return [Truth("airline", book_seat.name, f"seat:{seat.trip}") for seat in self.airline.seats]

    A subclass builds real connectors on transports of the wire (`Wire.http`, `Wire.sql`, ...), so that every request
    passes where faults strike, and says from the providers' own records what is true. It uses no sockets, no threads
    and no clock of its own: then one seed gives one run.

    Args:
        wire: Where every request of the scenario passes.
    """

    _connected: tuple[Connector, ...] | None = None

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ledger: Ledger = MemoryLedger()

    async def open(self) -> None:  # noqa: B027 - many a world needs nothing
        """Bring everything into the state before the run: an open cart, some stock."""

    async def close(self) -> None:  # noqa: B027 - as above
        """Give back what `open` took."""

    def connect(self) -> Sequence[Connector]:
        """Build the connectors of the service's worker, on the wire; called once."""
        raise DefinitionError(
            f"world {type(self).__name__!r}",
            rule="it has no connectors, so nothing would carry the workflow's operations out",
            fix="override connect() and return the service's connectors, each on a transport of self.wire",
        )

    @property
    def connectors(self) -> Sequence[Connector]:
        """What `connect` built: the same objects each time.

        Raises:
            DefinitionError: It built something else than connectors.
        """
        if self._connected is None:
            built: object = self.connect()
            connected = [one for one in built if isinstance(one, Connector)] if isinstance(built, Sequence) else []
            if not isinstance(built, Sequence) or len(connected) < len(built):
                raise DefinitionError(
                    f"world {type(self).__name__!r}",
                    rule=f"its connect() gave {built!r}, which is no sequence of connectors",
                    fix="return [MyConnector(...), ...]: objects, not classes, also when there is only one",
                )
            self._connected = tuple(connected)
        return self._connected

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
            has ended; `Run.ending` tells which. Of a request that was started twice the run that decides is given: the
            one that completed, else one that still waits. One that asks for the way that led there (`Run.seen`, the
            attempts of a row) is answered, and makes a sweep slower: every scenario is then run to its end. Of
            `Run.scenario` it may ask whether anything was to go wrong, and not what: one run stands for all that come
            to the same.
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
        invariants: The user's own, besides the built-in ones: rules over the world and the run, and the live ones that
            reconciliations check (`kit.contract.Invariant`), which are asked through the world's connectors.
        previous: The same workflow as the previous version wrote it, for hand-overs.
        others: Further workflows the worker must have, such as children.
        ending: How the run ends when nothing goes wrong but what the world itself does: a world that has sold out, to
            see that its runs are compensated under every fault.
        approves: Whether the person of its scenarios approves what they are asked to approve, or rejects it.

    Raises:
        DefinitionError: The workflow does not take the request, the world cannot be built, or what stands among the
            invariants is none.
    """

    workflow: type
    request: Any
    world: Callable[[Wire], World]
    invariants: tuple[Invariant | contract.Invariant, ...] = ()
    previous: type | None = None
    others: tuple[type, ...] = ()
    ending: Ending = Ending.COMPLETED
    approves: bool = True

    def __post_init__(self) -> None:
        """Refuse what no engine could run."""
        if not callable(self.world):
            raise self._refuse(
                f"world={self.world!r} is no class and no function",
                "pass the class itself: every scenario builds a world of its own",
            )
        wanted = _request_of(self.workflow)
        if wanted is not None and not isinstance(self.request, wanted):
            raise self._refuse(
                f"request={self.request!r} is a {type(self.request).__name__}, and its run takes a {wanted.__name__}",
                f"pass a {wanted.__name__}",
            )
        given: object = self.invariants
        invariants: Sequence[object] = given if isinstance(given, Sequence) else (given,)
        for invariant in invariants:
            if not isinstance(invariant, Invariant | contract.Invariant):
                raise self._refuse(
                    f"{invariant!r}, among its invariants, is none",
                    "wrap the function: Invariant('an order is paid once', paid_once)",
                )
        object.__setattr__(self, "invariants", tuple(invariants))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Another process imports it where it is defined: its parts need not be picklable then."""
        found = where(self)
        return super().__reduce_ex__(protocol) if found is None else (imported, found)

    def build(self, wire: Wire) -> World:
        """Build the world of one scenario.

        Raises:
            DefinitionError: What ``world`` builds is no world.
        """
        if issubclass(self.workflow, EntityWorkflow):
            # An entity is its workflow id: started again under it, it is the same; under another, it is another one.
            wire.without = frozenset({FaultKind.STARTED_AGAIN})
        built = self.world(wire)
        if not isinstance(built, World):
            raise self._refuse(f"its world builds {built!r}", "return an object of a subclass of kit.testing.World")
        return built

    def _refuse(self, rule: str, fix: str) -> DefinitionError:
        return DefinitionError(f"subject {getattr(self.workflow, '__name__', self.workflow)!r}", rule=rule, fix=fix)


def _request_of(workflow: type) -> type | None:
    """The class of what a workflow's run takes; ``None`` where its signature names none that can be checked."""
    run = getattr(workflow, "run", None)
    if run is None:
        return None
    names = list(inspect.signature(run).parameters)[1:]
    try:
        hint = get_type_hints(run).get(names[0]) if names else None
    except NameError:  # the worker says so, with more to say about it
        return None
    if not isinstance(hint, type):
        return None
    return hint if issubclass(hint, BaseModel | str | int) or is_dataclass(hint) else None


async def truth_of(world: World) -> tuple[Truth, ...]:
    """A world's truth, checked: whoever looks for an effect must be able to find it.

    Raises:
        DefinitionError: It is no list of `Truth`, or tells of operations that nobody there carries out.
    """
    name = f"truth of {type(world).__name__}"
    told: object = await world.truth()
    if not isinstance(told, Sequence) or not all(isinstance(effect, Truth) for effect in told):
        raise DefinitionError(
            name, rule=f"it is {told!r}", fix="return a list of kit.testing.Truth, one for each effect, or []"
        )
    effects: tuple[Truth, ...] = tuple(told)
    known = {operation for each in world.connectors for operation in each.handlers}
    for effect in effects:
        if effect.operation not in known:
            raise DefinitionError(
                name,
                rule=f"{effect} is an effect of {effect.operation!r}, which no connector of the world carries out",
                fix=f"give the operation's name, one of: {', '.join(sorted(known))}",
            )
    return effects
