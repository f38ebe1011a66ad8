"""What a workflow's own code may do between its steps, and what becomes of its mistakes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.ledger.states import State
from kit.workflow import COMPENSATED, INVALID
from tests.workflow import sagas
from tests.workflow.scene import scene
from tests.workflow.world import Ask, Fault, Gate, World, declined, held, lost, unsent

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ASK = Ask(id="1")


async def test_a_caught_failure_leads_another_way(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A body may catch a step's failure and go another way."""
    world.provider.script("flight.book", declined())

    async with scene(server, world, cached=cached, workflows=[sagas.TakesAnotherWay]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.TakesAnotherWay.run, ASK))

    assert ended.result == "car:1!"
    assert ended.activities == ["flight.book", "car.book"]
    assert ended.rows == {"flight:1": State.REFUSED, "car:1": State.DONE}


async def test_a_caught_unknown_outcome_is_cleared_up(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What a caught failure may have left behind is undone before the run completes."""
    world.provider.script("flight.book", *(lost() for _ in range(5)))

    async with scene(server, world, cached=cached, workflows=[sagas.TakesAnotherWay]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.TakesAnotherWay.run, ASK))

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "car.book", "flight.book.undo"]
    assert world.provider.live == {"car:1": 1}
    assert ended.rows == {"flight:1": State.UNDONE, "car:1": State.DONE}


async def test_a_step_tried_again_by_hand_stays(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A failed step whose effect a later step has found again is not cleared up: the effect is wanted."""
    world.provider.script("hotel.book", lost())
    world.provider.script("hotel.book.probe", declined())

    async with scene(server, world, cached=cached, workflows=[sagas.TriesAgain]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.TriesAgain.run, ASK))

    assert ended.result == "hotel:1!"
    assert ended.activities == ["hotel.book", "hotel.book"]
    assert world.provider.live == {"hotel:1": 1}
    assert world.provider.story == ["+hotel:1"]


@pytest.mark.parametrize("cls", [sagas.WaitsInVain, sagas.DeclaresFailures])
async def test_whatever_closes_the_workflow_turns_it_round(
    server: WorkflowEnvironment, world: World, cached: bool, cls: Any
) -> None:
    """A timeout of asyncio, or a type declared as a failure, would close the workflow: it is undone first."""
    async with scene(server, world, cached=cached, workflows=[cls]) as travel:
        ended = await travel.end(await travel.worker.start(cls.run, ASK))

    assert ended.closed_as == "FAILED"
    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == ("TimeoutError" if cls is sagas.WaitsInVain else "KeyError")
    assert ended.activities == ["flight.book", "flight.book.undo"]
    assert world.provider.live == {}


async def test_a_step_given_too_little_time_is_settled(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step that the body's own timeout stops is settled first, and what it left is cleared up."""
    world.provider.always("hotel.book", unsent(retry_after=timedelta(minutes=10)))

    async with scene(server, world, cached=cached, workflows=[sagas.Impatient]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.Impatient.run, ASK))

    assert ended.result == "by car"
    assert ended.activities == ["hotel.book", "car.book", "hotel.book.undo"]
    assert world.provider.live == {"car:1": 1}
    assert ended.rows == {"hotel:1": State.VOID, "car:1": State.DONE}


async def test_several_steps_given_too_little_time_are_settled(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """Parallel steps that the body's own timeout stops are all settled first; those that are done stay done."""
    world.provider.always("hotel.book", unsent(retry_after=timedelta(minutes=10)))

    async with scene(server, world, cached=cached, workflows=[sagas.ImpatientWithSeveral]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.ImpatientWithSeveral.run, ASK))

    assert ended.result == "neither"
    assert ended.activities == ["hotel.book", "flight.book", "hotel.book.undo"]
    assert ended.rows == {"hotel:1": State.VOID, "flight:1": State.DONE}


async def test_steps_gathered_by_hand_are_settled_before_the_undo(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A step left in flight by a failing gather lands first and is undone then."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached, workflows=[sagas.Gathers]) as travel:
        run = await travel.worker.start(sagas.Gathers.run, ASK)
        await gate.reached()
        await travel.until(run, "hotel.book", event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == ["hotel.book", "card.charge", "hotel.book.undo"]
    assert world.provider.story == ["+hotel:1", "-hotel:1"]


@pytest.mark.parametrize("fault", [Fault(), declined()], ids=["done", "refused"])
async def test_a_forgotten_step_is_waited_for(
    server: WorkflowEnvironment, world: World, cached: bool, fault: Fault
) -> None:
    """A run does not end while a step is in flight, and its failure counts although nobody awaits it."""
    world.provider.script("hotel.book", fault)

    async with scene(server, world, cached=cached, workflows=[sagas.Forgets]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.Forgets.run, ASK))

    assert ended.activities == ["hotel.book"]
    assert ended.closed_as == ("COMPLETED" if fault.before is None else "FAILED")
    assert ended.rows == {"hotel:1": State.DONE if fault.before is None else State.REFUSED}


async def test_a_swallowed_cancellation_counts(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A body that swallows a cancellation takes no further step, and is undone when it returns."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))

    async with scene(server, world, cached=cached, workflows=[sagas.Swallows]) as travel:
        run = await travel.worker.start(sagas.Swallows.run, ASK)
        await gate.reached()
        await run.cancel()
        await travel.until(run, event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.live == {}


async def test_continue_as_new_must_not_forget(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A saga continues as new only while there is nothing to undo or to carry out."""
    async with scene(server, world, cached=cached, workflows=[sagas.StartsOver]) as travel:
        fresh = await travel.worker.start(sagas.StartsOver.run, Ask(id="1"))
        result = await fresh.result()
        late = await travel.end(await travel.worker.start(sagas.StartsOver.run, Ask(id="1", note="after a step")))

    assert result == "again"
    assert late.type == COMPENSATED
    assert late.summary.reason_code == "SagaUsageError"
    assert str(late.error) == (
        "SagaCompensated: workflow.continue_as_new would forget the steps that must be undone or carried out after "
        "commit: use self.continue_as_new. Undone: Book the flight of 1."
    )


@pytest.mark.parametrize(
    ("mistake", "reason", "message"),
    [
        ("wrong request", INVALID, "hotel.book takes a Ask, not Booked(id='?')."),
        ("long key", INVALID, f"hotel.book: the key 'hotel:{'x' * 300}' is 306 characters long; at most 255 are"),
        ("empty key", INVALID, "hotel.book: the key 'hotel:{id}' needs 'id', which is empty: ''."),
        ("invalid model", "invalid", "2 validation errors for Ask\n"),
        ("too early", INVALID, "mail.send is IRREVERSIBLE and comes before the pivot: hold it back with after_commit."),
    ],
)  # fmt: skip
async def test_a_mistake_with_a_step_turns_the_saga_round(
    server: WorkflowEnvironment, world: World, cached: bool, mistake: str, reason: str, message: str
) -> None:
    """A step that cannot be asked for fails the run at once, and what came before it is undone."""
    async with scene(server, world, cached=cached, workflows=[sagas.AsksBadly]) as travel:
        ended = await travel.end(await travel.worker.start(sagas.AsksBadly.run, Ask(id="1", note=mistake)))

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == reason
    assert str(ended.error).startswith(f"SagaCompensated: {message}")
    assert ended.activities == ["flight.book", "flight.book.undo"]


async def test_a_bug_in_workflow_code_undoes_nothing_and_heals(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """An exception that is no failure fails the workflow task only; the fixed class goes on from there."""
    async with scene(server, world, cached=cached, workflows=[sagas.Broken]) as travel:
        quick = timedelta(seconds=1)  # a failed workflow task is tried again after this long, in real time
        run = await travel.worker.start(sagas.Broken.run, ASK, task_timeout=quick)
        await travel.until(run, event="WORKFLOW_TASK_FAILED")
        story = list(world.provider.story)
    async with scene(
        server, world, cached=cached, workflows=[sagas.Fixed], task_queue=travel.worker.task_queue
    ) as travel:
        ended = await travel.end(run)

    assert story == ["+flight:1"]
    assert ended.result == "car:1!"
    assert ended.activities == ["flight.book", "car.book"]
    assert world.provider.live == {"car:1": 1, "flight:1": 1}


async def test_a_local_operation_succeeds(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A local operation leaves no scheduled activity in the history, and its row in the ledger."""
    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step diary", "step car")

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["car.book"]
    assert ended.history.timers == 0
    assert ended.rows == {"diary:1": State.DONE, "car:1": State.DONE}


async def test_a_local_operation_is_tried_again_and_undone(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A local operation is tried again when it fails in passing, and undone like any other."""
    world.provider.script("diary.note", unsent(), lost())
    world.provider.script("car.book", declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step diary", "step car")

    assert ended.type == COMPENSATED
    assert ended.activities == ["car.book", "diary.note.undo"]
    assert world.provider.story == ["+diary:1", "-diary:1"]
    assert ended.rows == {"diary:1": State.UNDONE, "car:1": State.REFUSED}


async def test_a_local_operation_that_fails_turns_the_saga_round(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A local operation's failure arrives without its usual wrapping, and is a failure all the same."""
    world.provider.script("diary.note", declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step car", "step diary")

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "card_declined"
    assert ended.activities == ["car.book", "car.book.undo"]
    assert ended.rows == {"diary:1": State.REFUSED, "car:1": State.UNDONE}


async def test_a_local_operation_in_back_off_is_stopped(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A local operation that waits for its next attempt ends at once when the run is cancelled."""
    gate = Gate()
    world.provider.script("flight.book", held(gate))
    world.provider.script("diary.note", unsent(retry_after=timedelta(hours=1)))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel flight diary")
        await gate.reached()
        await travel.until(run, event="TIMER_STARTED")
        await run.cancel()
        await travel.until(run, event="TIMER_CANCELED")
        gate.open()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert sorted(ended.activities) == ["diary.note.undo", "flight.book", "flight.book.undo"]
    assert world.provider.live == {}
