"""The smallest saga."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow, Token, Undo
from kit.ledger import MemoryLedger
from kit.worker import Connector, ReliabilityPlugin
from tests.harness import running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


class Ask(Model):
    order_id: str


class Answer(Model):
    id: str


SHOP = Dependency(name="shop", owner="shop-team", settle=timedelta(0))
book = Operation(
    "shop.book",
    Ask,
    Answer,
    dependency=SHOP,
    effect=Effect.REVERSIBLE,
    once=Once.by_state(),
    key="book:{order_id}",
    timeout=timedelta(seconds=5),
)


class Shop(Connector):
    @book.action
    async def book(self, request: Ask, token: Token) -> Answer:
        return Answer(id=token.key)

    @book.compensation
    async def unbook(self, undo: Undo[Ask, Answer], token: Token) -> None:
        return None


@workflow.defn
class Booking(SagaWorkflow, owner="shop-team"):
    @workflow.run
    async def run(self, ask: Ask) -> str:
        answer = await self.step(book, ask)
        return answer.id


async def test_a_saga_of_one_step_completes(server: WorkflowEnvironment, cached: bool) -> None:
    """A saga whose steps succeed schedules them and nothing else."""
    plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[Shop()])

    async with running(server, plugin, [Booking], cached=cached) as worker:
        handle = await worker.start(Booking.run, Ask(order_id="1"))
        result = await handle.result()
        history = await worker.history(handle)

    assert result == "book:1"
    assert history.activities == ["shop.book"]
    assert history.timers == 0
    assert history.closed_as == "WORKFLOW_EXECUTION_COMPLETED"
