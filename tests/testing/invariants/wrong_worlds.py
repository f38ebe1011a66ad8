"""Connectors, ledgers and a provider that are wrong in one way each, in the world of the five steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kit import FailureKind, Refused
from kit.contract import Operation, Token, Undo
from kit.errors import OperationFailure
from kit.ledger import ClaimAction, Complete, Entry, MemoryLedger, Settled
from kit.ledger.states import Command, Verdict
from kit.testing import Truth, Wire
from kit.worker import Connector
from kit.worker.failures import Waiting
from tests.worlds.five_steps import Agency, Airline, Booked, Hotel, Trip, fly, sleep
from tests.worlds.office import Book, Office, declined


class Odd(Agency):
    """An agency one of whose connectors is another one."""

    def odd(self) -> Connector:
        """The other connector; it takes the place of the one for its operation."""
        raise NotImplementedError

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        odd = self.odd()
        return [odd if odd.handlers.keys() == each.handlers.keys() else each for each in super().connect()]

    def airline(self) -> Office:
        """The airline's office, on the wire."""
        return self._office(fly, once=False, safe=("find",))

    def hotel(self) -> Office:
        """The hotel's."""
        return self._office(sleep, once=True)


# -- connectors --------------------------------------------------------------------------------------------------------


class _Looking(Airline):
    @fly.action
    async def book(self, request: Trip, token: Token) -> Booked:
        await self._office.find(token.key)
        return Booked(id="airline.fly/1")


class OnlyLooks(Odd):
    """Says that it has booked, and has only looked."""

    def odd(self) -> Connector:
        """See base class."""
        return _Looking(self.airline())


class _Numbering(Hotel):
    @sleep.action
    async def take(self, request: Trip, token: Token) -> Booked:
        return Booked(id=await self._office.do(f"{token.key}~{token.attempt}"))


class NumbersItsKeys(Odd):
    """Sends another key with each attempt; its truth knows trips, whatever the key."""

    def odd(self) -> Connector:
        """See base class."""
        return _Numbering(self.hotel())

    async def truth(self) -> list[Truth]:
        """See base class."""
        return [replace(effect, key=effect.key.partition("~")[0]) for effect in await super().truth()]


def _deny(error: Exception) -> OperationFailure | None:
    return Refused(FailureKind.DECLINED, "no") if isinstance(error, ConnectionResetError) else None


class _DenyingAirline(Airline):
    def classify(self, error: Exception) -> OperationFailure | None:
        return _deny(error)


class DeniesSeats(Odd):
    """Takes a broken connection to the airline for a refusal."""

    def odd(self) -> Connector:
        """See base class."""
        return _DenyingAirline(self.airline())


class _DenyingHotel(Hotel):
    def classify(self, error: Exception) -> OperationFailure | None:
        return _deny(error)


class DeniesRooms(Odd):
    """Takes a broken connection to the hotel for a refusal."""

    def odd(self) -> Connector:
        """See base class."""
        return _DenyingHotel(self.hotel())


class _Patient(Hotel):
    def classify(self, error: Exception) -> OperationFailure | None:
        return Waiting(FailureKind.TIMEOUT, "later", retry_after=timedelta(seconds=1))


class CountsNothing(Odd):
    """Takes every failure for one that costs no attempt."""

    def odd(self) -> Connector:
        """See base class."""
        return _Patient(self.hotel())


class _Lazy(Hotel):
    @sleep.compensation
    async def give_up(self, undo: Undo[Trip, Booked], token: Token) -> None:
        await self._office.find(token.key)


class UndoesNothing(Odd):
    """Says that it has given the room up, and has only looked."""

    def odd(self) -> Connector:
        """See base class."""
        return _Lazy(self.hotel())


class _Unwilling(Hotel):
    @sleep.compensation
    async def give_up(self, undo: Undo[Trip, Booked], token: Token) -> None:
        raise Refused(FailureKind.FORBIDDEN, "never")


class NeverUndoes(Odd):
    """Refuses to give any room up."""

    def odd(self) -> Connector:
        """See base class."""
        return _Unwilling(self.hotel())


class _Bundling(Hotel):
    def __init__(self, office: Office, airline: Office) -> None:
        super().__init__(office)
        self._airline = airline

    @sleep.action
    async def take(self, request: Trip, token: Token) -> Booked:
        await self._airline.do(token.key)
        return Booked(id=await self._office.do(token.key))


class Bundles(Odd):
    """Books a seat along with the room, under the room's key."""

    def odd(self) -> Connector:
        """See base class."""
        return _Bundling(self.hotel(), self.airline())


# -- providers ---------------------------------------------------------------------------------------------------------


class Mumbles(Agency):
    """Its providers refuse in words that no connector knows."""

    def _office(self, operation: Operation[Any, Any], *, once: bool, safe: Sequence[str] = ()) -> Office:
        office = Office(self.book, operation.name, once=once)
        system = operation.dependency.name
        return self.wire.client(office, system=system, safe=safe, refused=lambda: RuntimeError("sorry"))


class _Full(Office):
    async def do(self, key: str) -> str:
        raise declined()


class SoldOut(Odd):
    """Has no seats."""

    def odd(self) -> Connector:
        """See base class."""
        return Airline(self.wire.client(_Full(Book(), fly.name, once=True), system="airline", refused=declined))


# -- ledgers -----------------------------------------------------------------------------------------------------------


class _Anonymous(MemoryLedger):
    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        if isinstance(command, ClaimAction):
            command = replace(command, entry=replace(command.entry, saga="somebody"))
        return await super().apply(command, expected=expected)


class Anonymous(Agency):
    """Its ledger does not write down whose effect it is."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.ledger = _Anonymous()


class _Forgetting(MemoryLedger):
    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        if isinstance(command, Complete) and expected is not None:
            return Settled(expected)
        return await super().apply(command, expected=expected)


class Forgetting(Agency):
    """Its ledger says that it has recorded a result, and has not."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.ledger = _Forgetting()


class _Selfish(MemoryLedger):
    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        verdict = await super().apply(command, expected=expected)
        row = await self.get(command.key)
        if row is not None and row.shared:
            self._rows[command.key] = replace(row, shared=())
        return verdict


class Selfish(Agency):
    """Its ledger does not write down that another run relies on an effect."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.ledger = _Selfish()
