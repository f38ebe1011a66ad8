"""A failed step that is tried again with another request.

The edited request is another effect: it gets a key of its own and a step of its own, which says what it replaces.
Before it is tried the original is settled for good through the guard's undo: what happened is undone, what is unknown
is looked up and undone, and what did not happen becomes ``void``, so that a late attempt of the original can have no
effect any more. As long as that fails nothing new is tried. It fails where another run about the same thing has had the
original's effect, or may have: the edited one would be a second. A plain retry takes that run's result then.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit.contract import FailureDetails, Operation, Outcome, UndoRequest
from kit.contract.keys import MAX_KEY_LENGTH
from kit.workflow.outcomes import read_failure
from kit.workflow.run import Run
from kit.workflow.schedule import start_undo
from kit.workflow.steps import Step, UndoState

EDIT_SUFFIX: Final = ":edit-"
"""Before the number of the edition, from 2, it ends the key of an edited request whose own key has been used."""


def edited(run: Run, step: Step, edits: dict[str, Any]) -> tuple[BaseModel, str]:
    """The edited request of a step, and its key.

    The key is what the operation's template gives; where the run has used that one before (the template does not name
    the edited fields), it ends in ``:edit-2``, ``:edit-3`` and so on.

    Raises:
        ValueError: The request does not validate or is no other one, or its key is empty or too long.
    """
    operation = run.operation(step)
    original = step.request
    try:
        request = type(original).model_validate({**original.model_dump(), **edits})
    except ValidationError as error:
        raise ValueError(f"{edits!r} makes no {operation.request.__name__}: {error}") from error
    if request == original:
        raise ValueError(f"{edits!r} changes nothing; to try the same again, retry without edits")
    return request, _key(run, operation, request)


def _key(run: Run, operation: Operation[Any, Any], request: BaseModel) -> str:
    key = operation.key_for(request, workflow_id=workflow.info().workflow_id)
    used = {step.key for step in run.steps}
    if not key or key not in used:
        return key
    number = 2
    while f"{key}{EDIT_SUFFIX}{number}" in used:
        number += 1
    key = f"{key}{EDIT_SUFFIX}{number}"
    if len(key) > MAX_KEY_LENGTH:
        raise ValueError(f"the key {key!r} is {len(key)} characters long; at most {MAX_KEY_LENGTH} are allowed")
    return key


def replacement(run: Run, step: Step, edits: dict[str, Any]) -> Step:
    """Put the edited step on the stack, in the place of the original's group."""
    operation = run.operation(step)
    request, key = edited(run, step, edits)
    new = Step(
        number=run.last + 1,
        group=step.group,
        operation=step.operation,
        summary=operation.summary_for(request),
        phase=step.phase,
        key=key,
        request=request,
        reads=step.reads,
        replaces=step.number,
        task_queue=step.task_queue,
        started_at=workflow.now(),
    )
    run.push(new, operation)
    return new


async def settle_original(run: Run, step: Step) -> FailureDetails | None:
    """See to it that the original has no effect and never will. Returns why that cannot be done, if it cannot."""
    if step.reads:
        return None
    step.undo = UndoState.RUNNING
    run.refresh()
    ask = UndoRequest[Any, Any](request=step.request, result=None, outcome=Outcome.UNKNOWN, alone=True)
    try:
        ended = await start_undo(run.operation(step), step, run.token(step, persistent=True), ask)
    except ActivityError as error:
        step.failure = read_failure(step.operation, error)
        step.undo_attempts += step.failure.attempts
        step.outcome, step.undo = Outcome.UNKNOWN, UndoState.NONE  # the undo has begun: turning round goes on with it
        return step.failure
    step.undo_attempts += ended.attempts
    step.undo = UndoState.UNDONE if ended.happened else UndoState.NOTHING
    run.refresh()
    return None
