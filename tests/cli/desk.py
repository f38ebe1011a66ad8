"""A small service with its world. Tests copy this file, whole or with a line changed, and run `kit verify` on it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.contract import Token, Undo
from kit.errors import FailureKind, Refused
from kit.testing import Subject, Truth, Wire, World
from kit.worker import Connector

DESK = Dependency(name="desk", owner="desk-team", settle=timedelta(seconds=1))


class Ask(Model):
    """Who comes to the desk."""

    id: str


class Answer(Model):
    """What the desk wrote down."""

    number: int


def _operation(name: str) -> Operation[Ask, Answer]:
    return Operation(
        f"desk.{name}",
        Ask,
        Answer,
        dependency=DESK,
        effect=Effect.COMPENSATABLE,
        once=Once.by_probe(),
        key=f"{name}:{{id}}",
        timeout=timedelta(seconds=10),
    )


hold, pay = _operation("hold"), _operation("pay")


class Desk:
    """The provider, with its own records."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.gone: set[str] = set()

    async def do(self, what: str, key: str) -> int:
        """Write something down."""
        self.log.append((what, key))
        return len(self.log)

    async def find(self, key: str) -> int | None:
        """Look something up."""
        numbers = [number for number, (_, known) in enumerate(self.log, 1) if known == key and key not in self.gone]
        return numbers[0] if numbers else None

    async def take_back(self, key: str) -> None:
        """Strike it out."""
        self.gone.add(key)


class DeskConnector(Connector):
    """Carries both operations out."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @hold.action
    async def hold(self, request: Ask, token: Token) -> Answer:
        """Hold."""
        return Answer(number=await self.desk.do("desk.hold", token.key))

    @hold.probe
    async def find_hold(self, request: Ask, token: Token) -> Answer | None:
        """Look the hold up."""
        return await self._find(token)

    @hold.compensation
    async def release(self, undo: Undo[Ask, Answer], token: Token) -> None:
        """Let go."""
        await self.desk.take_back(f"hold:{undo.request.id}")

    @pay.action
    async def pay(self, request: Ask, token: Token) -> Answer:
        """Pay."""
        return Answer(number=await self.desk.do("desk.pay", token.key))

    @pay.probe
    async def find_pay(self, request: Ask, token: Token) -> Answer | None:
        """Look the payment up."""
        return await self._find(token)

    @pay.compensation
    async def refund(self, undo: Undo[Ask, Answer], token: Token) -> None:
        """Give it back."""
        await self.desk.take_back(f"pay:{undo.request.id}")

    async def _find(self, token: Token) -> Answer | None:
        number = await self.desk.find(token.key)
        return None if number is None else Answer(number=number)


class DeskWorld(World):
    """One desk."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.desk = Desk()
        client = wire.client(
            self.desk, system="desk", safe=("find",), refused=lambda: Refused(FailureKind.DECLINED, "not today")
        )
        self._connectors = (DeskConnector(client),)

    @property
    def connectors(self) -> tuple[Connector, ...]:
        """See base class."""
        return self._connectors

    async def truth(self) -> list[Truth]:
        """See base class."""
        return [
            Truth("desk", what, key, key not in self.desk.gone, number, f"{what} is number {number}")
            for number, (what, key) in enumerate(self.desk.log, 1)
        ]


@workflow.defn(name="Buys")
class Buying(SagaWorkflow, owner="team"):
    """Hold, then pay."""

    @workflow.run
    async def run(self, ask: Ask) -> int:
        """Buy."""
        await self.step(hold, ask)
        return (await self.pivot(pay, ask)).number


WORKFLOWS = (Buying,)
CONNECTORS = (DeskConnector,)
SUBJECTS = (Subject(Buying, Ask(id="7"), DeskWorld),)
