"""A cancellation, whenever it comes: before the pivot everything is undone, after it nothing is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Status
from kit.ledger.states import State
from kit.workflow import PARKED_MEMO, SUMMARY_QUERY, RunSummary
from tests.workflow.scene import activities_only, scene
from tests.workflow.world import Fault, Gate, World, bug, declined, held, unsent

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_before_the_first_task(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run that is cancelled before it has begun does nothing."""
    async with scene(server, world, cached=cached) as travel:
        queue = travel.worker.task_queue
    run = await travel.start("step flight")
    await run.cancel()
    async with scene(server, world, cached=cached, task_queue=queue) as travel:
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == []
    assert world.provider.story == []


async def test_between_steps(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A cancellation between two steps undoes what was done and begins nothing new."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "wait", "step car")
        await travel.until(run, "hotel.book")
        await run.cancel()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert ended.history.timers == 0
    assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.UNDONE}


async def test_inside_a_step(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step at work is waited for: its effect lands, and is undone with the rest."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "step car")
        await gate.reached()
        await run.cancel()
        await travel.until(run, "hotel.book", event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.UNDONE}


async def test_inside_a_timer(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A timer of the body ends at once when the run is cancelled."""
    gate = Gate()
    world.provider.script("card.charge", held(gate))
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "parallel card idle-60")
        await gate.reached()
        await run.cancel()
        await travel.until(run, event="TIMER_CANCELED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.history.timers == 1
    assert world.provider.live == {}


async def test_inside_a_back_off(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step that waits for its next attempt ends at once, while its sibling at work is waited for."""
    gate = Gate()
    world.provider.script("flight.book", held(gate))
    world.provider.script("hotel.book", unsent(retry_after=timedelta(hours=1)))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel flight hotel")
        await gate.reached()
        await travel.attempted(run, "hotel.book")
        await run.cancel()
        await travel.until(run, "hotel.book", event="ACTIVITY_TASK_CANCELED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert sorted(ended.activities) == ["flight.book", "flight.book.undo", "hotel.book", "hotel.book.undo"]
    assert world.provider.calls["hotel.book"] == 1
    assert world.provider.story == ["+flight:1", "-flight:1"]
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.VOID}


async def test_before_an_attempt_fails(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step whose attempt fails after the cancellation is not tried again, and the run ends as cancelled."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate, before=unsent().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel")
        await gate.reached()
        await run.cancel()
        await travel.until(run, event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "flight.book.undo"]
    assert world.provider.calls["hotel.book"] == 1
    assert world.provider.story == ["+flight:1", "-flight:1"]


@pytest.mark.parametrize("first", ["result", "cancel"])
@pytest.mark.parametrize("step", ["step", "pivot"])
async def test_in_the_same_task_as_a_result(
    server: WorkflowEnvironment, world: World, cached: bool, step: str, first: str
) -> None:
    """A result that arrives together with a cancellation is not lost: the step is undone, the pivot stands."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))

    async with scene(server, world, cached=cached, no_remote_activities=True) as travel:
        queue = travel.worker.task_queue
        run = await travel.start("step flight", f"{step} hotel", "step car")
        async with activities_only(server, world, queue):
            await gate.reached()
            await travel.stop()
            if first == "cancel":
                await run.cancel()
            gate.open()
            await travel.until(run, "hotel.book")
            if first == "result":
                await run.cancel()
            async with scene(server, world, cached=cached, task_queue=queue, no_remote_activities=True) as travel:
                ended = await travel.end(run)

    assert ended.history.kinds.index("WORKFLOW_EXECUTION_CANCEL_REQUESTED") < ended.history.after("hotel.book")
    if step == "pivot":
        assert ended.closed_as == "COMPLETED"
        assert ended.activities == ["flight.book", "hotel.book", "car.book"]
        assert world.provider.live == {"car:1": 1, "flight:1": 1, "hotel:1": 1}
    else:
        assert ended.closed_as == "CANCELED"
        assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
        assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]


async def test_twice_during_the_undo(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """However often a run is cancelled while it undoes, it undoes everything."""
    gate, second = Gate(), Gate()
    world.provider.script("hotel.book.undo", held(gate))
    world.provider.script("flight.book.undo", held(second))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "wait")
        await travel.until(run, "hotel.book")
        await run.cancel()
        await gate.reached()
        await run.cancel()
        gate.open()
        await second.reached()
        await run.cancel()
        second.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]


async def test_during_the_undo_of_a_failure(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run that is undoing a failure when it is cancelled ends with that failure."""
    gate = Gate()
    world.provider.script("hotel.book", declined())
    world.provider.script("flight.book.undo", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel")
        await gate.reached()
        await run.cancel()
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "FAILED"
    assert ended.summary.reason_code == "card_declined"
    assert world.provider.live == {}


async def test_during_the_pivot(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A cancellation that the pivot outruns comes too late: the run completes."""
    gate = Gate()
    world.provider.script("card.charge", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "pivot card", "step car", "after mail")
        await gate.reached()
        await run.cancel()
        await travel.until(run, event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "card.charge", "car.book", "mail.send"]
    assert world.provider.live == {"car:1": 1, "card:1": 1, "flight:1": 1, "mail:1": 1}


async def test_after_the_pivot(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """After the pivot a cancellation comes too late, in a step at work and in a timer."""
    gate = Gate()
    world.provider.script("car.book", held(gate, before=unsent().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("pivot card", "step car", "sleep 60", "step hotel")
        await gate.reached()
        await run.cancel()
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["card.charge", "car.book", "hotel.book"]
    assert world.provider.calls["car.book"] == 2
    assert world.provider.live == {"car:1": 1, "card:1": 1, "hotel:1": 1}


async def test_during_after_commit(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What was held back is carried out although the run is cancelled: the business result stands."""
    gate = Gate()
    world.provider.script("mail.send", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "after mail")
        await gate.reached()
        await run.cancel()
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "mail.send"]
    assert world.provider.live == {"flight:1": 1, "mail:1": 1}


async def test_while_parked(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A parked run that is cancelled before the pivot withdraws its question and undoes."""
    world.provider.always("hotel.book", bug())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel")
        await travel.task(run)
        await run.cancel()
        ended = await travel.end(run)
        memo = await (await run.describe()).memo()

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "-flight:1"]
    assert PARKED_MEMO not in memo


async def test_while_parked_after_the_pivot(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run parked after the pivot goes on waiting for its person when it is cancelled."""
    world.provider.script("car.book", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("pivot card", "step car")
        await travel.task(run)
        await run.cancel()
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == {"car:1": 1, "card:1": 1}


async def test_while_the_undo_is_parked(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run whose undo waits for a person cannot be cancelled away."""
    world.provider.script("flight.book.undo", Fault(before=declined().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "wait")
        await travel.until(run, "flight.book")
        await run.cancel()
        await travel.task(run)
        await run.cancel()
        standing = await run.query(SUMMARY_QUERY, result_type=RunSummary)
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert standing.parked
    assert standing.status is Status.UNDOING
    assert ended.closed_as == "CANCELED"
    assert world.provider.story == ["+flight:1", "-flight:1"]
