"""Runs that outlive their worker, are reset, or are started twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.workflow.scene import new_id, scene
from tests.workflow.world import Gate, World, declined, held

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SECOND = timedelta(seconds=1)
"""What a stopped worker has in hand is handed on after this long, in real time."""


async def test_another_worker_picks_a_run_up(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A new worker rebuilds the stack from the history and undoes what the old one did."""
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached, sticky_queue_schedule_to_start_timeout=SECOND) as travel:
        run = await travel.start("step flight", "step hotel", "wait", "step card", task_timeout=SECOND)
        await travel.until(run, "hotel.book")
        queue = travel.worker.task_queue
    world.plugin = world.new_plugin()
    async with scene(server, world, cached=cached, task_queue=queue) as travel:
        await run.signal("go")
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == [
        *("flight.book", "hotel.book", "card.charge"),
        *("hotel.book.undo", "flight.book.undo"),
    ]
    assert world.provider.live == {}


async def test_another_worker_goes_on_with_an_undo(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A worker that stops in the middle of the undo leaves it to the next one, which repeats nothing."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached, sticky_queue_schedule_to_start_timeout=SECOND) as travel:
        run = await travel.start("step flight", "step hotel", "step card", task_timeout=SECOND)
        await travel.task(run)
        queue = travel.worker.task_queue
    world.plugin = world.new_plugin()
    async with scene(server, world, cached=cached, task_queue=queue) as travel:
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]


async def test_a_reset_has_no_second_effect(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run that is reset asks again under the same keys, and the ledger answers for what has happened."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "wait", "step car")
        await travel.until(run, "hotel.book")
        history = await travel.worker.history(run)
        first_task = history.kinds.index("WORKFLOW_TASK_COMPLETED") + 1
        answer = await server.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=server.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=run.id, run_id=run.first_execution_run_id or ""),
                reason="to see",
                workflow_task_finish_event_id=first_task,
                request_id=new_id(),
            )
        )
        again = server.client.get_workflow_handle(run.id, run_id=answer.run_id)
        await again.signal("go")
        ended = await travel.end(travel.worker.client.get_workflow_handle(run.id, run_id=answer.run_id))

    assert answer.run_id != run.first_execution_run_id
    assert ended.closed_as == "COMPLETED"
    assert world.provider.calls["flight.book"] == world.provider.calls["hotel.book"] == 1
    assert world.provider.live == {"car:1": 1, "flight:1": 1, "hotel:1": 1}
    assert set(ended.rows.values()) == {State.DONE}
    assert {token.run_id for token in world.provider.tokens} == {run.first_execution_run_id}


async def test_a_duplicate_start_is_the_first_run(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A second start with the same id is refused while the first run is open, or joins it when asked to."""
    gate, name = Gate(), new_id()
    world.provider.script("flight.book", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", workflow_id=name)
        await gate.reached()
        with pytest.raises(WorkflowAlreadyStartedError):
            await travel.start("step flight", workflow_id=name)
        joined = await travel.start(
            "step flight", workflow_id=name, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        gate.open()
        ended = await travel.end(run)
        with pytest.raises(WorkflowAlreadyStartedError):
            await travel.start(
                "step flight", workflow_id=name, id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
            )

    assert joined.result_run_id == run.result_run_id or joined.id == run.id
    assert ended.closed_as == "COMPLETED"
    assert world.provider.calls["flight.book"] == 1


async def test_a_second_run_finds_what_the_first_did(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Another run about the same thing gets the recorded result, not a second effect."""
    async with scene(server, world, cached=cached) as travel:
        await travel.run("step flight")
        second = await travel.run("step flight")

    assert second.closed_as == "COMPLETED"
    assert second.activities == ["flight.book"]
    assert world.provider.calls["flight.book"] == 1
    assert world.provider.live == {"flight:1": 1}
