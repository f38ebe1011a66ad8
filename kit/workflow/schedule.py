"""From a contract to the options of an activity. The one place where the kit schedules anything."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy

from kit.contract import Operation, Token, UndoRequest
from kit.workflow.findings import FIND_RUNS_ACTIVITY, FindRuns, RunOfEffect
from kit.workflow.open_work import FIND_OPEN_ACTIVITY, FindOpen, OpenWork
from kit.workflow.steps import Done, Step, UndoEnded
from kit.workflow.tasks import DecisionRecord

RECORD_ACTIVITY: Final = "kit.record_decision"
"""Name of the activity that writes a person's decision into the ledger."""

_RETRY: Final = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)
"""Used only where the guard could not speak (a lost worker). It counts attempts and ends them; there is no cap here."""

_RECORD_TIMEOUT: Final = timedelta(seconds=10)

_LOOK_TIMEOUT: Final = timedelta(seconds=30)

_OPEN_TIMEOUT: Final = timedelta(minutes=2)
"""It goes through all open runs."""

_CANCEL: Final = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
"""An attempt at work is never left behind: its outcome is waited for before anything is undone."""


@lru_cache(maxsize=256)  # bounded: a sandbox that is not told to pass contracts through makes them anew per run
def _done(operation: Operation[Any, Any]) -> Any:
    """The type of a result's envelope, made once: making it costs more than anything else in scheduling a step."""
    return Done[operation.result]  # type: ignore[name-defined] # a type made at run time


def start_action(
    operation: Operation[Any, Any], step: Step, token: Token, *, budget: timedelta | None
) -> workflow.ActivityHandle[Done[Any]]:
    """Schedule a step. ``budget``: what is left of the deadline; ``None`` for as long as it takes."""
    if operation.local:
        return workflow.start_local_activity(
            operation.name,
            args=[step.request, token],
            result_type=_done(operation),
            start_to_close_timeout=operation.timeout,
            schedule_to_close_timeout=budget,
            retry_policy=_RETRY,
            local_retry_threshold=timedelta(seconds=1),
            cancellation_type=_CANCEL,
            summary=step.summary,
        )
    return workflow.start_activity(
        operation.name,
        args=[step.request, token],
        task_queue=step.task_queue,
        result_type=_done(operation),
        start_to_close_timeout=operation.timeout,
        schedule_to_close_timeout=budget,
        retry_policy=_RETRY,
        cancellation_type=_CANCEL,
        summary=step.summary,
    )


def start_undo(
    operation: Operation[Any, Any], step: Step, token: Token, undo: UndoRequest[Any, Any], *, summary: str = "Undo"
) -> workflow.ActivityHandle[UndoEnded]:
    """Schedule a step's undo: as long as it takes. ``summary``: what is done about the step, in a word."""
    return workflow.start_activity(
        operation.undo_name,
        args=[undo, token],
        task_queue=step.task_queue,
        result_type=UndoEnded,
        start_to_close_timeout=operation.timeout,
        retry_policy=_RETRY,
        cancellation_type=_CANCEL,
        summary=f"{summary}: {step.summary}",
    )


def start_record(record: DecisionRecord, token: Token) -> workflow.ActivityHandle[None]:
    """Schedule the writing down of a decision: as long as it takes."""
    return workflow.start_activity(
        RECORD_ACTIVITY,
        args=[record, token],
        result_type=type(None),
        start_to_close_timeout=_RECORD_TIMEOUT,
        retry_policy=_RETRY,
        cancellation_type=_CANCEL,
        summary=f"Record the decision of {record.who}: {record.choice.value} {record.operation}",
    )


def start_find_runs(asked: FindRuns, *, budget: timedelta) -> workflow.ActivityHandle[list[RunOfEffect]]:
    """Schedule the question which runs had some effects."""
    return workflow.start_activity(
        FIND_RUNS_ACTIVITY,
        args=[asked],
        result_type=list[RunOfEffect],
        start_to_close_timeout=_LOOK_TIMEOUT,
        schedule_to_close_timeout=budget,
        retry_policy=_RETRY,
        cancellation_type=_CANCEL,
        summary=f"Find the runs of {len(asked.keys)} effects",
    )


def start_find_open(asked: FindOpen) -> workflow.ActivityHandle[OpenWork]:
    """Schedule the question what is still open: as long as it takes."""
    return workflow.start_activity(
        FIND_OPEN_ACTIVITY,
        args=[asked],
        result_type=OpenWork,
        start_to_close_timeout=_OPEN_TIMEOUT,
        retry_policy=_RETRY,
        cancellation_type=_CANCEL,
        summary="Find open tasks and holds",
    )
