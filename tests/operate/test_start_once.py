"""A business event that comes twice."""

import asyncio

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.errors import DefinitionError
from kit.operate import start_once
from tests.harness import running
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import World

pytestmark = pytest.mark.slow


async def test_second_delivery_finds_the_first_run(server: WorkflowEnvironment) -> None:
    """Of two deliveries at once one starts the run and the other is told of it; so is one that comes after its end."""
    world = World()
    async with running(server, world.plugin, [Travel]) as worker:
        plan = Plan(id="T-once", lines=("step hotel",))
        ask = {"id": f"travel-{worker.task_queue}", "task_queue": worker.task_queue}

        first, second = await asyncio.gather(*(start_once(worker.client, Travel.run, plan, **ask) for _ in range(2)))
        results = [await started.handle.result() for started in (first, second)]
        late = await start_once(worker.client, Travel.run, plan, **ask)

    assert sorted([first.duplicate, second.duplicate]) == [False, True]
    assert late.duplicate
    assert results[0] == results[1] == await late.handle.result()
    assert list(world.provider.live.values()) == [1]


async def test_option_that_would_let_a_second_run_start_is_refused(server: WorkflowEnvironment) -> None:
    """What a second start means is not up to the caller."""
    plan = Plan(id="T-no", lines=())

    with pytest.raises(DefinitionError, match="id_reuse_policy would let a second run start"):
        await start_once(server.client, Travel.run, plan, id="T-no", task_queue="none", id_reuse_policy=1)
