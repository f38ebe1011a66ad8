"""The smallest saga that has everything a sweep is about: a step that is looked up and undone, and a pivot by key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.contract import Token, Undo
from kit.testing.runs import Truth
from kit.testing.wire import Wire
from kit.testing.world import Subject, World
from kit.worker import Connector
from tests.worlds.office import Book, Office, declined

STALL: Final = Dependency(name="stall", owner="market", settle=timedelta(seconds=2), breaker=None)


class Sale(Model):
    """Sell one thing."""

    thing: str


class Receipt(Model):
    """How the stall calls what it did."""

    id: str


lay_aside = Operation(
    "stall.lay_aside",
    Sale,
    Receipt,
    dependency=STALL,
    effect=Effect.REVERSIBLE,
    once=Once.by_probe(),
    key="lay-aside:{thing}",
    timeout=timedelta(seconds=10),
)
charge = Operation(
    "stall.charge",
    Sale,
    Receipt,
    dependency=STALL,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=timedelta(hours=24)),
    key="charge:{thing}",
    timeout=timedelta(seconds=10),
)


class Stall(Connector):
    """Lays aside, and charges."""

    def __init__(self, shelf: Office, till: Office) -> None:
        self._shelf = shelf
        self._till = till

    @lay_aside.action
    async def lay_aside(self, request: Sale, token: Token) -> Receipt:
        """Lay the thing aside."""
        return Receipt(id=await self._shelf.do(token.key))

    @lay_aside.compensation
    async def put_back(self, undo: Undo[Sale, Receipt], token: Token) -> None:
        """Put it back."""
        await self._shelf.take_back(undo.result.id)

    @lay_aside.probe
    async def find(self, request: Sale, token: Token) -> Receipt | None:
        """Whether it lies aside."""
        found = await self._shelf.find(token.key)
        return None if found is None else Receipt(id=found)

    @charge.action
    async def charge(self, request: Sale, token: Token) -> Receipt:
        """Take the money."""
        return Receipt(id=await self._till.do(token.key))

    @charge.compensation
    async def give_back(self, undo: Undo[Sale, Receipt], token: Token) -> None:
        """Give it back."""
        await self._till.take_back(undo.result.id)


@workflow.defn
class Sell(SagaWorkflow, owner="market", deadline=timedelta(minutes=10)):
    """Lay aside, then charge."""

    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Sell one thing."""
        await self.step(lay_aside, sale)
        receipt = await self.pivot(charge, sale)
        return receipt.id


class Market(World):
    """One stall."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.book = Book()

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        shelf = Office(self.book, lay_aside.name, once=False)
        till = Office(self.book, charge.name, once=True)
        return [
            Stall(
                self.wire.client(shelf, system="shelf", safe=("find",), refused=declined),
                self.wire.client(till, system="till", refused=declined),
            )
        ]

    async def truth(self) -> list[Truth]:
        """See base class."""
        return self.book.truth("stall")

    async def state(self) -> bytes:
        """See base class."""
        return repr(self.book).encode()


TWO_STEPS: Final[Subject] = Subject(workflow=Sell, request=Sale(thing="lamp"), world=Market)
"""Two steps, as a sweep takes them."""
