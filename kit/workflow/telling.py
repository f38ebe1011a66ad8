"""How a run's end is told: the summary, the log event and metrics of its end, and the error that closes it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError, FailureError, is_cancelled_exception

from kit.contract import FailureKind
from kit.telemetry import Event, count, measure, names
from kit.workflow.outcomes import REASON_CANCELLED, REASON_DEADLINE, causes, read_failure
from kit.workflow.run import Run
from kit.workflow.steps import UndoState
from kit.workflow.story import RunSummary, Status, row

COMPENSATED: Final = "SagaCompensated"
RESIDUE: Final = "SagaResidue"
DEADLINE: Final = "SagaDeadlineExceeded"
INVALID: Final = "SagaInvalidStep"
RUN_TIMEOUT: Final = "SagaRunTimeout"
"""Types of the application errors that close a saga. Released strings never change."""


def summary(run: Run) -> RunSummary:
    """How a run stands."""
    info = workflow.info()
    undone = (UndoState.UNDONE, UndoState.LEFT)
    return RunSummary(
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        workflow_type=info.workflow_type,
        correlation_id=run.correlation_id,
        status=run.status,
        parked=any(task.open for task in run.tasks.values()),
        reason_code=run.reason,
        duration_ms=int((workflow.now() - run.started_at) / timedelta(milliseconds=1)),
        retry_count=sum(max(step.attempts - 1, 0) for step in run.steps),
        compensation_count=sum(step.undo in undone for step in run.steps),
        key_outputs=run.key_outputs,
        steps=[row(step) for step in run.steps],
        residue=[step.key for step in run.steps if step.undo is UndoState.LEFT],
        tasks=list(run.tasks.values()),
    )


def close(run: Run, status: Status) -> RunSummary:
    """Tell everybody how a run ends."""
    run.status = status
    run.refresh()
    ended = summary(run)
    run.log.info(Event.RUN_SUMMARY, **run.facts, **{name: getattr(ended, name) for name in names.SUMMARY_FIELDS})
    meter = workflow.metric_meter()
    kind = ended.workflow_type
    count(meter, names.RUNS, workflow_type=kind, status=status.value, reason_code=run.reason)
    measure(meter, names.RUN_DURATION, ended.duration_ms, workflow_type=kind, status=status.value)
    return ended


def closing_error(run: Run, cause: BaseException) -> FailureError:
    """Close a run that has turned round. Returns the error that does it."""
    left = [step for step in run.steps if step.undo is UndoState.LEFT]
    cancelled = not left and run.reason == REASON_CANCELLED
    status = Status.RESIDUE if left else Status.CANCELLED if cancelled else Status.COMPENSATED
    ended = close(run, status).model_dump(mode="json")
    undone = [step.summary for step in run.steps if step.undo is UndoState.UNDONE]
    told = f"Undone: {'; '.join(undone)}." if undone else "Nothing had to be undone."
    if cancelled:
        return CancelledError(f"cancelled. {told}", ended)
    why = words_of(cause)
    if left:
        kept = "; ".join(f"{step.summary} ({step.key})" for step in left)
        return ApplicationError(f"{why} Left in place: {kept}. {told}", ended, type=RESIDUE, non_retryable=True)
    return ApplicationError(f"{why} {told}", ended, type=COMPENSATED, non_retryable=True)


def reason_of(cause: BaseException) -> str:
    """The reason code of what turned a run round."""
    if workflow.cancellation_reason() is not None and is_cancelled(cause):
        return REASON_CANCELLED
    match cause:
        case ApplicationError() if cause.type == DEADLINE:
            return REASON_DEADLINE
        case ValidationError():
            return FailureKind.INVALID.value
        case ApplicationError() if cause.type and not cause.details:
            return cause.type
        case FailureError():
            return read_failure("", cause).reason
        case _:
            return type(cause).__name__


def is_cancelled(error: BaseException) -> bool:
    """Whether an error says that something was cancelled, in any of its forms."""
    return isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error)


def words_of(cause: BaseException) -> str:
    """The words about a failure that say most: the guard's, where it spoke."""
    if is_cancelled(cause):
        return "cancelled."
    inner = cause
    if isinstance(cause, FailureError):
        chain = list(causes(cause))
        inner = next((error for error in chain if isinstance(error, ApplicationError)), chain[-1])
    text = (inner.message if isinstance(inner, FailureError) else str(inner)) or type(inner).__name__
    return text if text.endswith(".") else f"{text}."


def key_outputs(result: Any) -> dict[str, Any]:
    """What a result says in public: its ids and its status. Everything else may be personal."""
    if not isinstance(result, BaseModel):
        return {}
    fields = {name: getattr(result, name) for name in type(result).model_fields}
    return {
        name: value
        for name, value in fields.items()
        if isinstance(value, str | int) and (name == "status" or name == "id" or name.endswith("_id"))
    }
