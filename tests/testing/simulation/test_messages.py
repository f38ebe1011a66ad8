"""Signals, updates and queries reach a run as the server and the SDK have it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError

from kit.testing.engines.simulation import SimulatedHandle, SimulatedServer
from tests.testing.simulation.bodies import SECOND, Does, ran, scripted


async def _hears_two(does: Does) -> list[str]:
    await workflow.wait_condition(lambda: len(does.words) >= 2)
    return does.words


async def _sleeps(does: Does) -> list[str]:
    await workflow.sleep(10)
    return does.words


def test_signals_before_the_first_task_come_with_the_start() -> None:
    """The workflow's first task hears of them, in order, before its body runs."""

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        handle.signal(Does.tell, "one")
        handle.signal("tell", "two")

    run = ran(_hears_two, outside=outside)

    assert run.result == ["one", "two"]
    assert run.kinds[:5] == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_STARTED",
    ]


def test_signals_while_an_activity_runs_wake_the_workflow() -> None:
    """Each leads to a workflow task of its own; the activity's result comes later."""

    async def body(does: Does) -> list[str]:
        handle = workflow.start_activity("work", start_to_close_timeout=60 * SECOND)
        await workflow.wait_condition(lambda: bool(does.words))
        heard_at = workflow.now()
        await handle
        return [*does.words, str((workflow.now() - heard_at).total_seconds())]

    async def work() -> None:
        await asyncio.sleep(20)

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(5)
        handle.signal(Does.tell, "one")

    run = ran(body, scripted(work), outside=outside)

    assert run.result == ["one", "15.0"]


def test_signals_at_one_instant_share_a_task() -> None:
    """What comes before the task has started is heard in it."""

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(1)
        handle.signal(Does.tell, "one")
        handle.signal(Does.tell, "two")

    run = ran(_hears_two, outside=outside)

    assert run.kinds.count("WORKFLOW_TASK_STARTED") == 2


def test_a_signal_that_nobody_handles_changes_nothing() -> None:
    """It is in the history, and the workflow goes on."""

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        handle.signal("unheard-of", 1)

    assert ran(_sleeps, outside=outside).result == []


# --- updates ----------------------------------------------------------------------------------------------------------


def _updates(*words: Any, answers: list[Any], at: float = 1) -> Any:
    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(at)
        for word in words:
            try:
                answers.append(await handle.execute_update(Does.ask, word))
            except WorkflowUpdateFailedError as error:
                answers.append(str(error.cause))

    return outside


def test_an_update_is_accepted_works_and_answers() -> None:
    """Both are events, and the answer comes when its handler is done."""
    answers: list[Any] = []

    run = ran(_sleeps, outside=_updates("one", answers=answers))

    assert (answers, run.result) == (["heard one"], ["one"])
    assert run.kinds.count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == 1
    assert run.kinds.count("WORKFLOW_EXECUTION_UPDATE_COMPLETED") == 1


def test_a_rejected_update_leaves_no_trace() -> None:
    """The validator's words are the answer, and neither the update nor the task for it is in the history."""
    answers: list[Any] = []

    run = ran(_sleeps, outside=_updates("bad", answers=answers))

    assert answers == ["ValueError: a bad word"]
    assert run.kinds == ran(_sleeps).kinds


def test_a_failed_update_is_no_failed_workflow() -> None:
    """It was accepted, and its failure is its answer."""
    answers: list[Any] = []

    run = ran(_sleeps, outside=_updates("fail", answers=answers))

    assert (answers, run.result) == (["asked too much"], [])
    assert run.kinds.count("WORKFLOW_EXECUTION_UPDATE_COMPLETED") == 1


def test_an_update_that_nobody_handles_is_rejected() -> None:
    """The answer names the handlers there are."""
    answers: list[Any] = []

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        try:
            await handle.execute_update("unheard-of")
        except WorkflowUpdateFailedError as error:
            answers.append(str(error.cause))

    ran(_sleeps, outside=outside)

    assert "unheard-of" in answers[0]


def test_an_update_that_is_sent_twice_happens_once() -> None:
    """The same id is the same update."""
    answers: list[Any] = []

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        for _ in range(2):
            answers.append(await handle.execute_update(Does.ask, "one", id="same"))

    run = ran(_sleeps, outside=outside)

    assert (answers, run.result) == (["heard one"] * 2, ["one"])


def test_an_update_that_the_end_overtakes_fails() -> None:
    """The run closes while the handler is at work, of which the SDK warns."""
    answers: list[Any] = []

    with pytest.warns(workflow.UnfinishedUpdateHandlersWarning):
        ran(_sleeps, outside=_updates("late", answers=answers, at=9.5))

    assert answers == ["Workflow Update failed because the Workflow completed before the Update completed."]


# --- queries ----------------------------------------------------------------------------------------------------------


def test_a_query_leaves_no_trace() -> None:
    """It is answered by the workflow as it stands, and by one that has closed."""
    answers: list[Any] = []

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(1)
        handle.signal(Does.tell, "one")
        await asyncio.sleep(1)
        answers.append(handle.query(Does.heard))

    run = ran(_sleeps, outside=outside)

    assert (answers, run.handle.query("heard")) == ([["one"]], ["one"])
    assert run.kinds.count("WORKFLOW_TASK_STARTED") == 3


def test_a_query_of_a_forgotten_run_replays_it() -> None:
    """A worker that knows nothing of it reads the history, and answers the same."""
    answers: list[Any] = []

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        answers.append(await handle.execute_update(Does.ask, "one"))
        server.evict()
        answers.append(handle.query(Does.heard))

    ran(_sleeps, outside=outside)

    assert answers == ["heard one", ["one"]]


def test_a_query_that_nobody_handles_fails() -> None:
    """The error names those there are."""
    run = ran(_sleeps)

    with pytest.raises(WorkflowQueryFailedError, match="heard"):
        run.handle.query("unheard-of")
