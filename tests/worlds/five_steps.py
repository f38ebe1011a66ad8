"""A saga of five steps with one of each once-strategy: by probe, by state, by transaction, by key, never twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.contract import SQL_FAILURES, Token, Undo
from kit.ledger import TransactionalLedger
from kit.testing.runs import Truth
from kit.testing.wire import Wire
from kit.testing.wire.sql import SqlTemplate
from kit.testing.world import Subject, World
from kit.worker import Connector
from kit.workflow import Task
from tests.worlds.office import Book, Office, declined

SETTLE: Final = timedelta(seconds=3)
AIRLINE: Final = Dependency(name="airline", owner="travel", settle=SETTLE, breaker=None)
HOTEL: Final = Dependency(name="hotel", owner="travel", settle=SETTLE, breaker=None)
DESK: Final = Dependency(
    name="desk", owner="travel", settle=timedelta(0), failures=SQL_FAILURES, breaker=None, runbook="ask the desk"
)
BANK: Final = Dependency(name="bank", owner="money", settle=SETTLE, breaker=None)
POST: Final = Dependency(name="post", owner="travel", settle=SETTLE, breaker=None)


class Trip(Model):
    """One trip."""

    trip: str


class Booked(Model):
    """How whoever booked it calls it."""

    id: str


def _operation(name: str, dependency: Dependency, effect: Effect, once: Once) -> Operation[Trip, Booked]:
    key = f"{name.replace('.', '-')}:{{trip}}"
    return Operation(
        name, Trip, Booked, dependency=dependency, effect=effect, once=once, key=key, timeout=timedelta(seconds=10)
    )


fly = _operation("airline.fly", AIRLINE, Effect.REVERSIBLE, Once.by_probe())
sleep = _operation("hotel.sleep", HOTEL, Effect.REVERSIBLE, Once.by_state())
file = _operation("desk.file", DESK, Effect.REVERSIBLE, Once.by_transaction())
pay = _operation("bank.pay", BANK, Effect.COMPENSATABLE, Once.by_key(ttl=timedelta(hours=24)))
post = _operation("post.send", POST, Effect.IRREVERSIBLE, Once.never_twice())


class Airline(Connector):
    """Knows no keys, and finds what it booked."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @fly.action
    async def book(self, request: Trip, token: Token) -> Booked:
        """Book a seat."""
        return Booked(id=await self._office.do(token.key))

    @fly.compensation
    async def cancel(self, undo: Undo[Trip, Booked], token: Token) -> None:
        """Cancel it."""
        await self._office.take_back(undo.result.id)

    @fly.probe
    async def find(self, request: Trip, token: Token) -> Booked | None:
        """The seat that is booked."""
        found = await self._office.find(token.key)
        return None if found is None else Booked(id=found)


class Hotel(Connector):
    """A room is free, taken, or given up: it cannot be taken twice."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @sleep.action
    async def take(self, request: Trip, token: Token) -> Booked:
        """Take the room."""
        return Booked(id=await self._office.do(token.key))

    @sleep.compensation
    async def give_up(self, undo: Undo[Trip, Booked], token: Token) -> None:
        """Give it up."""
        await self._office.take_back(undo.result.id)


class Desk(Connector):
    """The agency's own database."""

    def __init__(self, database: TransactionalLedger) -> None:
        self.database = database

    @file.action
    async def file(self, request: Trip, token: Token, tx: AsyncConnection) -> Booked:
        """File the trip."""
        await tx.exec_driver_sql("INSERT INTO trips (id, status, place) VALUES (?, 'filed', place())", (request.trip,))
        return Booked(id=request.trip)

    @file.compensation
    async def strike(self, undo: Undo[Trip, Booked], token: Token, tx: AsyncConnection) -> None:
        """Strike it out."""
        await tx.exec_driver_sql("UPDATE trips SET status = 'struck' WHERE id = ?", (undo.request.trip,))


class Bank(Connector):
    """Honours keys."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @pay.action
    async def pay(self, request: Trip, token: Token) -> Booked:
        """Pay."""
        return Booked(id=await self._office.do(token.key))

    @pay.compensation
    async def refund(self, undo: Undo[Trip, Booked], token: Token) -> None:
        """Give the money back."""
        await self._office.take_back(undo.result.id)


class Post(Connector):
    """Takes letters, and knows nothing of them afterwards."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @post.action
    async def send(self, request: Trip, token: Token) -> Booked:
        """Send the papers."""
        return Booked(id=await self._office.do(token.key))


@workflow.defn
class BookTrip(SagaWorkflow, owner="travel", deadline=timedelta(minutes=30)):
    """Seat and room, the file, the payment; then the papers are sent."""

    @workflow.run
    async def run(self, trip: Trip) -> str:
        """Book one trip."""
        await self.step(fly, trip)
        await self.step(sleep, trip)
        await self.step(file, trip)
        paid = await self.pivot(pay, trip)
        self.after_commit(post, trip)
        return paid.id


async def _build(engine: AsyncEngine) -> None:
    async with engine.begin() as tx:
        await tx.exec_driver_sql("CREATE TABLE trips (id TEXT PRIMARY KEY, status TEXT, place INTEGER)")
    await TransactionalLedger(engine).create_schema()


DATABASE: Final = SqlTemplate(_build)


class Agency(World):
    """An airline, a hotel, a bank, the post, and the agency's own desk."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.book = Book()
        self.engine = wire.sql(system="desk", functions={"place": self.book.place})

    async def open(self) -> None:
        """Set the desk up."""
        await DATABASE.copy_to(self.engine)

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        return [
            Airline(self._office(fly, once=False, safe=("find",))),
            Hotel(self._office(sleep, once=True)),
            Desk(TransactionalLedger(self.engine)),
            Bank(self._office(pay, once=True)),
            Post(self._office(post, once=False)),
        ]

    async def truth(self) -> list[Truth]:
        """See base class."""
        filed = [
            Truth("desk", file.name, f"desk-file:{trip}", status == "filed", place, f"the file of {trip} is {status}")
            for trip, status, place in self.engine.rows("SELECT id, status, place FROM trips")
        ]
        return sorted([*self.book.truth("agency"), *filed], key=lambda effect: effect.order)

    async def found(self, task: Task, key: str) -> Booked | None:
        """The papers, at the traveller's."""
        found = next((deed.id for deed in self.book.of(key) if deed.live), None)
        return None if found is None else Booked(id=found)

    async def state(self) -> bytes:
        """See base class."""
        return repr(self.book).encode() + self.engine.dump()

    def _office(self, operation: Operation[Any, Any], *, once: bool, safe: Sequence[str] = ()) -> Office:
        office = Office(self.book, operation.name, once=once)
        return self.wire.client(office, system=operation.dependency.name, safe=safe, refused=declined)


FIVE_STEPS: Final[Subject] = Subject(workflow=BookTrip, request=Trip(trip="rome"), world=Agency)
"""Five steps, as a sweep takes them."""
