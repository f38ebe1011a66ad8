"""A week of events comes again: mixed up, some of them twice, and without any further effect."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Entity
from kit.operate.replaying import read_past, replay_batch
from kit.workflow import ENTITY_QUERY
from kit.workflow.batches import PastEvent, Redriven, ReplayRequest
from tests.harness import Running, running
from tests.operate.accounts import Account, Balance
from tests.workflow.scene import new_id
from tests.workflow.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ACCOUNTS = 50
EVENTS = 5_000
MONDAY = datetime.now(UTC) - timedelta(days=7)


def week(prefix: str) -> list[PastEvent]:
    """What happened to fifty accounts in a week: 100 changes of each, of which 5 have an effect."""
    return [
        PastEvent(
            workflow="Account",
            workflow_id=f"{prefix}-{number % ACCOUNTS}",
            entity=f"{prefix}-{number % ACCOUNTS}",
            at=MONDAY + timedelta(minutes=2 * number),
            request={"state": {}},
            event={
                "id": f"{prefix}-{number}",
                "source": "bank",
                "version": number // ACCOUNTS + 1,
                "data": {"balance": number // ACCOUNTS + 1},
            },
        )
        for number in range(EVENTS)
    ]


async def replayed(worker: Running, file: Path, events: list[PastEvent]) -> dict[Redriven, int]:
    """Re-drive a file of events as fast as can be."""
    file.write_text("".join(f"{event.model_dump_json()}\n" for event in events))
    request = ReplayRequest(name=new_id(), who="ada", why="the queue was lost", rate=1_000_000)
    report = await replay_batch(worker.client, read_past(file), request, task_queue=worker.task_queue, page=1000)
    return report.counts


async def settled(worker: Running, prefix: str) -> list[int]:
    """The balances of all accounts, once they have dealt with all their events."""
    balances = []
    for number in range(ACCOUNTS):
        handle = worker.client.get_workflow_handle(f"{prefix}-{number}")
        while (account := await handle.query(ENTITY_QUERY, result_type=Entity[Balance])).memory.waiting:
            pass
        balances.append(account.state.balance)
    return balances


async def test_replay_of_a_week_has_no_further_effect(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """Ten thousand deliveries, each event twice and all out of order, cause no effect that was not there."""
    world = World()
    prefix = new_id()
    events = week(prefix)
    again = [event.model_copy(update={"at": event.at + timedelta(days=1)}) for event in events]
    mixed = [*events, *again]
    random.Random(7).shuffle(mixed)  # noqa: S311 - a mixture, no secret

    async with running(server, world.plugin, [Account]) as worker:
        first = await replayed(worker, tmp_path / "first.jsonl", events)
        before = await settled(worker, prefix)
        effects = list(world.provider.story)
        second = await replayed(worker, tmp_path / "second.jsonl", mixed)
        after = await settled(worker, prefix)

    assert first == {Redriven.DELIVERED: EVENTS}
    assert second == {Redriven.DELIVERED: 2 * EVENTS}
    assert len(effects) == ACCOUNTS * 5
    assert world.provider.story == effects
    assert before == after == [EVENTS // ACCOUNTS] * ACCOUNTS
