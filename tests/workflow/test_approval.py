"""Runs that ask before they do something: what is approved, for what, for how long, and how often."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Decision
from kit.ledger.states import State
from kit.telemetry import Event
from kit.workflow import (
    COMPENSATED,
    DECIDE_SIGNAL,
    DECIDE_UPDATE,
    EXPIRED,
    INVALID,
    REJECTED,
    SUMMARY_QUERY,
    TASKS_MEMO,
    TASKS_QUERY,
    RunSummary,
    Task,
    TaskKind,
)
from tests.workflow.approvals import SHORT, WITHIN, Asks, Urgent, Wavers, Wonders
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import Ask, Booked, World, declined

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@asynccontextmanager
async def desk(server: WorkflowEnvironment, world: World, *, cached: bool = True) -> AsyncIterator[Scene]:
    """A worker whose runs ask."""
    async with scene(server, world, cached=cached, workflows=[Asks, Wonders, Urgent]) as travel:
        yield travel


async def asks(server: WorkflowEnvironment, travel: Scene, note: str = "", *, workflow: Any = Asks) -> Run:
    """Start a run whose clock stands still: a question that expires would else be over before anybody reads it."""
    with server.with_time_skipping_disabled():
        return await travel.worker.start(workflow.run, Ask(id="1", note=note))


async def parked_memo(run: Run) -> Any:
    """The memo of a parked run, once the server has written it down."""
    while TASKS_MEMO not in (memo := await (await run.describe()).memo()):
        pass
    return memo


async def current_details(run: Run) -> str:
    """What the Temporal UI shows of a run."""
    metadata: WorkflowMetadata = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def refused(run: Run, task: Task, **decision: Any) -> str:
    """Why a decision is not taken."""
    answer = Decision(**{"task_id": task.id, "who": "ada", "why": "because", **decision})
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await run.execute_update(DECIDE_UPDATE, answer, result_type=Task)
    return str(caught.value.cause)


# --- what is asked ------------------------------------------------------------------------------------------------


async def test_what_is_approved_is_done_once(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run waits for an approval, shows exactly what it is about, and then does it under that approval."""
    async with desk(server, world, cached=cached) as travel:
        run = await asks(server, travel)
        task = await travel.task(run)
        memo = await parked_memo(run)
        before = world.provider.live
        await travel.decide(run, Choice.APPROVE)
        ended = await travel.end(run)
        summary = await run.query(SUMMARY_QUERY, result_type=RunSummary)

    assert (task.id, task.kind, task.fingerprint) == ("approval-1", TaskKind.APPROVAL, "card.charge:approval")
    assert (task.question, task.owner, task.escalation) == ("May 100 EUR be charged?", "travel-team", "head-of-desk")
    assert task.request == {"id": "1", "note": "100 EUR"}
    assert task.choices == (Choice.APPROVE, Choice.REJECT)
    assert (task.failure, task.expires_at) == (None, task.opened_at + WITHIN)
    assert [notice["id"] for notice in memo[TASKS_MEMO]] == ["approval-1"]
    assert before == {"flight:1": 1}
    assert ended.result == "ada: I looked"
    assert ended.activities == ["flight.book", "card.charge"]
    assert world.provider.live == {"card:1": 1, "flight:1": 1}
    assert summary.steps[1]["approval"] == "approval-1"
    assert summary.tasks[0].used_by == 2


async def test_a_rejection_turns_the_saga_round(server: WorkflowEnvironment, world: World) -> None:
    """What a person rejects is not done, and what was done before is undone, with who and why as the reason."""
    async with desk(server, world) as travel:
        run = await asks(server, travel)
        await travel.decide(run, Choice.REJECT)
        ended = await travel.end(run)

    assert (ended.type, ended.summary.reason_code) == (COMPENSATED, REJECTED)
    assert "ada has rejected “May 100 EUR be charged?”: I looked." in str(ended.error)
    assert ended.activities == ["flight.book", "flight.book.undo"]
    assert world.provider.live == {}


async def test_an_approval_names_what_was_seen(server: WorkflowEnvironment, world: World) -> None:
    """Without the digest of what is asked, or with another one, nothing is approved; a rejection needs none."""
    async with desk(server, world) as travel:
        run = await asks(server, travel)
        task = await travel.task(run)
        blind = await refused(run, task, choice=Choice.APPROVE)
        other = await refused(run, task, choice=Choice.APPROVE, digest="0" * 32)
        await run.execute_update(
            DECIDE_UPDATE, Decision(task_id=task.id, choice=Choice.REJECT, who="ada", why="no"), result_type=Task
        )
        ended = await travel.end(run)

    assert f"task 'approval-1' has {task.digest!r}, the decision None" in blind
    assert f"task 'approval-1' has {task.digest!r}, the decision '{'0' * 32}'" in other
    assert ended.type == COMPENSATED


async def test_an_approval_counts_for_one_thing_once(server: WorkflowEnvironment, world: World) -> None:
    """For other arguments, for another operation, made up, or a second time, it is worth nothing."""
    async with desk(server, world) as travel:
        run = await asks(server, travel, "misuse")
        await travel.decide(run, Choice.APPROVE)
        ended = await travel.end(run)

    exactly = "is for card.charge with exactly {'id': '1', 'note': '100 EUR'}, not for"
    more, another, forged, twice = ended.result.splitlines()
    assert (
        more == f"{INVALID}: the approval 'approval-1' of ada {exactly} card.charge with Ask(id='1', note='1000 EUR')"
    )
    assert another.startswith(f"{INVALID}: the approval 'approval-1' of ada {exactly} hotel.book with ")
    assert forged == f"{INVALID}: the approval 'approval-7' was not given to this run"
    assert twice == f"{INVALID}: the approval 'approval-1' of ada was used by step 2: it counts once"
    assert ended.activities == ["flight.book", "card.charge"]


# --- time ---------------------------------------------------------------------------------------------------------


async def test_an_approval_that_nobody_gives_expires(server: WorkflowEnvironment, world: World) -> None:
    """When the time is over the run turns round by itself; it told once that the question was overdue."""
    async with desk(server, world) as travel:
        run = await travel.worker.start(Asks.run, Ask(id="1"))
        ended = await travel.end(run)

    (task,) = ended.summary.tasks
    assert (ended.type, ended.summary.reason_code) == (COMPENSATED, EXPIRED)
    assert (task.expired, task.overdue, task.decision) == (True, True, None)
    assert ended.history.timers == 2
    assert world.provider.live == {}


async def test_a_late_approval_is_refused(server: WorkflowEnvironment, world: World) -> None:
    """Once it has expired nobody can give it any more, and whoever tries is told since when."""
    async with desk(server, world) as travel:
        run = await travel.worker.start(Asks.run, Ask(id="1", note="wait when it has expired"))
        task = await travel.task(run)
        while not task.expired:
            (task,) = await run.query(TASKS_QUERY, result_type=list[Task])
        late = await refused(run, task, choice=Choice.APPROVE, digest=task.digest)
        await run.signal(Asks.go)
        ended = await travel.end(run)

    assert task.expires_at is not None
    assert (
        late == f"ValueError: task 'approval-1' expired at {task.expires_at.isoformat()}: it is too late to decide it"
    )
    assert ended.result == "expired"


async def test_an_approval_is_used_in_time_or_not_at_all(server: WorkflowEnvironment, world: World) -> None:
    """What was approved and is done too late is not done."""
    async with desk(server, world) as travel:
        run = await asks(server, travel, "late")
        await travel.decide(run, Choice.APPROVE)
        await server.fast_forward(run, SHORT + timedelta(minutes=1))
        ended = await travel.end(run)

    assert (ended.type, ended.summary.reason_code) == (COMPENSATED, EXPIRED)
    assert "card.charge" not in ended.activities


async def test_the_deadline_stands_still_while_somebody_is_asked(server: WorkflowEnvironment, world: World) -> None:
    """A saga of six hours goes on after a day and a half in which it waited for a person."""
    async with desk(server, world) as travel:
        run = await asks(server, travel)
        await travel.task(run)
        await server.fast_forward(run, timedelta(hours=36))
        await travel.decide(run, Choice.APPROVE)
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == {"card:1": 1, "flight:1": 1}


async def test_an_overdue_repair_is_told_again_once(
    server: WorkflowEnvironment, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """With a declared time a parked run says that nobody has answered, in its log and its details, and waits on."""
    world.provider.script("card.charge", declined())

    with caplog.at_level(logging.WARNING, "temporalio.workflow"):
        async with desk(server, world) as travel:
            run = await travel.worker.start(Urgent.run, Ask(id="1"))
            task = await travel.task(run)
            while not task.overdue:
                (task,) = await run.query(TASKS_QUERY, result_type=list[Task])
            details = await current_details(run)
            await travel.decide(run, Choice.RETRY)
            ended = await travel.end(run)

    assert task.due_at == task.opened_at + timedelta(hours=1)
    assert f"**Overdue since {task.due_at:%Y-%m-%d %H:%M} UTC.** Tell head-of-desk. **travel-team" in details
    told = [record for record in caplog.records if record.getMessage().startswith(Event.TASK_OVERDUE)]
    assert {getattr(record, "escalation", None) for record in told} == {"head-of-desk"}
    assert ended.closed_as == "COMPLETED"
    assert ended.history.timers == 1


async def test_where_nothing_is_declared_a_parked_run_has_no_timer(server: WorkflowEnvironment, world: World) -> None:
    """A repair is due after a day by default, which costs its run nothing."""
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        task = await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert task.due_at == task.opened_at + timedelta(days=1)
    assert ended.history.timers == 0


# --- who answers, and how -----------------------------------------------------------------------------------------


async def test_a_question_is_answered_with_what_the_body_goes_on_with(
    server: WorkflowEnvironment, world: World
) -> None:
    """`ask` belongs to no step: the decision is given to the body as it is."""
    async with desk(server, world) as travel:
        run = await asks(server, travel, workflow=Wonders)
        task = await travel.decide(run, Choice.SUPPLY, result="train")
        ended = await travel.end(run)

    assert (task.id, task.kind, task.fingerprint) == ("question-1", TaskKind.QUESTION, "travel.means:question")
    assert (task.owner, task.operation, task.step) == ("driver", "travel.means", 0)
    assert ended.result == Booked(id="car:train!")


async def test_a_decision_sent_twice_counts_once(server: WorkflowEnvironment, world: World) -> None:
    """The same words again are answered as the first time; other words come too late."""
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card", "wait")
        first = await travel.decide(run, Choice.RETRY)
        second = await travel.decide(run, Choice.RETRY)
        other = await refused(run, first, choice=Choice.UNWIND)
        await run.signal("go")
        ended = await travel.end(run)

    assert second == first
    assert other == "ValueError: task '2-1' has been decided: retry by ada, because: I looked"
    assert ended.activities == ["car.book", "card.charge", "card.charge"]


async def test_a_signal_decides_too(server: WorkflowEnvironment, world: World) -> None:
    """A signal, which a batch operation can send to many runs, answers a task by its fingerprint."""
    address = "card.charge:action:declined"
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        await travel.task(run)
        await run.signal(DECIDE_SIGNAL, Decision(task_id=address, choice=Choice.RETRY, who="ada", why="batch"))
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["car.book", "card.charge", "card.charge"]


async def test_a_signal_that_does_not_fit_is_told_and_changes_nothing(
    server: WorkflowEnvironment, world: World
) -> None:
    """Nothing can refuse a signal: the run says in its details what it heard, and goes on waiting."""
    world.provider.script("card.charge", declined())
    words = {"who": "ada", "why": "batch"}

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        await travel.task(run)
        for said in (
            {"task_id": "0-0", "choice": "retry", **words},  # shown no more: the last three are
            {"task_id": "9-9", "choice": "retry", **words},
            {"task_id": "2-1", "choice": "approve", **words},
            {"task": "2-1"},
        ):
            await run.signal(DECIDE_SIGNAL, said)
        details = await current_details(run)
        (task,) = await run.query(TASKS_QUERY, result_type=list[Task])
        await run.signal(DECIDE_SIGNAL)
        await run.signal(DECIDE_SIGNAL, {"task_id": "2-1", "choice": "retry", **words})
        ended = await travel.end(run)

    assert [line for line in details.splitlines() if "by signal" in line] == [
        "- An answer came by signal and changed nothing: " + told
        for told in (
            "“retry” of ada: there is no task '9-9'; open: 2-1",
            "“approve” of ada: 'approve' is not offered; one of retry, supply, unwind",
            "{'task': '2-1'} is no decision: task_id Field required; choice Field required; who Field required; "
            "why Field required; task Extra inputs are not permitted",
        )
    ]
    assert task.open
    assert ended.closed_as == "COMPLETED"


async def test_a_run_that_is_cancelled_withdraws_its_question(server: WorkflowEnvironment, world: World) -> None:
    """A cancellation does not wait for a person: the question is withdrawn and the saga turns round."""
    async with desk(server, world) as travel:
        run = await asks(server, travel)
        await travel.task(run)
        await run.cancel()
        ended = await travel.end(run)

    assert ended.closed_as == "CANCELED"
    assert ended.rows == {"flight:1": State.UNDONE}
    assert world.provider.live == {}


async def test_an_answer_to_an_earlier_run_fits_no_later_question(server: WorkflowEnvironment, world: World) -> None:
    """An answer that is sent again, or comes late, and meets the next run of a saga is not taken for another answer."""
    async with scene(server, world, workflows=[Wavers]) as travel:
        run = await asks(server, travel, workflow=Wavers)
        earlier = travel.worker.client.get_workflow_handle(run.id, run_id=run.result_run_id)
        first = await travel.decide(run, Choice.APPROVE)
        await travel.until(earlier, event="WORKFLOW_EXECUTION_CONTINUED_AS_NEW")
        later = await travel.task(run)
        said = Decision(task_id=first.id, choice=Choice.APPROVE, who="ada", why="I looked")
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await run.execute_update(DECIDE_UPDATE, said)
        await travel.decide(run, Choice.REJECT)
        await run.result()

    assert later.question == "By car, second?"
    assert f"there is no task {first.id!r}; open: {later.id}" in str(refused.value.cause)
    assert world.provider.live == {}
