"""How a run stands, as the server tells it."""

from __future__ import annotations

from typing import Any, Final

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from kit.testing.runs import Ending
from kit.workflow import COMPENSATED, PARKED_MEMO

ATTEMPTS: Final = 12
"""After so many failed attempts an activity is taken to fail for ever; the guard waits out less."""

_TOO_SLOW: Final = "[TMPRL1101]"
"""The SDK's number for a workflow that did not yield in time."""


async def carried(handle: WorkflowHandle[Any, Any]) -> int:
    """How many of its workflow tasks were carried out."""
    events = (await handle.fetch_history()).events
    return sum(event.HasField("workflow_task_completed_event_attributes") for event in events)


def has_task(look: Any) -> bool:
    """Whether a workflow task waits for a worker."""
    return bool(look.raw_description.HasField("pending_workflow_task"))


async def parked(look: Any) -> bool:
    """Whether it waits for a person."""
    return bool((await look.memo()).get(PARKED_MEMO))


async def refused(handle: WorkflowHandle[Any, Any], look: Any) -> bool:
    """Whether the code has failed a workflow task, which it then does again at each attempt.

    The SDK reports the first failure only and lets the next attempts time out, ten seconds each.
    """
    raw = look.raw_description
    if not raw.HasField("pending_workflow_task") or raw.pending_workflow_task.attempt < 2:
        return False
    failure = _task_failure((await handle.fetch_history()).events)
    # A task may also have failed because this machine was too slow for the SDK's deadlock detection.
    return bool(failure) and _TOO_SLOW not in failure


def stands(look: Any) -> str:
    """Why a run will not go on by itself; empty when it may."""
    raw = look.raw_description
    if raw.HasField("pending_workflow_task") and raw.pending_workflow_task.attempt > 2:
        return "its workflow task fails again and again"
    for activity in raw.pending_activities:
        if activity.attempt > ATTEMPTS:
            said = " ".join(activity.last_failure.message.split())
            return f"{activity.activity_type.name} fails again and again: {said}"
    return ""


async def ending(look: Any, events: Any) -> tuple[Ending, str]:
    """How it ended, and what it says of itself when it neither completed nor was undone."""
    match look.status:
        case WorkflowExecutionStatus.COMPLETED:
            return Ending.COMPLETED, ""
        case WorkflowExecutionStatus.CANCELED:
            return Ending.CANCELLED, ""
        case WorkflowExecutionStatus.FAILED:
            failure = events[-1].workflow_execution_failed_event_attributes.failure
            kind = failure.application_failure_info.type
            said = " ".join(failure.message.split())
            return (Ending.COMPENSATED, said) if kind == COMPENSATED else (Ending.FAILED, f"{kind}: {said}")
        case WorkflowExecutionStatus.RUNNING if await parked(look):
            return Ending.PARKED, "it waits for a person"
        case _:
            return Ending.STUCK, _task_failure(events) or stands(look) or "it did not end in time"


def _task_failure(events: Any) -> str:
    """Why the last workflow task failed, in the server's record; empty when none has since one was completed."""
    for event in reversed(events):
        if event.HasField("workflow_task_completed_event_attributes"):
            break
        if event.HasField("workflow_task_failed_event_attributes"):
            told = event.workflow_task_failed_event_attributes
            cause = WorkflowTaskFailedCause.Name(told.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").lower()
            return f"{cause.replace('_', ' ')} at event {event.event_id}: {' '.join(told.failure.message.split())}"
    return ""
