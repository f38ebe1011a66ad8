"""A pivot that cannot be undone and may have happened: found out before anything turns round.

The steps before it are undone only when it has not happened, and never will. When it has, the saga goes forward,
whatever was asked meanwhile: a cancellation and the deadline come too late then. Without this a person would be asked
to undo what nobody can, while the steps before it are undone.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError
from temporalio.exceptions import ActivityError

from kit.contract import FailureDetails, Operation, Outcome, UndoRequest
from kit.workflow.outcomes import read_failure
from kit.workflow.run import Run
from kit.workflow.schedule import start_undo
from kit.workflow.steps import Phase, Step, UndoState, UnreadableResult


def in_doubt(operation: Operation[Any, Any], step: Step) -> bool:
    """Whether nobody may turn round before it is known what has become of a step."""
    return step.phase is Phase.PIVOT and step.outcome is Outcome.UNKNOWN and not operation.effect.undoable


async def find_out(run: Run, step: Step) -> FailureDetails | None:
    """Find out, as long as it takes: then the step is done, with its result, or will never be.

    Returns:
        Why no machine can find out, if none can; else ``None``.
    """
    operation = run.operation(step)
    ask = UndoRequest[Any, Any](request=step.request, outcome=Outcome.UNKNOWN, keeps=True)
    try:
        ended = await start_undo(operation, step, run.token(step, persistent=True), ask, summary="Find out")
    except ActivityError as error:
        return read_failure(step.operation, error)
    if ended.happened:
        try:
            step.result = TypeAdapter(operation.result).validate_python(ended.result)
        except ValidationError as error:
            raise UnreadableResult(
                f"what {step.operation} has given is no result of this version: {error}. Fix: run workers of the "
                "version that wrote it; the run waits and nothing is lost."
            ) from error
        step.outcome, step.failure = Outcome.DONE, None
    else:
        step.outcome, step.undo = Outcome.REFUSED, UndoState.NOTHING
    run.refresh()
    return None
