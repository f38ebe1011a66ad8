"""Turning round: what is undone, in which order, and what is left alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.harness import ShortAttempts
from tests.workflow.scene import scene
from tests.workflow.world import Fault, Gate, World, bug, declined, held, lost, unsent, vanished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

HALF_A_SECOND = timedelta(seconds=0.5)
"""Attempts that really hang are waited out in real time."""


async def test_steps_are_undone_in_reverse_order(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A definite failure undoes what was done, latest first, and leaves the refused step alone."""
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "step hotel", "step car", "pivot card", "after mail")

    assert ended.closed_as == "FAILED"
    assert ended.type == COMPENSATED
    assert str(ended.error) == (
        "SagaCompensated: card.charge: no (card_declined). No effect. "
        "Undone: Book the flight of 1; Book the hotel of 1; Book the car of 1."
    )
    assert ended.activities == [
        *("flight.book", "hotel.book", "car.book", "card.charge"),
        *("car.book.undo", "hotel.book.undo", "flight.book.undo"),
    ]
    assert ended.history.timers == 0
    assert world.provider.story == ["+flight:1", "+hotel:1", "+car:1", "-car:1", "-hotel:1", "-flight:1"]
    undone = {"flight:1": State.UNDONE, "hotel:1": State.UNDONE, "car:1": State.UNDONE}
    assert ended.rows == {**undone, "card:1": State.REFUSED}
    assert ended.summary.reason_code == "card_declined"
    assert ended.summary.compensation_count == 3


async def test_siblings_are_undone_together(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Parallel siblings are undone at once, and what came before them only when all are undone."""
    gates = {name: Gate() for name in ("hotel", "car")}
    for name, gate in gates.items():
        world.provider.script(f"{name}.book.undo", held(gate))
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "parallel hotel car", "step card")
        await asyncio.gather(*(gate.reached() for gate in gates.values()))
        before = world.provider.calls["flight.book.undo"]
        for gate in gates.values():
            gate.open()
        ended = await travel.end(run)

    assert before == 0
    assert ended.activities[-3:] == ["hotel.book.undo", "car.book.undo", "flight.book.undo"]
    assert world.provider.live == {}


async def test_a_read_is_never_undone(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A READ schedules no undo and leaves no row in the ledger."""
    world.provider.script("hotel.book", declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step prices", "step hotel")

    assert ended.type == COMPENSATED
    assert ended.activities == ["prices.read", "hotel.book"]
    assert str(ended.error).endswith("Nothing had to be undone.")
    assert ended.rows == {"hotel:1": State.REFUSED}


@pytest.mark.parametrize("fault", [lost, vanished])
async def test_an_unknown_outcome_is_looked_up_and_undone(
    server: WorkflowEnvironment, world: World, cached: bool, fault: type[Fault]
) -> None:
    """A step whose outcome stays unknown is undone if the look-up finds its effect, and closed for ever if not."""
    world.provider.always("hotel.book", fault())
    world.provider.always("hotel.book.probe", Fault(before=unsent().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel")
        await travel.until(run, "hotel.book", event="ACTIVITY_TASK_FAILED")
        world.provider.always("hotel.book.probe", None)
        ended = await travel.end(run)

    happened = fault is lost
    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.calls["hotel.book"] == 1
    assert world.provider.live == {}
    assert world.provider.story == (
        ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"] if happened else ["+flight:1", "-flight:1"]
    )
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.UNDONE if happened else State.VOID}


async def test_a_lost_reply_is_found_again(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A lost reply costs another attempt, not another effect."""
    world.provider.script("hotel.book", lost())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step hotel")

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["hotel.book"]
    assert world.provider.calls["hotel.book"] == 1
    assert world.provider.story == ["+hotel:1"]
    assert ended.rows == {"hotel:1": State.DONE}


async def test_a_hidden_timeout_is_not_a_clean_refusal(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """When the first attempt times out after its effect and the second is declined, the effect is undone."""
    world.provider.script("card.charge", lost(), declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "step card")

    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "card.charge", "card.charge.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "+card:1", "-card:1", "-flight:1"]
    assert ended.rows == {"flight:1": State.UNDONE, "card:1": State.UNDONE}


@pytest.mark.parametrize("then", [vanished, declined])
async def test_a_hanging_action_after_its_undo_is_taken_back(
    server: WorkflowEnvironment, world: World, cached: bool, then: type[Fault]
) -> None:
    """An attempt that hangs past its time, and past the turn of the saga, takes its own late effect back."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate, deaf=True))
    world.provider.always("hotel.book", then())
    short = [ShortAttempts(HALF_A_SECOND, only="hotel.book")]

    async with scene(server, world, cached=cached, interceptors=short) as travel:
        try:
            ended = await travel.run("step flight", "step hotel")
            live = world.provider.live
            gate.open()
            await world.provider.happens("-hotel:1")
        finally:
            gate.open()

    assert ended.type == COMPENSATED
    assert ended.rows["hotel:1"] is (State.VOID if then is vanished else State.REFUSED)
    assert live == {}
    assert world.provider.story == ["+flight:1", "-flight:1", "+hotel:1", "-hotel:1"]
    assert world.provider.live == {}


async def test_a_sibling_at_work_is_waited_for(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """When one of two siblings fails, the other lands first and is undone then: nothing lands after the undo."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate))
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "parallel hotel card")
        await gate.reached()
        await travel.until(run, "hotel.book", event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "hotel.book", "card.charge", "hotel.book.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "+hotel:1", "-hotel:1", "-flight:1"]


async def test_a_sibling_in_back_off_is_stopped_at_once(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """When one sibling fails, the one that waits for its next attempt is not tried again."""
    gate = Gate()
    world.provider.script("hotel.book", unsent(retry_after=timedelta(hours=1)))
    world.provider.script("card.charge", held(gate, before=declined().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel hotel card")
        await gate.reached()
        await travel.attempted(run, "hotel.book")
        gate.open()
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "card_declined"
    assert ended.activities == ["hotel.book", "card.charge", "hotel.book.undo"]
    assert world.provider.calls["hotel.book"] == 1
    assert world.provider.story == []


async def test_the_first_failure_is_the_one_raised(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Of several siblings that fail, the one that failed first is the reason, wherever it stands."""
    gate = Gate()
    world.provider.script("hotel.book", held(gate, before=unsent().before))
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel hotel card")
        await travel.until(run, "card.charge", event="ACTIVITY_TASK_FAILED")
        gate.open()
        ended = await travel.end(run)

    assert ended.summary.reason_code == "card_declined"
    assert world.provider.story == []


async def test_an_undo_is_tried_without_end(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An undo that fails in passing is tried again, more often than any action would be."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", *(unsent() for _ in range(14)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "step card")

    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "card.charge", "flight.book.undo"]
    assert world.provider.calls["flight.book.undo"] == 15
    assert world.provider.live == {}


async def test_a_parked_undo_keeps_no_other_waiting(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Earlier steps are undone although the undo of a later one waits for a person."""
    world.provider.script("card.charge", declined())
    world.provider.script("hotel.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "step card")
        task = await travel.task(run)
        await travel.until(run, "flight.book.undo")
        story = list(world.provider.story)
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert task.undo
    assert story == ["+flight:1", "+hotel:1", "-flight:1"]
    assert ended.type == COMPENSATED
    assert world.provider.live == {}


async def test_a_reconcilable_step_asks_a_person(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What has no automatic undo is put to a person when the saga turns round."""
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step visa", "step card")
        task = await travel.decide(run, Choice.SUPPLY)
        ended = await travel.end(run)

    assert task.id == "1-undo-1"
    assert task.failure is not None
    assert task.failure.reason == "no_undo"
    assert ended.type == COMPENSATED
    assert ended.activities == ["visa.file", "card.charge", "visa.file.undo", "kit.record_decision"]
    assert ended.rows == {"visa:1": State.UNDONE, "card:1": State.REFUSED}


async def test_a_failed_reconcilable_step_is_looked_up(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What has no automatic undo needs no person when the look-up shows that nothing happened."""
    world.provider.always("visa.file", vanished())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step visa")

    assert ended.type == COMPENSATED
    assert ended.activities == ["visa.file", "visa.file.undo"]
    assert ended.rows == {"visa:1": State.VOID}


async def test_an_unclassified_exception_asks_a_person_after_three_attempts(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A bug is tried three times and then put to a person; unwinding finds what it left."""
    world.provider.always("hotel.book", bug())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel")
        task = await travel.decide(run, Choice.UNWIND)
        ended = await travel.end(run)

    assert task.failure is not None
    assert task.failure.kind == "bug"
    assert task.failure.reason == "KeyError"
    assert world.provider.calls["hotel.book"] == 3
    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "KeyError"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book.undo", "flight.book.undo"]
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.VOID}
