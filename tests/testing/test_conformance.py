"""The conformance check goes red for every way a connector can break its word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from kit.contract import (
    Dependency,
    Effect,
    FailureKind,
    FailureMap,
    Model,
    Once,
    Operation,
    Outcome,
    Token,
    Undo,
    not_started,
)
from kit.errors import DefinitionError, OutcomeUnknown, Refused
from kit.testing import ConformanceError, Fault, Promise, check_connector
from kit.worker.connector import Connector


class Book(Model):
    """Book a seat."""

    guest: str


class Seat(Model):
    """A booked seat."""

    number: int


class ProviderDownError(Exception):
    """What the provider raises when it cannot be reached."""


SEATS = Dependency(
    name="seats",
    owner="seats-team",
    settle=timedelta(hours=1),
    failures=FailureMap(classes={f"{__name__}.ProviderDownError": not_started(FailureKind.UNAVAILABLE)}),
)


def _operation(once: Once, effect: Effect = Effect.REVERSIBLE) -> Operation[Book, Seat]:
    return Operation(
        "seats.book",
        Book,
        Seat,
        dependency=SEATS,
        effect=effect,
        once=once,
        key="book:{guest}",
        timeout=timedelta(seconds=5),
    )


BY_KEY = _operation(Once.by_key(ttl=timedelta(days=30)))
BY_PROBE = _operation(Once.by_probe())
NEVER_TWICE = _operation(Once.never_twice(), Effect.IRREVERSIBLE)
LOOK = Operation("seats.look", Book, Seat, dependency=SEATS, effect=Effect.READ, timeout=timedelta(seconds=5))


@dataclass
class _Theatre:
    """A provider that knows keys and answers truthfully."""

    booked: dict[int, str] = field(default_factory=dict)
    seen: dict[str, Seat] = field(default_factory=dict)
    broken: bool = False
    total: int = 0

    async def standing(self) -> int:
        return len(self.booked)

    async def fail_next(self) -> None:
        self.broken = True

    def book(self, guest: str, key: str | None = None) -> Seat:
        if key in self.seen:
            return self.seen[key]
        self.total += 1
        self.booked[self.total] = guest
        seat = Seat(number=self.total)
        if key is not None:
            self.seen[key] = seat
        return seat

    def find(self, guest: str) -> Seat | None:
        return next((Seat(number=number) for number, name in self.booked.items() if name == guest), None)


class _Booking(Connector):
    """Keeps every promise."""

    def __init__(self, theatre: _Theatre) -> None:
        self.theatre = theatre

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        if self.theatre.broken:
            self.theatre.broken = False
            await self.fail(request, token)
        return self.theatre.book(request.guest, token.key)

    @BY_KEY.compensation
    async def cancel(self, undo: Undo[Book, Seat], token: Token) -> None:
        self.theatre.booked.pop(undo.result.number, None)

    @BY_KEY.probe
    async def find(self, request: Book, token: Token) -> Seat | None:
        return self.theatre.find(request.guest)

    async def fail(self, request: Book, token: Token) -> None:
        raise ProviderDownError


DOWN = (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)


def _faults_of(theatre: _Theatre, kind: FailureKind, outcome: Outcome) -> list[Fault]:
    return [Fault(theatre.fail_next, Book(guest="Bob"), kind, outcome)]


async def test_a_connector_that_keeps_its_word_passes() -> None:
    """The report lists the promises that were checked, and nothing is left at the provider."""
    theatre = _Theatre()

    report = await check_connector(
        _Booking(theatre), BY_KEY, Book(guest="Ann"), oracle=theatre.standing, faults=_faults_of(theatre, *DOWN)
    )

    assert report.operation == "seats.book"
    assert report.kept == (
        Promise.PROBE_BEFORE,
        Promise.UNDO_BEFORE,
        Promise.ONE_EFFECT,
        Promise.PROBE_AFTER,
        Promise.RESOLVED,
        Promise.RECORDED,
        Promise.KEY_HONOURED,
        Promise.UNDO_AFTER,
        Promise.PROBE_UNDONE,
        Promise.UNDO_TWICE,
        Promise.UNDO_FORGOTTEN,
        Promise.CLASSIFIED,
        Promise.CLEAN,
    )
    assert report.faults == 1
    assert theatre.booked == {}


async def test_a_lost_reply_is_followed_up_and_undone() -> None:
    """A fault of unknown outcome must leave one effect after the next attempt, which the undo takes away."""
    theatre = _Theatre()

    class _LosesReply(_Booking):
        async def fail(self, request: Book, token: Token) -> None:
            self.theatre.book(request.guest, token.key)
            raise OutcomeUnknown(FailureKind.TIMEOUT, "the reply was lost")

    faults = _faults_of(theatre, FailureKind.TIMEOUT, Outcome.UNKNOWN)
    report = await check_connector(
        _LosesReply(theatre), BY_KEY, Book(guest="Ann"), oracle=theatre.standing, faults=faults
    )

    assert report.faults == 1
    assert theatre.booked == {}


# -- connectors that break one promise each ------------------------------------------------------------------------


class _ProbeSeesTheFuture(_Booking):
    """Its probe finds what has not happened."""

    @BY_KEY.probe
    async def find(self, request: Book, token: Token) -> Seat | None:
        return Seat(number=1)


class _ProbeIsBlind(_Booking):
    """Its probe never finds anything."""

    @BY_KEY.probe
    async def find(self, request: Book, token: Token) -> Seat | None:
        return None


class _ProbeFindsAnother(_Booking):
    """Its probe finds another seat than the one that was booked."""

    @BY_KEY.probe
    async def find(self, request: Book, token: Token) -> Seat | None:
        found = self.theatre.find(request.guest)
        return found and Seat(number=found.number + 1)


class _ProbeRemembers(_Booking):
    """Its probe still finds what was undone."""

    @BY_KEY.probe
    async def find(self, request: Book, token: Token) -> Seat | None:
        return self.theatre.seen.get(token.key)


class _IgnoresKey(_Booking):
    """Does not send its key."""

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        return self.theatre.book(request.guest)


class _DoesNothing(_Booking):
    """Reports an effect it did not have."""

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        return Seat(number=1)


class _DoesTwice(_Booking):
    """Retries below the guard."""

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        self.theatre.book(request.guest)
        return self.theatre.book(request.guest, token.key)


class _Fails(_Booking):
    """Never succeeds."""

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        raise Refused(FailureKind.DECLINED, "no")


class _IsDown(_Booking):
    """Cannot be reached."""

    @BY_KEY.action
    async def book(self, request: Book, token: Token) -> Seat:
        raise ProviderDownError("gone")


class _UndoForgets(_Booking):
    """Its undo leaves the effect."""

    @BY_KEY.compensation
    async def cancel(self, undo: Undo[Book, Seat], token: Token) -> None:
        return None


class _UndoFailsTwice(_Booking):
    """Its undo fails when there is nothing left to undo."""

    @BY_KEY.compensation
    async def cancel(self, undo: Undo[Book, Seat], token: Token) -> None:
        del self.theatre.booked[undo.result.number]


class _UndoTrustsItsKey(_Booking):
    """Its undo is safe twice only as long as the provider remembers the key."""

    @BY_KEY.compensation
    async def cancel(self, undo: Undo[Book, Seat], token: Token) -> None:
        if token.key not in self.theatre.seen:
            self.theatre.seen[token.key] = undo.result
            del self.theatre.booked[undo.result.number]


@pytest.mark.parametrize(
    ("broken", "promise", "found"),
    [
        (_ProbeSeesTheFuture, Promise.PROBE_BEFORE, "expected None, found Seat(number=1)"),
        (_ProbeIsBlind, Promise.PROBE_AFTER, "expected Seat(number=1), found None"),
        (_ProbeFindsAnother, Promise.PROBE_AFTER, "expected Seat(number=1), found Seat(number=2)"),
        (_ProbeRemembers, Promise.PROBE_UNDONE, "expected None, found Seat(number=1)"),
        (_IgnoresKey, Promise.RESOLVED, "expected Seat(number=1), found Seat(number=2)"),
        (_DoesNothing, Promise.ONE_EFFECT, "expected 1, found 0"),
        (_DoesTwice, Promise.ONE_EFFECT, "expected 1, found 2"),
        (_Fails, Promise.ONE_EFFECT, "the action failed: seats.declined: seats.book: no (declined). No effect."),
        (
            _IsDown,
            Promise.ONE_EFFECT,
            "the action failed: seats.unavailable: seats.book: ProviderDownError: gone (unavailable). "
            "Nothing was started.",
        ),
        (_UndoForgets, Promise.UNDO_AFTER, "expected 0, found 1"),
        (_UndoFailsTwice, Promise.UNDO_TWICE, "it raised KeyError(1)"),
        (_UndoTrustsItsKey, Promise.UNDO_FORGOTTEN, "it raised KeyError(1)"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_a_broken_promise_is_named(broken: type[_Booking], promise: Promise, found: str) -> None:
    """The error names the operation, the broken promise and what was found."""
    theatre = _Theatre()

    with pytest.raises(ConformanceError) as raised:
        await check_connector(broken(theatre), BY_KEY, Book(guest="Ann"), oracle=theatre.standing)

    assert raised.value.promise is promise
    assert str(raised.value) == f"seats.book: broken promise: {promise.value}; {found}"


class _SaysClean(_Booking):
    """Has its effect and says that nothing was started."""

    async def fail(self, request: Book, token: Token) -> None:
        self.theatre.book(request.guest, token.key)
        raise ProviderDownError


class _SaysBug(_Booking):
    """Raises what nobody classified."""

    async def fail(self, request: Book, token: Token) -> None:
        raise RuntimeError("what?")


class _DoesNotFail(_Booking):
    """Swallows the failure."""

    async def fail(self, request: Book, token: Token) -> None:
        return None


@pytest.mark.parametrize(
    ("broken", "promise", "found"),
    [
        (_SaysClean, Promise.CLEAN, "expected 0, found 1"),
        (
            _SaysBug,
            Promise.CLASSIFIED,
            "expected unavailable, not_started; found bug, unknown: "
            "seats.bug: seats.book: RuntimeError: what? (RuntimeError). It may have happened.",
        ),
        (_DoesNotFail, Promise.CLASSIFIED, "expected unavailable, not_started; found no failure"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
async def test_a_failure_that_is_read_wrongly_is_named(broken: type[_Booking], promise: Promise, found: str) -> None:
    """A fault must come out with the declared kind and outcome, and clean must mean clean."""
    theatre = _Theatre()
    faults = _faults_of(theatre, *DOWN)

    with pytest.raises(ConformanceError) as raised:
        await check_connector(broken(theatre), BY_KEY, Book(guest="Ann"), oracle=theatre.standing, faults=faults)

    assert str(raised.value) == f"seats.book: broken promise: {promise.value}; {found}"


async def test_a_lost_reply_that_is_repeated_is_named() -> None:
    """A BY_PROBE connector whose probe misses a late effect repeats it, and is caught."""
    theatre = _Theatre()

    class Blind(Connector):
        lies = False

        @BY_PROBE.action
        async def book(self, request: Book, token: Token) -> Seat:
            seat = theatre.book(request.guest)
            if theatre.broken:
                theatre.broken = False
                self.lies = True
                raise OutcomeUnknown(FailureKind.TIMEOUT, "the reply was lost")
            return seat

        @BY_PROBE.compensation
        async def cancel(self, undo: Undo[Book, Seat], token: Token) -> None:
            theatre.booked.pop(undo.result.number, None)

        @BY_PROBE.probe
        async def find(self, request: Book, token: Token) -> Seat | None:
            return None if self.lies else theatre.find(request.guest)

    faults = _faults_of(theatre, FailureKind.TIMEOUT, Outcome.UNKNOWN)

    with pytest.raises(ConformanceError, match=r"the next attempt leaves one effect.*expected 1, found 2") as raised:
        await check_connector(Blind(), BY_PROBE, Book(guest="Ann"), oracle=theatre.standing, faults=faults)

    assert raised.value.promise is Promise.RESOLVED


# -- the other kinds of operation ----------------------------------------------------------------------------------


async def test_never_twice_asks_a_person_and_promises_no_undo() -> None:
    """After a lost reply a NEVER_TWICE operation is not repeated."""
    theatre = _Theatre()

    class Letters(Connector):
        @NEVER_TWICE.action
        async def send(self, request: Book, token: Token) -> Seat:
            return theatre.book(request.guest)

    report = await check_connector(Letters(), NEVER_TWICE, Book(guest="Ann"), oracle=theatre.standing)

    assert report.kept == (Promise.UNDO_BEFORE, Promise.ONE_EFFECT, Promise.ASKS_PERSON)


def _looking(theatre: _Theatre, look: Callable[[str], Seat]) -> Connector:
    class Looks(Connector):
        @LOOK.action
        async def look(self, request: Book, token: Token) -> Seat:
            return look(request.guest)

    return Looks()


async def test_a_read_changes_nothing() -> None:
    """A READ is checked for changing nothing, and for nothing else."""
    theatre = _Theatre()

    report = await check_connector(
        _looking(theatre, lambda guest: Seat(number=1)), LOOK, Book(guest="Ann"), oracle=theatre.standing
    )

    assert report.kept == (Promise.READS_ONLY,)


async def test_a_read_that_writes_is_named() -> None:
    """A READ with an effect breaks its promise."""
    theatre = _Theatre()

    with pytest.raises(ConformanceError, match=r"a READ changes nothing; expected 0, found 1"):
        await check_connector(_looking(theatre, theatre.book), LOOK, Book(guest="Ann"), oracle=theatre.standing)


# -- what cannot be checked ----------------------------------------------------------------------------------------


async def test_an_operation_the_connector_does_not_serve_is_refused() -> None:
    """The error names what the connector serves."""
    theatre = _Theatre()

    with pytest.raises(DefinitionError) as raised:
        await check_connector(_Booking(theatre), LOOK, Book(guest="Ann"), oracle=theatre.standing)

    assert str(raised.value) == (
        "connector '_Booking': it does not serve 'seats.look'. Fix: check what it serves: seats.book."
    )


async def test_a_transaction_needs_a_database() -> None:
    """A BY_TRANSACTION operation cannot be checked without the database it writes to."""
    by_transaction = _operation(Once.by_transaction(), Effect.IRREVERSIBLE)
    theatre = _Theatre()

    class Homeless(Connector):
        @by_transaction.action
        async def book(self, request: Book, token: Token, tx: object) -> Seat:
            return theatre.book(request.guest)

    with pytest.raises(DefinitionError) as raised:
        await check_connector(Homeless(), by_transaction, Book(guest="Ann"), oracle=theatre.standing)

    assert str(raised.value) == (
        "connector 'Homeless': it has no database, and 'seats.book' is BY_TRANSACTION. "
        "Fix: set its attribute 'database' to a kit.ledger.TransactionalLedger."
    )
