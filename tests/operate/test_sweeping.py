"""The sweeper: which runs it has unwound, and which it leaves alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from kit import Entity, EntityEvent
from kit.errors import DefinitionError
from kit.operate import Operating
from kit.operate.sweeping import sweep_on
from kit.workflow.sweeping import SWEEP_WORKFLOW, SweepRequest, Swept
from kit.workflow.unwound import unwind_id
from tests.harness import Running, running
from tests.operate.accounts import Account, Balance, Booking
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def terminated(worker: Running, run: WorkflowHandle[object, object]) -> str:
    """Terminate a run, and wait until visibility has heard of it; returns its id."""
    await run.terminate()
    query = f"WorkflowId = '{run.id}' AND ExecutionStatus = 'Terminated'"
    while not (await worker.client.count_workflows(query)).count:  # noqa: ASYNC110 - visibility tells nobody
        await asyncio.sleep(0.02)
    return run.id


async def sweep(worker: Running) -> Swept:
    """Sweep once, whatever closed when."""
    request = SweepRequest(rest=-timedelta(days=1), pause=timedelta(0))
    run = await worker.start(SWEEP_WORKFLOW, request, result_type=Swept)
    swept: Swept = await run.result()
    await worker.history(run)
    return swept


async def test_what_was_cut_off_is_unwound_once(server: WorkflowEnvironment) -> None:
    """A terminated run is unwound by the first sweep and not looked at by the second; an entity is left to people."""
    world = World()
    async with running(server, world.plugin, [Travel, Account]) as worker:
        trip = await worker.start(Travel.run, Plan(id="1", lines=("step flight", "wait")))
        event: EntityEvent[Booking] = EntityEvent(id="e1", source="bank", version=1, data=Booking(balance=20))
        entity = await worker.start(Account.run, Entity(state=Balance(), events=(event,)))
        await world.provider.happens("+flight:1")
        await world.provider.happens("+hotel:e1")
        ids = [await terminated(worker, run) for run in (trip, entity)]

        first = await sweep(worker)
        await worker.client.get_workflow_handle(unwind_id(ids[0])).result()
        second = await sweep(worker)

    assert (first.looked_at, first.unwinding) == (2, [ids[0]])
    assert first.left_alone == {ids[1]: "it lives for an entity: unwind it by hand, if at all"}
    assert (second.looked_at, second.unwinding, second.left_alone) == (1, [], first.left_alone)
    assert world.provider.live == {"hotel:e1": 1}


async def test_a_sweeper_that_would_miss_runs_is_refused(server: WorkflowEnvironment) -> None:
    """Between two sweeps no run may close that neither looks at."""
    operating = Operating(client=server.client, ledger=World().ledger, task_queue="none")
    request = SweepRequest(window=timedelta(hours=1), rest=timedelta(minutes=10))

    with pytest.raises(DefinitionError, match="would never be looked at"):
        await sweep_on(operating, request, every=timedelta(minutes=51))
