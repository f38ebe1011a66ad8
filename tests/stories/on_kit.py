"""The same bank behind a contract, and the same order as a saga of the kit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio import workflow

from kit import Model, SagaWorkflow
from kit.contract import Dependency, Effect, FailureKind, Once, Operation, Token, Undo
from kit.errors import Refused
from kit.ledger import MemoryLedger
from kit.testing import Truth, Wire, World
from kit.worker import Connector, ReliabilityPlugin
from tests.stories.plain import Bank

BANK: Final = Dependency(name="bank", owner="payments-team", settle=timedelta(0))


class Bill(Model):
    """What an order costs."""

    order: str


class Receipt(Model):
    """It is paid."""

    order: str


charge: Final = Operation(
    "bank.charge",
    Bill,
    Receipt,
    dependency=BANK,
    effect=Effect.COMPENSATABLE,
    once=Once.by_probe(),
    key="charge:{order}",
    timeout=timedelta(seconds=10),
)
reserve: Final = Operation(
    "bank.reserve",
    Bill,
    Receipt,
    dependency=BANK,
    effect=Effect.REVERSIBLE,
    once=Once.by_probe(),
    key="reserve:{order}",
    timeout=timedelta(seconds=10),
)


class AtBank(Connector):
    """Serves both from the same bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    @charge.action
    async def charge(self, request: Bill, token: Token) -> Receipt:
        """Take the money."""
        await self._bank.act("charge", f"charged {request.order}")
        return Receipt(order=request.order)

    @charge.compensation
    async def refund(self, undo: Undo[Bill, Receipt], token: Token) -> None:
        """Give it back."""
        await self._bank.act("refund", f"refunded {undo.request.order}")

    @charge.probe
    async def charged(self, request: Bill, token: Token) -> Receipt | None:
        """Whether it was taken."""
        return Receipt(order=request.order) if f"charged {request.order}" in self._bank.book else None

    @reserve.action
    async def reserve(self, request: Bill, token: Token) -> Receipt:
        """Set the goods aside."""
        if "reserve" in self._bank.refused:
            raise Refused(FailureKind.DECLINED, "sold out")
        await self._bank.act("reserve", f"reserved {request.order}")
        return Receipt(order=request.order)

    @reserve.compensation
    async def release(self, undo: Undo[Bill, Receipt], token: Token) -> None:
        """Put them back."""
        await self._bank.act("release", f"released {undo.request.order}")

    @reserve.probe
    async def reserved(self, request: Bill, token: Token) -> Receipt | None:
        """Whether they are set aside."""
        return Receipt(order=request.order) if f"reserved {request.order}" in self._bank.book else None


@workflow.defn(name="OrderOnKit")
class Order(SagaWorkflow, owner="shop-team"):
    """Charges, then reserves. Nothing is said about failures: what goes wrong is undone."""

    @workflow.run
    async def run(self, bill: Bill) -> None:
        """Take one order."""
        await self.step(charge, bill)
        await self.step(reserve, bill)


async def plainly(operation: Operation[Bill, Receipt], bill: Bill) -> None:
    """Call an operation from a workflow that is no saga: an activity like any other."""
    info = workflow.info()
    key = operation.key_for(bill, workflow_id=info.workflow_id)
    token = Token(key=key, correlation_id=info.workflow_id, workflow_id=info.workflow_id, run_id=info.run_id)
    await workflow.execute_activity(operation.name, args=[bill, token], start_to_close_timeout=operation.timeout)


class BankWorld(World):
    """The bank, as a sweep puts it under faults."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.bank = Bank()

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        return [AtBank(self.wire.client(self.bank, system="bank"))]

    async def truth(self) -> list[Truth]:
        """See base class."""
        done = [line.split(" ", 1) for line in self.bank.book]
        undone = {(_UNDOES[verb], order) for verb, order in done if verb in _UNDOES}
        return [
            Truth("bank", f"bank.{_DOES[verb]}", f"{_DOES[verb]}:{order}", live=(verb, order) not in undone)
            for verb, order in done
            if verb in _DOES
        ]


_DOES: Final = {"charged": "charge", "reserved": "reserve"}
_UNDOES: Final = {"refunded": "charged", "released": "reserved"}


def plugin(bank: Bank) -> ReliabilityPlugin:
    """Serves a bank, with a ledger of its own."""
    return ReliabilityPlugin(ledger=MemoryLedger(), connectors=[AtBank(bank)])
