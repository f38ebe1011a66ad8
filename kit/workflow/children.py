"""Child sagas: a step of the parent that is a whole saga, and stays undoable until the parent closes.

- A child that fails or is cancelled has undone itself: for the parent nothing happened.
- A child that completed is undone from the ledger, by the same workflow that unwinds any closed run.
- What a child holds back until its commit is handed up and carried out after the parent's: an e-mail that left could
  not be undone any more.
- A child ends by the parent's deadline at the latest. While it waits for a person the parent's clock stands still, as
  it does for the parent's own questions.
- On the success path a child costs the events of a child workflow and nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)

from kit.contract import FailureDetails, FailureKind, Outcome
from kit.errors import SagaUsageError
from kit.telemetry import CORRELATION_MEMO
from kit.workflow.definition import result_of
from kit.workflow.outcomes import causes
from kit.workflow.parents import PARENT_MEMO, ChildEnded, Parent
from kit.workflow.run import Run
from kit.workflow.steps import Step, UndoState
from kit.workflow.unwound import UNWIND_WORKFLOW, UnwindRequest, Unwound, unwind_id

_PAUSE: Final = timedelta(minutes=1)
"""Until the second attempt to undo a child: the first was ended from outside, or somebody else is at it. It doubles."""

_LONGEST_PAUSE: Final = timedelta(hours=1)


def type_of(cls: type) -> str:
    """The workflow type of a class.

    Raises:
        SagaUsageError: It is no saga.
    """
    definition = workflow._Definition.from_class(cls)
    if definition is None or definition.name is None or not hasattr(cls, "__saga__"):
        raise SagaUsageError(f"{cls!r} is no saga, so nobody could undo it: derive it from SagaWorkflow")
    return definition.name


@lru_cache(maxsize=64)
def _ended(result: Any) -> Any:
    return ChildEnded[result]


async def carry_out(cls: type, step: Step, run: Run) -> ChildEnded[Any]:
    """Run a child saga to its end.

    Raises:
        ChildWorkflowError: It failed, was cancelled, or was ended from outside.
        WorkflowAlreadyStartedError: Its id is taken by a run that somebody else has started.
    """
    ended: ChildEnded[Any] = await workflow.execute_child_workflow(
        type_of(cls),
        step.request,
        id=step.key,
        task_queue=step.task_queue,
        result_type=_ended(result_of(cls)),
        memo={
            CORRELATION_MEMO: run.correlation_id,
            PARENT_MEMO: Parent(saga=workflow.info().workflow_id, deadline=None if run.forward else run.deadline),
        },
        cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        # A parent that is terminated runs no code: its child is asked to undo what it has begun.
        parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        static_summary=step.summary,
    )
    return ended


def failure_of(step: Step, error: BaseException) -> FailureDetails:
    """What a child's end says about its effects.

    A saga that fails or is cancelled has undone itself, or a person has decided what stays. Only one that was ended
    from outside has run no code.
    """
    chain = list(causes(error))
    outside = any(isinstance(cause, TerminatedError | TimeoutError) for cause in chain)
    spoken = next((cause for cause in chain if isinstance(cause, ApplicationError)), None)
    summary = spoken.details[0] if spoken is not None and spoken.details else None
    reason = summary.get("reason_code") if isinstance(summary, dict) else None
    return FailureDetails(
        operation=step.operation,
        kind=FailureKind.UNAVAILABLE if outside else FailureKind.DECLINED,
        outcome=Outcome.UNKNOWN if outside else Outcome.REFUSED,
        reason=str(reason or (spoken.type if spoken is not None else None) or type(chain[-1]).__name__),
    )


async def undo(run: Run, step: Step) -> None:
    """Undo a child that has closed, from the ledger: as often as it takes, for the undo may be ended from outside."""
    request = UnwindRequest(
        saga=step.key, who=workflow.info().workflow_id, why=f"its parent saga has turned round: {run.reason}"
    )
    while True:
        step.undo = UndoState.RUNNING
        run.refresh()
        try:
            unwound: Unwound = await workflow.execute_child_workflow(
                UNWIND_WORKFLOW,
                request,
                id=unwind_id(step.key),
                task_queue=step.task_queue,
                result_type=Unwound,
                memo={CORRELATION_MEMO: run.correlation_id},
                # It is never left half done on account of this run.
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"Undo: {step.summary}",
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError):
            step.undo_attempts += 1
            await workflow.sleep(min(_PAUSE * 2 ** min(step.undo_attempts - 1, 6), _LONGEST_PAUSE))
            continue
        step.undo_attempts += 1
        step.undo = UndoState.LEFT if unwound.left else UndoState.UNDONE if unwound.undone else UndoState.NOTHING
        run.refresh()
        return
