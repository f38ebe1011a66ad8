"""A small world for sagas: a travel agency whose provider writes down every effect itself.

The record of the provider is the oracle: what a test believes about the world is read there, never from the kit.
Every call can be scripted: each name (``hotel.book``, ``hotel.book.undo``, ``hotel.book.probe``) has a queue of
`Fault`; a call that finds its queue empty succeeds.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from kit import (
    Dependency,
    Effect,
    FailureKind,
    Model,
    NotStarted,
    Once,
    Operation,
    OutcomeUnknown,
    Refused,
    Token,
    Undo,
)
from kit.ledger import MemoryLedger
from kit.ledger.states import Command, Entry, State, Verdict
from kit.worker import Connector, ReliabilityPlugin

TIMEOUT: Final = timedelta(seconds=5)
SETTLE: Final = timedelta(seconds=30)


# --- contracts ----------------------------------------------------------------------------------------------------


class Ask(Model):
    """What every operation is asked."""

    id: str
    note: str = ""


class Booked(Model):
    """What most operations give."""

    id: str


AGENCY: Final = Dependency(
    name="agency", owner="travel-team", settle=SETTLE, breaker=None, runbook="https://runbooks.test/agency"
)


def operation(
    name: str,
    *,
    effect: Effect = Effect.COMPENSATABLE,
    once: Once | None = None,
    result: Any = Booked,
    local: bool = False,
    runbook: str | None = None,
    editable: tuple[str, ...] = (),
) -> Operation[Any, Any]:
    """An operation of the agency. Its key is its first word and the id of what is asked."""
    word = name.partition(".")[0]
    return Operation(
        name,
        Ask,
        result,
        dependency=AGENCY,
        effect=effect,
        once=None if effect is Effect.READ else once or Once.by_key(ttl=timedelta(days=2)),
        key=None if effect is Effect.READ else f"{word}:{{id}}",
        timeout=TIMEOUT,
        summary=f"{name.partition('.')[2].capitalize()} the {word} of {{id}}",
        runbook=runbook,
        local=local,
        editable=editable,
    )


flight: Operation[Ask, Booked] = operation("flight.book")
hotel: Operation[Ask, Booked] = operation("hotel.book", once=Once.by_probe(), editable=("note",))
car: Operation[Ask, Booked] = operation("car.book", effect=Effect.REVERSIBLE)
card: Operation[Ask, Booked] = operation("card.charge", editable=("note",))
prices: Operation[Ask, Booked] = operation("prices.read", effect=Effect.READ)
visa: Operation[Ask, Booked] = operation("visa.file", effect=Effect.RECONCILABLE, once=Once.by_probe())
fax: Operation[Ask, Booked] = operation("fax.send", once=Once.never_twice(), editable=("note",))
diary: Operation[Ask, Booked] = operation("diary.note", local=True, once=Once.by_state())
mail: Operation[Ask, None] = operation("mail.send", effect=Effect.IRREVERSIBLE, result=None, editable=("id", "note"))
letter: Operation[Ask, None] = operation("letter.send", effect=Effect.IRREVERSIBLE, result=None)

OPERATIONS: Final[dict[str, Operation[Any, Any]]] = {
    each.name.partition(".")[0]: each for each in (flight, hotel, car, card, prices, visa, fax, diary, mail, letter)
}


# --- what can go wrong --------------------------------------------------------------------------------------------


class Gate:
    """Holds one call: the test sees it arrive, and lets it go on."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Wait until the call is here."""
        await asyncio.wait_for(self._reached.wait(), 60)

    def open(self) -> None:
        """Let the call go on."""
        self._opened.set()

    async def hold(self, *, deaf: bool = False) -> None:
        """Stand still. ``deaf``: and do not hear a cancellation, as a blocked thread would not."""
        self._reached.set()
        while not self._opened.is_set():
            try:
                await self._opened.wait()
            except asyncio.CancelledError:
                if not deaf:
                    raise


@dataclass(frozen=True)
class Fault:
    """What one call does.

    Attributes:
        gate: Holds the call before its effect.
        deaf: It does not hear a cancellation while held.
        before: Raised before the effect.
        after: Raised after it.
        after_gate: Holds the call after its effect.
    """

    gate: Gate | None = None
    deaf: bool = False
    before: Exception | None = None
    after: Exception | None = None
    after_gate: Gate | None = None


def declined() -> Fault:
    """A definite no."""
    return Fault(before=Refused(FailureKind.DECLINED, "no", reason="card_declined"))


def unsent(*, retry_after: timedelta | None = None) -> Fault:
    """Nobody listens: nothing has happened, and it passes."""
    return Fault(before=NotStarted(FailureKind.UNAVAILABLE, "nobody listens", retry_after=retry_after))


def lost() -> Fault:
    """It happens, and the reply is lost."""
    return Fault(after=OutcomeUnknown(FailureKind.TIMEOUT, "the reply was lost"))


def vanished() -> Fault:
    """It does not happen, and nobody knows."""
    return Fault(before=OutcomeUnknown(FailureKind.TIMEOUT, "neither arrived nor answered"))


def bug() -> Fault:
    """Something nobody has classified."""
    return Fault(before=KeyError("amount"))


def held(gate: Gate, *, deaf: bool = False, before: Exception | None = None) -> Fault:
    """The call stands still before its effect."""
    return Fault(gate=gate, deaf=deaf, before=before)


# --- the provider -------------------------------------------------------------------------------------------------


class Provider:
    """Every external system at once. It honours keys for ever and writes down each effect, live or taken back."""

    def __init__(self) -> None:
        self.story: list[str] = []
        """What really happened, in order: ``+hotel:1``, ``-hotel:1``."""
        self.calls: Counter[str] = Counter()
        self.tokens: list[Token] = []
        self._written = asyncio.Event()
        self._faults: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._live: Counter[str] = Counter()

    def script(self, call: str, *faults: Fault) -> None:
        """What the next calls of one name do."""
        self._faults.setdefault(call, deque()).extend(faults)

    def always(self, call: str, fault: Fault | None) -> None:
        """What every call of one name does that finds no script; ``None``: succeed."""
        if fault is None:
            self._always.pop(call, None)
        else:
            self._always[call] = fault

    @property
    def live(self) -> dict[str, int]:
        """How many effects of each key are there now: the truth."""
        return {key: number for key, number in sorted(self._live.items()) if number}

    async def happens(self, line: str) -> None:
        """Wait until the story has a line."""
        while line not in self.story:
            self._written.clear()
            await asyncio.wait_for(self._written.wait(), 60)

    def _write(self, line: str) -> None:
        self.story.append(line)
        self._written.set()

    async def act(self, call: str, token: Token) -> Booked:
        """Have an effect, once per key."""

        def effect() -> None:
            if not self._live[token.key]:
                self._live[token.key] += 1
                self._write(f"+{token.key}")

        await self._play(call, token, effect)
        return Booked(id=f"{token.key}!")

    async def undo(self, call: str, token: Token) -> None:
        """Take an effect back; nothing is fine too."""
        key = token.key.removesuffix(":undo")

        def effect() -> None:
            if self._live[key]:
                self._live[key] -= 1
                self._write(f"-{key}")

        await self._play(call, token, effect)

    async def find(self, call: str, token: Token) -> Booked | None:
        """Look an effect up."""
        await self._play(call, token, lambda: None)
        return Booked(id=f"{token.key}!") if self._live[token.key] else None

    async def _play(self, call: str, token: Token, effect: Callable[[], None]) -> None:
        self.calls[call] += 1
        self.tokens.append(token)
        script = self._faults.get(call)
        fault = script.popleft() if script else self._always.get(call, Fault())
        if fault.gate is not None:
            await fault.gate.hold(deaf=fault.deaf)
        if fault.before is not None:
            raise fault.before
        effect()
        if fault.after_gate is not None:
            await fault.after_gate.hold(deaf=fault.deaf)
        if fault.after is not None:
            raise fault.after


# --- the connector ------------------------------------------------------------------------------------------------


def _agency(served: Operation[Any, Any]) -> type[Connector]:
    """A connector class for one operation, with everything its contract demands."""
    name = served.name

    class Agency(Connector):
        def __init__(self, provider: Provider) -> None:
            self.provider = provider

        @served.action
        async def act(self, request: Ask, token: Token) -> Any:
            done = await self.provider.act(name, token)
            return None if served in (mail, letter) else done

        if served.effect.undoable:

            @served.compensation
            async def take_back(self, undo: Undo[Ask, Booked], token: Token) -> None:
                await self.provider.undo(served.undo_name, token)

        if served.once == Once.by_probe():

            @served.probe
            async def find(self, request: Ask, token: Token) -> Booked | None:
                return await self.provider.find(f"{name}.probe", token)

    return Agency


AGENCIES: Final = tuple(_agency(each) for each in OPERATIONS.values())
"""The connectors of all operations, one each."""


class Ledger(MemoryLedger):
    """A ledger in memory that a test can hold, or break, at one kind of command."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[str, Gate] = {}
        self._broken: Counter[str] = Counter()

    def fail(self, command: str, *, times: int) -> None:
        """Fail at the next commands of one kind, in a way nobody knows."""
        self._broken[command] = times

    def hold(self, command: str) -> Gate:
        """Hold the next command of one kind before it is applied."""
        gate = self._gates[command] = Gate()
        return gate

    def ascribe(self, saga: str, *, to: str) -> None:
        """Make one workflow id's effects another's: one of which the server has not heard, or has forgotten."""
        mine = [row for row in self._rows.values() if row.saga == saga]
        self._rows |= {row.key: replace(row, saga=to) for row in mine}

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        kind = type(command).__name__
        if self._broken[kind]:
            self._broken[kind] -= 1
            raise RuntimeError("the disk is on fire")
        gate = self._gates.pop(kind, None)
        if gate is not None:
            await gate.hold()
        return await super().apply(command, expected=expected)


@dataclass
class World:
    """One test's provider and ledger, and the plugin that brings them to a worker."""

    provider: Provider = field(default_factory=Provider)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        """Build the plugin."""
        self.plugin = self.new_plugin()

    def new_plugin(self) -> ReliabilityPlugin:
        """Another worker's plugin over the same provider and ledger."""
        connectors: list[Any] = [agency(self.provider) for agency in AGENCIES]  # type: ignore[call-arg]
        return ReliabilityPlugin(ledger=self.ledger, connectors=connectors)

    async def rows(self, saga: str) -> dict[str, State]:
        """What the ledger says of one run's effects."""
        return {row.key: row.state for row in await self.ledger.of_saga(saga)}
