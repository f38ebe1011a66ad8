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

ACCOUNTS = 20
EVENTS = 2_000
EACH = EVENTS // ACCOUNTS
MONDAY = datetime.now(UTC) - timedelta(days=7)


def week(prefix: str) -> list[PastEvent]:
    """What happened to twenty accounts in a week: 100 changes of each, of which 5 have an effect."""
    return [
        PastEvent(
            workflow="Account",
            workflow_id=f"{prefix}-{number % ACCOUNTS}",
            entity=f"{prefix}-{number % ACCOUNTS}",
            at=MONDAY + timedelta(minutes=5 * number),
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


async def settled(worker: Running, prefix: str, *, dealt_with: int) -> list[int]:
    """The balances of all accounts, once each has dealt with so many events."""
    balances = []
    for number in range(ACCOUNTS):
        handle = worker.client.get_workflow_handle(f"{prefix}-{number}")
        while _dealt_with(account := await handle.query(ENTITY_QUERY, result_type=Entity[Balance])) < dealt_with:
            pass
        balances.append(account.state.balance)
    return balances


def _dealt_with(account: Entity[Balance]) -> int:
    return sum(account.memory.counts.get(fate, 0) for fate in ("applied", "stale", "duplicate"))


async def test_replay_of_a_week_has_no_further_effect(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """Ten thousand deliveries, each event five times and all out of order, cause no effect that was not there."""
    world = World()
    prefix = new_id()
    events = week(prefix)
    mixed = [event.model_copy(update={"at": event.at + timedelta(hours=late)}) for late in range(5) for event in events]
    random.Random(7).shuffle(mixed)  # noqa: S311 - a mixture, no secret

    # One thread per workflow task, all of them logging: few at a time, or the SDK takes one that waits for a dead one.
    async with running(server, world.plugin, [Account], max_concurrent_workflow_tasks=4) as worker:
        first = await replayed(worker, tmp_path / "first.jsonl", events)
        before = await settled(worker, prefix, dealt_with=EACH)
        effects = list(world.provider.story)
        second = await replayed(worker, tmp_path / "second.jsonl", mixed)
        after = await settled(worker, prefix, dealt_with=6 * EACH)

    assert first == {Redriven.DELIVERED: EVENTS}
    assert second == {Redriven.DELIVERED: 5 * EVENTS}
    assert len(effects) == ACCOUNTS * 5
    assert world.provider.story == effects
    assert before == after == [EACH] * ACCOUNTS
