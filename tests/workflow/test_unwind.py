"""What a closed run has done is undone from the ledger alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.ledger.states import State
from kit.workflow.unwound import UNWIND_WORKFLOW, UnwindRequest, Unwound, unwind_id
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def unwind(stage: Scene, saga: str, **options: Any) -> Run:
    """Start the unwind of a workflow id."""
    request = UnwindRequest(saga=saga, who="ada", why="bad release", **options)
    return await stage.worker.client.start_workflow(
        UNWIND_WORKFLOW, request, id=unwind_id(saga), task_queue=stage.worker.task_queue, result_type=Unwound
    )


async def unwound(stage: Scene, saga: str, **options: Any) -> Unwound:
    """Unwind a workflow id, and wait for the end; the record must replay."""
    run = await unwind(stage, saga, **options)
    result: Unwound = await asyncio.wait_for(run.result(), 10)
    await stage.worker.history(run)
    return result


async def test_a_completed_run_is_undone_latest_first(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What a completed run has done is undone in reverse, and its rows say so."""
    async with scene(server, world, cached=cached) as stage:
        ended = await stage.run("parallel flight hotel", "pivot card")
        saga = ended.history.raw.workflow_id

        result = await unwound(stage, saga)

    assert world.provider.live == {}
    assert world.provider.story[3] == "-card:1"
    assert sorted(world.provider.story[4:]) == ["-flight:1", "-hotel:1"]
    assert result.undone[0] == "card:1"
    assert (len(result.undone), result.nothing, result.left) == (3, [], [])
    assert set((await world.rows(saga)).values()) == {State.UNDONE}
