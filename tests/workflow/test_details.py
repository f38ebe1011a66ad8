"""What an operator sees in the Temporal UI while a saga is at work."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.testing import WorkflowEnvironment

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow, Token
from kit.ledger import MemoryLedger
from kit.worker import Connector, ReliabilityPlugin
from tests.harness import running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


class Ask(Model):
    order_id: str


class Answer(Model):
    id: str


DESK = Dependency(name="desk", owner="desk-team", settle=timedelta(0))


def _operation(name: str) -> Operation[Ask, Answer]:
    return Operation(
        f"desk.{name}",
        Ask,
        Answer,
        dependency=DESK,
        effect=Effect.IRREVERSIBLE,
        once=Once.by_state(),
        key=name + ":{order_id}",
        timeout=timedelta(seconds=20),
    )


stamp = _operation("stamp")
post = _operation("post")


class Desk(Connector):
    """Waits with the stamp in its hand until somebody has looked."""

    def __init__(self) -> None:
        self.stamping, self.seen = asyncio.Event(), asyncio.Event()

    @stamp.action
    async def stamp(self, request: Ask, token: Token) -> Answer:
        self.stamping.set()
        await self.seen.wait()
        return Answer(id="1")

    @post.action
    async def post(self, request: Ask, token: Token) -> Answer:
        return Answer(id="2")


@workflow.defn
class Letter(SagaWorkflow, owner="desk-team"):
    @workflow.run
    async def run(self, ask: Ask) -> None:
        self.after_commit(post, ask)
        await self.pivot(stamp, ask)


async def _details(handle: Any) -> str:
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def test_a_step_at_work_is_shown_as_running(server: WorkflowEnvironment, cached: bool) -> None:
    """The step table says of each step what is true now: at work, held back, and in the end done."""
    desk = Desk()
    plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[desk])

    async with running(server, plugin, [Letter], cached=cached) as worker:
        handle = await worker.start(Letter.run, Ask(order_id="1"))
        await desk.stamping.wait()
        meanwhile = await _details(handle)
        desk.seen.set()
        await handle.result()
        finally_ = await _details(handle)

    assert "| Stamp desk | running … |" in meanwhile
    assert "| Post desk | held back |" in meanwhile
    assert "| Stamp desk | ✓ done |" in finally_
    assert "| Post desk | ✓ done |" in finally_
