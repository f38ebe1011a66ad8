"""Child sagas: steps that are sagas of their own, and stay undoable until their parent closes."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.workflow.families import Family, Tour
from tests.workflow.sagas import Travel
from tests.workflow.scene import End, Scene, new_id, scene
from tests.workflow.world import Gate, World, declined, held

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

BOTH = (Family, Travel)


async def toured(family: Scene, *lines: str, child: tuple[str, ...]) -> End:
    """Run a `Family` to its end."""
    return await family.end(await family.worker.start(Family.run, Tour(id="1", lines=lines, child=child), id=new_id()))


async def test_child_is_undone_when_its_parent_turns_round(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """What a completed child has done is undone at its place on the parent's stack, latest first."""
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached, workflows=BOTH) as family:
        ended = await toured(
            family, "step flight", "child", "step car", "pivot card", child=("step hotel", "step diary")
        )

    assert ended.type == COMPENSATED
    assert world.provider.story == [
        *("+flight:1", "+hotel:1c", "+diary:1c", "+car:1"),
        *("-car:1", "-diary:1c", "-hotel:1c", "-flight:1"),
    ]
    assert ended.rows == {"flight:1": State.UNDONE, "car:1": State.UNDONE, "card:1": State.REFUSED}


async def test_child_costs_the_events_of_a_child_and_nothing_else(server: WorkflowEnvironment, world: World) -> None:
    """On the success path no activity, timer or upsert is added, and the parent gets the child's own result."""
    async with scene(server, world, workflows=BOTH) as family:
        ended = await toured(family, "child", child=("step hotel",))

    assert ended.result == "1c"
    assert ended.activities == []
    assert [kind for kind in ended.history.kinds if "TASK" not in kind] == [
        "WORKFLOW_EXECUTION_STARTED",
        "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "CHILD_WORKFLOW_EXECUTION_COMPLETED",
        "WORKFLOW_EXECUTION_COMPLETED",
    ]


async def test_what_a_child_holds_back_waits_for_its_parents_commit(server: WorkflowEnvironment, world: World) -> None:
    """An e-mail of the child leaves after the parent's last step."""
    async with scene(server, world, workflows=BOTH) as family:
        ended = await toured(family, "child", "step car", child=("step hotel", "after mail"))

    assert ended.closed_as == "COMPLETED"
    assert world.provider.story == ["+hotel:1c", "+car:1", "+mail:1c"]


async def test_what_a_child_holds_back_never_leaves_when_its_parent_fails(
    server: WorkflowEnvironment, world: World
) -> None:
    """No e-mail of the child leaves when the parent turns round after it."""
    world.provider.script("car.book", declined())

    async with scene(server, world, workflows=BOTH) as family:
        ended = await toured(family, "child", "step car", child=("step hotel", "after mail"))

    assert ended.type == COMPENSATED
    assert world.provider.story == ["+hotel:1c", "-hotel:1c"]


async def test_child_that_fails_has_undone_itself(server: WorkflowEnvironment, world: World) -> None:
    """A parent may catch the failure of a child and go another way: nothing of the child is left."""
    world.provider.script("hotel.book", declined())

    async with scene(server, world, workflows=BOTH) as family:
        ended = await toured(family, "try", "step car", child=("step flight", "step hotel"))

    assert ended.result == "on foot"
    assert world.provider.story == ["+flight:1c", "-flight:1c", "+car:1"]


async def test_cancelled_parent_cancels_its_child(server: WorkflowEnvironment, world: World) -> None:
    """A child at work finishes its step, undoes itself, and then the parent undoes what came before it."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))

    async with scene(server, world, workflows=BOTH) as family:
        tour = Tour(id="1", lines=("step flight", "child", "step car"), child=("step diary", "step hotel"))
        run = await family.worker.start(Family.run, tour, id=new_id())
        await gate.reached()
        await run.cancel()
        child = family.worker.client.get_workflow_handle(f"{run.id}-child")
        await family.until(child, event="WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        gate.open()
        ended = await family.end(run)

    assert ended.closed_as == "CANCELED"
    assert world.provider.live == {}
    assert world.provider.story[-2:] == ["-diary:1c", "-flight:1"]


async def test_child_past_its_pivot_is_undone_after_it_has_completed(server: WorkflowEnvironment, world: World) -> None:
    """Too late for the child is not too late for the parent: the child ends, and then is undone."""
    gate = Gate()
    world.provider.script("car.book", held(gate))

    async with scene(server, world, workflows=BOTH) as family:
        tour = Tour(id="1", lines=("child",), child=("pivot card", "step car"))
        run = await family.worker.start(Family.run, tour, id=new_id())
        await gate.reached()
        await run.cancel()
        gate.open()
        ended = await family.end(run)

    assert ended.closed_as == "CANCELED"
    assert world.provider.story == ["+card:1c", "+car:1c", "-car:1c", "-card:1c"]


async def test_terminated_child_is_undone_when_its_parent_turns_round(
    server: WorkflowEnvironment, world: World
) -> None:
    """A child that was ended from outside has run no code: its parent fails, and has it undone from the ledger."""
    async with scene(server, world, workflows=BOTH) as family:
        tour = Tour(id="1", lines=("step flight", "child"), child=("step hotel", "wait"))
        run = await family.worker.start(Family.run, tour, id=new_id())
        child = family.worker.client.get_workflow_handle(f"{run.id}-child")
        await world.provider.happens("+hotel:1c")
        await family.until(run, event="CHILD_WORKFLOW_EXECUTION_STARTED")
        await child.terminate("by mistake")
        ended = await family.end(run)

    assert ended.closed_as == "FAILED"
    assert world.provider.live == {}


async def test_child_that_fails_after_the_pivot_asks_a_person(server: WorkflowEnvironment, world: World) -> None:
    """A saga that only goes forward parks when its child has come to nothing; the person's word is the result."""
    world.provider.script("hotel.book", declined())

    async with scene(server, world, workflows=BOTH) as family:
        tour = Tour(id="1", lines=("pivot card", "child"), child=("step hotel",))
        run = await family.worker.start(Family.run, tour, id=new_id())
        await family.decide(run, Choice.SUPPLY, result={"trip_id": "by hand"})
        ended = await family.end(run)

    assert ended.result == "by hand"
    assert world.provider.live == {"card:1": 1}
