"""A pivot that cannot be undone and may have happened: nothing turns round before it is found out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import Fault, Gate, World, bug, declined, held, lost, unsent, vanished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

LINES = ("step flight", "pivot visa", "step car", "after mail")
FORWARD = {"car:1": 1, "flight:1": 1, "mail:1": 1, "visa:1": 1}


async def cancelled_while_looking(travel: Scene, run: Run, gate: Gate) -> None:
    """Cancel the run while the pivot is looked up; that look-up then fails."""
    await gate.reached()
    await run.cancel()
    await travel.until(run, "visa.file", event="ACTIVITY_TASK_CANCEL_REQUESTED")
    gate.open()


async def test_cancellation_comes_too_late_for_what_has_happened(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """The reply was lost and the run is cancelled: the effect is found, and the saga goes forward."""
    gate = Gate()
    world.provider.script("visa.file", lost())
    world.provider.script("visa.file.probe", held(gate, before=vanished().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start(*LINES)
        await cancelled_while_looking(travel, run, gate)
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "visa.file", "visa.file.undo", "car.book", "mail.send"]
    assert world.provider.live == FORWARD
    assert set(ended.rows.values()) == {State.DONE}


async def test_cancellation_is_heeded_when_it_has_not_happened(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """The request was lost and the run is cancelled: it never will happen, and the steps before it are undone."""
    gate = Gate()
    world.provider.script("visa.file", vanished())
    world.provider.script("visa.file.probe", held(gate, before=vanished().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start(*LINES)
        await cancelled_while_looking(travel, run, gate)
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.activities == ["flight.book", "visa.file", "visa.file.undo", "flight.book.undo"]
    assert world.provider.live == {}
    assert ended.rows == {"flight:1": State.UNDONE, "visa:1": State.VOID}


async def test_deadline_turns_nothing_round_that_has_happened(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """The deadline is over while nobody can look: the saga goes forward as soon as somebody can."""
    world.provider.script("visa.file", lost())
    world.provider.script("visa.file.probe", unsent(retry_after=timedelta(hours=7)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run(*LINES)

    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == FORWARD


async def test_refusal_turns_the_saga_round_without_another_look(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """What is known not to have happened is not looked for."""
    world.provider.script("visa.file", declined())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run(*LINES)

    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "visa.file", "flight.book.undo"]


async def test_bug_before_the_effect_turns_the_saga_round(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """An error that nobody knows asks nobody either, when the look-up says that nothing has happened."""
    world.provider.always("visa.file", bug())

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run(*LINES)

    assert ended.type == COMPENSATED
    assert world.provider.live == {}
    assert ended.rows["visa:1"] == State.VOID


@pytest.mark.parametrize(("choice", "closed_as"), [(Choice.SUPPLY, "COMPLETED"), (Choice.RETRY, "CANCELED")])
async def test_person_says_what_no_machine_can_find_out(
    server: WorkflowEnvironment, world: World, cached: bool, choice: Choice, closed_as: str
) -> None:
    """Without a look-up a person is asked before anything is undone: it happened; or it did not, and never will."""
    gate = Gate()
    world.provider.script("letter.send", held(gate, before=vanished().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "pivot letter", "step car")
        await gate.reached()
        await run.cancel()
        await travel.until(run, "letter.send", event="ACTIVITY_TASK_CANCEL_REQUESTED")
        gate.open()
        task = await travel.decide(run, choice)
        ended = await travel.end(run)

    assert (task.operation, task.undo) == ("letter.send", False)
    assert ended.closed_as == closed_as
    assert ("-flight:1" in world.provider.story) is (choice is Choice.RETRY)


@pytest.mark.parametrize("happened", [True, False])
async def test_cancellation_withdraws_no_question_about_what_may_have_happened(
    server: WorkflowEnvironment, world: World, happened: bool
) -> None:
    """A run that is cancelled while a person is asked goes on asking, and nothing is undone before the answer."""
    world.provider.script("visa.file", Fault(after=KeyError("amount")) if happened else bug())
    world.provider.always("visa.file.probe", bug())

    async with scene(server, world) as travel:
        run = await travel.start(*LINES)
        asked = await travel.task(run)
        await run.cancel()
        await travel.until(run, event="WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        before_the_answer = dict(world.provider.live)
        world.provider.always("visa.file.probe", None)
        task = await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert (task.id, task.undo) == (asked.id, False)
    assert before_the_answer["flight:1"] == 1
    assert ended.closed_as == ("COMPLETED" if happened else "CANCELED")
    assert world.provider.live == (FORWARD if happened else {})
