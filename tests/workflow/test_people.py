"""Runs that wait for a person: what is asked, what may be answered, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Decision, Status
from kit.ledger.states import State
from kit.workflow import (
    COMPENSATED,
    DECIDE_UPDATE,
    PARKED_MEMO,
    RESIDUE,
    SUMMARY_QUERY,
    TASKS_QUERY,
    RunSummary,
    Task,
)
from tests.workflow.scene import scene
from tests.workflow.world import Gate, World, bug, declined, held, lost, unsent, vanished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


# --- the undo -----------------------------------------------------------------------------------------------------


async def test_a_refused_undo_is_tried_again(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An undo that is refused parks; on "retry" it is asked again and the run ends compensated."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step card")
        task = await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert task.id == "1-undo-1"
    assert task.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    assert task.question == (
        "The undo of “Book the flight of 1” cannot go on by itself: declined (card_declined), outcome unknown, "
        "key flight:1."
    )
    assert (task.owner, task.runbook) == ("travel-team", "https://runbooks.test/agency")
    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "card.charge", "flight.book.undo", "flight.book.undo"]
    assert world.provider.story == ["+flight:1", "-flight:1"]


async def test_a_skipped_undo_leaves_residue(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An undo that a person skips leaves the effect in place, and the run says so."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "step card")
        await travel.decide(run, Choice.SKIP)
        ended = await travel.end(run)

    assert ended.closed_as == "FAILED"
    assert ended.type == RESIDUE
    assert str(ended.error) == (
        "SagaResidue: card.charge: no (card_declined). No effect. Left in place: Book the flight of 1 (flight:1). "
        "Undone: Book the hotel of 1."
    )
    assert ended.summary.status is Status.RESIDUE
    assert ended.summary.residue == ["flight:1"]
    assert world.provider.live == {"flight:1": 1}
    assert ended.rows["flight:1"] is State.DONE


async def test_an_undo_done_by_hand_is_recorded(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An undo that a person has done by hand counts as undone, also in the ledger."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step card")
        await travel.decide(run, Choice.SUPPLY)
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == ["flight.book", "card.charge", "flight.book.undo", "kit.record_decision"]
    assert ended.rows["flight:1"] is State.UNDONE


async def test_a_cancelled_run_with_residue_says_so(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A cancelled run that left an effect in place does not end as cancelled."""
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "wait")
        await travel.until(run, "flight.book")
        await run.cancel()
        await travel.decide(run, Choice.SKIP)
        ended = await travel.end(run)

    assert ended.closed_as == "FAILED"
    assert ended.type == RESIDUE
    assert ended.summary.reason_code == "cancelled"


# --- a step before the pivot --------------------------------------------------------------------------------------


async def test_a_parked_step_goes_on_where_it_stopped(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """On "retry" a parked step is tried again under its key, and the run goes on from there."""
    world.provider.script("hotel.book", bug(), bug(), bug())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "step car")
        parked = await travel.task(run)
        memo = await (await run.describe()).memo()
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert parked.choices == (Choice.RETRY, Choice.SUPPLY, Choice.UNWIND)
    assert memo[PARKED_MEMO] == ["2-1"]
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "hotel.book", "hotel.book", "car.book"]
    assert ended.history.timers == 0
    assert world.provider.live == {"car:1": 1, "flight:1": 1, "hotel:1": 1}


async def test_a_supplied_result_is_the_steps_result(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What a person has done by hand is the step's result, and is undone like any other."""
    world.provider.always("hotel.book", bug())
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step hotel", "step card")
        await travel.decide(run, Choice.SUPPLY, result={"id": "by hand"})
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == ["hotel.book", "kit.record_decision", "card.charge", "hotel.book.undo"]
    assert world.provider.calls["hotel.book.undo"] == 1
    assert ended.rows["hotel:1"] is State.UNDONE


async def test_never_twice_asks_instead_of_repeating(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An unknown outcome that nobody can look up goes to a person after one attempt."""
    world.provider.script("fax.send", lost())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step fax", "step car")
        task = await travel.decide(run, Choice.SUPPLY, result={"id": "arrived"})
        ended = await travel.end(run)

    assert task.failure is not None
    assert task.failure.outcome == "unknown"
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["fax.send", "kit.record_decision", "car.book"]
    assert world.provider.calls["fax.send"] == 1
    assert world.provider.live == {"car:1": 1, "fax:1": 1}


async def test_never_twice_is_repeated_on_a_persons_word(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """Who answers "retry" to an unknown outcome says that it did not happen; that is recorded, then it is tried."""
    world.provider.script("fax.send", vanished())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step fax")
        task = await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert task.question.endswith(" Retry only if you have seen that it did not happen.")
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["fax.send", "kit.record_decision", "fax.send"]
    assert world.provider.story == ["+fax:1"]
    assert ended.rows["fax:1"] is State.DONE


async def test_never_twice_unwound_asks_about_the_undo(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """The undo of what nobody can look up goes to a person as well, and nothing is repeated."""
    world.provider.script("fax.send", lost())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step fax")
        await travel.decide(run, Choice.UNWIND)
        undo = await travel.decide(run, Choice.SUPPLY, number=2)
        ended = await travel.end(run)

    assert undo.id == "1-undo-2"
    assert ended.type == COMPENSATED
    assert ended.activities == ["fax.send", "fax.send.undo", "kit.record_decision"]
    assert world.provider.calls["fax.send"] == 1
    assert ended.rows["fax:1"] is State.UNDONE


# --- a step after the pivot ---------------------------------------------------------------------------------------


async def test_after_the_pivot_a_passing_failure_is_waited_out(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """After the pivot a transient failure is tried again, more often than any step before it would be."""
    world.provider.script("car.book", *(unsent() for _ in range(14)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("pivot card", "step car")

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["card.charge", "car.book"]
    assert world.provider.calls["car.book"] == 15
    assert world.provider.live == {"car:1": 1, "card:1": 1}


@pytest.mark.parametrize("choice", [Choice.RETRY, Choice.SUPPLY, Choice.UNWIND])
async def test_after_the_pivot_a_permanent_failure_asks(
    server: WorkflowEnvironment, world: World, cached: bool, choice: Choice
) -> None:
    """After the pivot a definite failure parks: only a person turns the saga round."""
    world.provider.script("car.book", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "pivot card", "step car", "after mail")
        task = await travel.decide(run, choice, result={"id": "mine"})
        ended = await travel.end(run)

    assert task.choices == (Choice.RETRY, Choice.SUPPLY, Choice.UNWIND)
    if choice is Choice.UNWIND:
        assert ended.type == COMPENSATED
        assert ended.summary.reason_code == "card_declined"
        assert ended.activities[-2:] == ["card.charge.undo", "flight.book.undo"]
        assert world.provider.live == {}
    else:
        assert ended.closed_as == "COMPLETED"
        assert ended.activities[-2:] == [
            "car.book" if choice is Choice.RETRY else "kit.record_decision",
            "mail.send",
        ]
        assert ended.rows["car:1"] is State.DONE


async def test_after_commit_a_failure_keeps_the_order(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What was held back and fails undoes nothing: it asks, may be skipped, and keeps no other waiting."""
    world.provider.script("mail.send", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "after mail", "after letter")
        task = await travel.task(run)
        await travel.until(run, "letter.send")
        standing = await run.query(SUMMARY_QUERY, result_type=RunSummary)
        await travel.decide(run, Choice.SKIP)
        ended = await travel.end(run)

    assert task.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    assert standing.status is Status.COMMITTED
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "mail.send", "letter.send", "kit.record_decision"]
    assert world.provider.live == {"flight:1": 1, "letter:1": 1}
    assert ended.rows["mail:1"] is State.VOID


async def test_after_commit_a_passing_failure_is_waited_out(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """What was held back is tried without end, and only that."""
    world.provider.script("mail.send", *(unsent() for _ in range(12)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "after mail")

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["flight.book", "mail.send"]
    assert world.provider.calls["flight.book"] == 1
    assert world.provider.live == {"flight:1": 1, "mail:1": 1}


async def test_a_pivot_without_a_result_may_be_skipped(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A skipped pivot is a pivot: the saga only goes forward."""
    world.provider.always("letter.send", bug())
    world.provider.script("car.book", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("pivot letter", "step car")
        first = await travel.decide(run, Choice.SKIP)
        await travel.decide(run, Choice.RETRY, number=2)
        ended = await travel.end(run)

    assert first.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY, Choice.UNWIND)
    assert ended.closed_as == "COMPLETED"
    assert ended.rows == {"letter:1": State.VOID, "car:1": State.DONE}


# --- the body after the pivot -------------------------------------------------------------------------------------


async def test_a_body_that_fails_after_the_pivot_asks(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A failure of the workflow's own code after the pivot undoes nothing by itself; a person supplies the result."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "after mail", "pivot card", "fail Oops")
        task = await travel.decide(run, Choice.SUPPLY, result={"trip_id": "by hand"})
        ended = await travel.end(run)

    assert task.id == "body-1"
    assert task.choices == (Choice.SUPPLY, Choice.UNWIND)
    assert task.question == (
        "The workflow's own code failed after the pivot, where nothing turns round by itself: out of luck. "
        "Supply what it should have returned, or unwind everything it did."
    )
    assert task.failure is not None
    assert (task.owner, task.failure.reason) == ("travel-desk", "Oops")
    assert ended.closed_as == "COMPLETED"
    assert ended.result.trip_id == "by hand"
    assert world.provider.live == {"card:1": 1, "flight:1": 1, "mail:1": 1}


async def test_a_body_that_fails_after_the_pivot_is_unwound(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """On "unwind" everything is undone, the pivot too, and what was held back never happens."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "after mail", "pivot card", "fail Oops")
        await travel.decide(run, Choice.UNWIND)
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "Oops"
    assert ended.activities == ["flight.book", "card.charge", "card.charge.undo", "flight.book.undo"]
    assert world.provider.live == {}


# --- decisions ----------------------------------------------------------------------------------------------------


async def refused(travel: Any, run: Any, **decision: Any) -> str:
    """The message with which a decision is refused."""
    answer = Decision(**{"who": "ada", "why": "because", **decision})
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await run.execute_update(DECIDE_UPDATE, answer, result_type=Task)
    return str(caught.value.cause)


async def test_a_decision_must_fit_its_question(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A decision on no task, not offered, with a result that does not fit, or on a decided task is refused."""
    world.provider.always("hotel.book", bug())
    world.provider.script("car.book", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step hotel", "pivot card", "step car")
        await travel.task(run)
        unknown = await refused(travel, run, task_id="9-9", choice=Choice.RETRY)
        unoffered = await refused(travel, run, task_id="1-1", choice=Choice.SKIP)
        unfit = await refused(travel, run, task_id="1-1", choice=Choice.SUPPLY, result={"nr": 7})
        await travel.decide(run, Choice.SUPPLY, result={"id": "x"})
        await travel.task(run, number=2)
        twice = await refused(travel, run, task_id="1-1", choice=Choice.RETRY)
        await travel.decide(run, Choice.RETRY, number=2)
        ended = await travel.end(run)
        tasks = await run.query(TASKS_QUERY, result_type=list[Task])

    assert unknown == "ValueError: there is no task '9-9'; open: 1-1"
    assert unoffered == "ValueError: 'skip' is not offered; one of retry, supply, unwind"
    assert unfit.startswith("ValueError: {'nr': 7} is no result of hotel.book: 2 validation errors for Booked\n")
    assert twice == "ValueError: task '1-1' has been decided: supply by ada, because: I looked"
    assert ended.closed_as == "COMPLETED"
    assert [task.decision.choice for task in tasks if task.decision] == [Choice.SUPPLY, Choice.RETRY]


async def test_a_decision_the_ledger_refuses_asks_again(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """When a decision cannot be written down the question comes back; nothing is undone and nothing closes."""
    world.provider.script("fax.send", lost())
    world.ledger.fail("Decide", times=3)

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("pivot card", "step fax")
        await travel.decide(run, Choice.SUPPLY, result={"id": "by hand"})
        again = await travel.decide(run, Choice.SUPPLY, number=2, result={"id": "by hand"})
        ended = await travel.end(run)

    assert again.id == "2-2"
    assert again.question.startswith("“supply” of ada on “Send the fax of 1” could not be recorded: ")
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["card.charge", "fax.send", "kit.record_decision", "kit.record_decision"]
    assert ended.rows["fax:1"] is State.DONE


async def test_a_decision_being_recorded_is_not_cut_short(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A sibling's failure does not keep a decision from the ledger: what was done by hand is undone afterwards."""
    gate, recording = Gate(), world.ledger.hold("Decide")
    world.provider.script("fax.send", vanished())
    world.provider.script("card.charge", held(gate, before=declined().before))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel fax card")
        await travel.decide(run, Choice.SUPPLY, result={"id": "by hand"})
        await recording.reached()
        gate.open()
        await travel.until(run, "card.charge", event="ACTIVITY_TASK_FAILED")
        recording.open()
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert ended.activities == ["fax.send", "card.charge", "kit.record_decision", "fax.send.undo"]
    assert ended.rows["fax:1"] is State.UNDONE


async def test_two_runs_are_parked_and_decided_apart(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Siblings may wait for a person at the same time, and each question is answered for itself."""
    world.provider.script("hotel.book", bug(), bug(), bug())
    world.provider.script("fax.send", vanished())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel hotel fax")
        tasks = [await travel.task(run, number=number) for number in (1, 2)]
        decisions = [
            Decision(task_id=task.id, choice=choice, who="ada", why="so", result=result)
            for task, choice, result in zip(
                sorted(tasks, key=lambda task: task.id),
                (Choice.RETRY, Choice.SUPPLY),
                (None, {"id": "fax"}),
                strict=True,
            )
        ]
        await asyncio.gather(*(run.execute_update(DECIDE_UPDATE, each, result_type=Task) for each in decisions))
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert sorted(ended.activities) == ["fax.send", "hotel.book", "hotel.book", "kit.record_decision"]
    assert world.provider.live == {"hotel:1": 1}
