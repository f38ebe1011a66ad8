"""A ticket booth in one file: the service that the tests of `kit rollback-check` change and roll back.

Each workflow is there for one change, which `test_rollback` makes in a copy: a harmless one, a patch, another order of
steps, a renamed field, and a result with one more field. The outside world is a table in a file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.contract import Token, Undo
from kit.ledger import SqliteLedger
from kit.testing.gates.rollback import Stage
from kit.testing.runs import Ending
from kit.worker import Connector, ReliabilityPlugin

PRICE = 500
DAY = timedelta(days=1)


class Order(BaseModel):
    """What a customer wants."""

    order_id: str


class Bill(BaseModel):
    """What a customer pays. A plain model: it takes any field, and makes up what is missing."""

    order_id: str
    amount: int = 0


class Ask(Model):
    """What every operation is asked."""

    order_id: str
    amount: int = PRICE


class Seat(Model):
    """A seat that is held."""

    order_id: str


class Stamp(Model):
    """What a stamped ticket says."""

    order_id: str


class Paid(Model):
    """The money is there."""

    order_id: str


BOOTH = Dependency(name="booth", owner="booth", settle=timedelta(0))
TIMEOUT = timedelta(seconds=5)

reserve = Operation(
    "seats.reserve", Ask, Seat, dependency=BOOTH, effect=Effect.REVERSIBLE, once=Once.by_key(ttl=DAY * 30),
    key="reserve:{order_id}", timeout=TIMEOUT,
)  # fmt: skip
stamp = Operation(
    "tickets.stamp", Ask, Stamp, dependency=BOOTH, effect=Effect.REVERSIBLE, once=Once.by_key(ttl=DAY * 30),
    key="stamp:{order_id}", timeout=TIMEOUT,
)  # fmt: skip
charge = Operation(
    "till.charge", Ask, Paid, dependency=BOOTH, effect=Effect.COMPENSATABLE, once=Once.by_key(ttl=DAY * 30),
    key="charge:{order_id}", timeout=TIMEOUT,
)  # fmt: skip


class Booth(Connector):
    """Does everything, in the table."""

    @reserve.action
    async def reserve(self, request: Ask, token: Token) -> Seat:
        write(token.key, request)
        return Seat(order_id=request.order_id)

    @reserve.compensation
    async def release(self, undo: Undo[Ask, Seat], token: Token) -> None:
        erase(token.key)

    @stamp.action
    async def stamp(self, request: Ask, token: Token) -> Stamp:
        write(token.key, request)
        return Stamp(order_id=request.order_id)

    @stamp.compensation
    async def unstamp(self, undo: Undo[Ask, Stamp], token: Token) -> None:
        erase(token.key)

    @charge.action
    async def charge(self, request: Ask, token: Token) -> Paid:
        write(token.key, request)
        return Paid(order_id=request.order_id)

    @charge.compensation
    async def refund(self, undo: Undo[Ask, Paid], token: Token) -> None:
        erase(token.key)


def write(key: str, request: Ask) -> None:
    """Have an effect, once."""
    with closing(sqlite3.connect(os.environ["BOOTH_DATABASE"], timeout=10)) as db, db:
        db.execute("INSERT OR IGNORE INTO effects VALUES (?, ?)", (key, request.amount))


def erase(key: str) -> None:
    """Undo an effect."""
    with closing(sqlite3.connect(os.environ["BOOTH_DATABASE"], timeout=10)) as db, db:
        db.execute("DELETE FROM effects WHERE key = ?", (key,))


@workflow.defn
class Harmless(SagaWorkflow, owner="booth"):
    """A seat, then the money."""

    @workflow.run
    async def run(self, order: Order) -> str:
        seat = await self.step(reserve, Ask(order_id=order.order_id))
        await self.pivot(charge, Ask(order_id=order.order_id))
        return seat.order_id


@workflow.defn
class Patched(SagaWorkflow, owner="booth"):
    """A seat, a stamp that comes with a patch, then the money."""

    @workflow.run
    async def run(self, order: Order) -> str:
        seat = await self.step(reserve, Ask(order_id=order.order_id))
        # the patch goes here
        await self.pivot(charge, Ask(order_id=order.order_id))
        return seat.order_id


@workflow.defn
class Reordered(SagaWorkflow, owner="booth"):
    """A seat and a stamp, one after the other, then the money."""

    @workflow.run
    async def run(self, order: Order) -> str:
        await self.step(reserve, Ask(order_id=order.order_id))
        await self.step(stamp, Ask(order_id=order.order_id))
        await self.pivot(charge, Ask(order_id=order.order_id))
        return order.order_id


@workflow.defn
class Renamed(SagaWorkflow, owner="booth"):
    """Charges what the bill says."""

    @workflow.run
    async def run(self, bill: Bill) -> str:
        await self.pivot(charge, Ask(order_id=bill.order_id, amount=bill.amount))
        return bill.order_id


@workflow.defn
class Stamped(SagaWorkflow, owner="booth"):
    """A seat, a stamp whose result has one more field, then the money."""

    @workflow.run
    async def run(self, order: Order) -> str:
        await self.step(stamp, Ask(order_id=order.order_id))
        await self.pivot(charge, Ask(order_id=order.order_id))
        return order.order_id


WORKFLOWS = (Harmless, Patched, Reordered, Renamed, Stamped)


class App:
    """Runs the worker."""

    async def work(self) -> int:
        plugin = ReliabilityPlugin(ledger=SqliteLedger(Path(os.environ["BOOTH_LEDGER"])), connectors=[Booth()])
        client = await Client.connect(os.environ["TEMPORAL_ADDRESS"], plugins=[plugin])
        await Worker(client, task_queue="booth", workflows=WORKFLOWS).run()
        return 0


APP = App()


class BoothStage(Stage):
    """The table in a file, and orders that go through."""

    scenarios: ClassVar = {cls.__name__: cls for cls in WORKFLOWS}

    def request(self, scenario: str, number: int) -> Order | Bill:
        if scenario == "Renamed":
            return Bill(order_id=f"order-{number}.", amount=PRICE)
        return Order(order_id=f"order-{number}.")

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Mapping[str, str]]:
        self.database = folder / "booth.db"
        with closing(sqlite3.connect(self.database)) as db, db:
            db.execute("CREATE TABLE effects (key TEXT PRIMARY KEY, amount INTEGER)")
        yield {"BOOTH_DATABASE": str(self.database), "BOOTH_LEDGER": str(folder / "effects.db")}

    async def check(self, scenario: str, number: int, ending: Ending) -> Iterable[str]:
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            found = db.execute("SELECT key, amount FROM effects WHERE key LIKE ?", (f"%:order-{number}.",)).fetchall()
        paid = sum(amount for key, amount in found if key.startswith("charge:"))
        if ending is Ending.COMPLETED and paid != PRICE:
            return [f"the ticket is sold, and {paid} of {PRICE} is paid"]
        if ending in (Ending.FAILED, Ending.COMPENSATED) and found:
            return [f"no ticket is sold, and there is {', '.join(sorted(key for key, _ in found))}"]
        return []


STAGE = BoothStage()
