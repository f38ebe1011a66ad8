"""Sending a decision to a run, and looking what came of it: for one person and for a group of tasks alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from kit.contract import Outcome
from kit.errors import DecisionRefused
from kit.workflow import DECIDE_UPDATE, SUMMARY_QUERY, TASKS_QUERY, Choice, Decision, RunSummary, Task, UndoState
from kit.workflow.grouping import DECIDE_ACTIVITY, LOOK_ACTIVITY, LookRequest, TaskRef, Trial

CLOSED: Final = "the run is closed: nobody is asked any more"


async def send(client: Client, workflow_id: str, decision: Decision, *, run_id: str | None = None) -> Task:
    """Send a decision to a run. Sending the same one again is harmless.

    Args:
        client: A client with the kit's plugin.
        workflow_id: The run's.
        decision: The answer.
        run_id: Only to this run of the workflow id.

    Returns:
        The task as it was decided.

    Raises:
        DecisionRefused: The run has refused it, is closed, or there is none.
        RPCError: The server did not answer; or no worker of the run did, while the caller waited.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        decided: Task = await handle.execute_update(DECIDE_UPDATE, decision, id=_update_id(decision), result_type=Task)
    except WorkflowUpdateFailedError as error:
        raise DecisionRefused(str(getattr(error.cause, "message", error.cause))) from error
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise DecisionRefused(CLOSED if "completed" in error.message else error.message) from error
    return decided


def _update_id(decision: Decision) -> str:
    """The same for the same words: the server takes an update once."""
    return f"decide-{hashlib.sha256(decision.model_dump_json().encode()).hexdigest()[:32]}"


async def look(client: Client, ask: LookRequest) -> Trial:
    """What came of a decision that was taken.

    Raises:
        RPCError: The server, or a worker of the run, did not answer.
    """
    handle = client.get_workflow_handle(ask.task.workflow_id, run_id=ask.task.run_id)
    described = await handle.describe()
    tasks = await handle.query(TASKS_QUERY, result_type=list[Task])
    task = next((task for task in tasks if task.id == ask.task.task_id), None)
    if task is None or task.decided_at is None:
        return Trial.AGAIN  # it was withdrawn
    decided_at = task.decided_at
    alike = [other for other in tasks if other.open and other.opened_at >= decided_at]
    if any(other.fingerprint == ask.fingerprint or (task.step and other.step == task.step) for other in alike):
        return Trial.AGAIN
    if ask.choice is not Choice.RETRY or not task.step:
        return Trial.THROUGH
    summary = await handle.query(SUMMARY_QUERY, result_type=RunSummary)
    if _worked(task, summary.steps):
        return Trial.THROUGH
    return Trial.GOING if described.status is WorkflowExecutionStatus.RUNNING else Trial.AGAIN


def _worked(task: Task, steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the step of a task, or its undo, has been done; an edited one in its original's stead."""
    rows = {step["number"]: step for step in steps}
    row = rows.get(task.step)
    if row is None:
        return False
    if task.undo:
        return row["undo"] in (UndoState.UNDONE, UndoState.NOTHING)
    edited = {step["replaces"]: step for step in steps if step.get("replaces") is not None}
    while (later := edited.get(row["number"])) is not None:
        row = later
    return bool(row["outcome"] == Outcome.DONE)


def deciding() -> list[Callable[..., Any]]:
    """The activities of a worker by which groups of tasks are decided."""

    @activity.defn(name=DECIDE_ACTIVITY)
    async def decide_task(task: TaskRef, decision: Decision) -> str | None:
        try:
            await send(activity.client(), task.workflow_id, decision, run_id=task.run_id)
        except DecisionRefused as refused:
            return str(refused)
        return None

    @activity.defn(name=LOOK_ACTIVITY)
    async def look_at_task(ask: LookRequest) -> Trial:
        return await look(activity.client(), ask)

    return [decide_task, look_at_task]
