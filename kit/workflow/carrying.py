"""The stack, carried from one run of a saga to its next: continue-as-new forgets nothing that must be undone.

What is carried travels in the memo of the next run: every step whose effect may be live, what is held back, the clock,
and whether the pivot is done. What can never matter again (a read, a refusal, an effect that is undone) stays behind in
the history of its run; numbers go on, so a step means the same in every run and in the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from temporalio import workflow

from kit.errors import SagaUsageError
from kit.workflow.definition import operation_named
from kit.workflow.run import Run
from kit.workflow.steps import Phase, Step, UnreadableResult
from kit.workflow.tasks import PARKED_MEMO, TASKS_MEMO

CARRIED_MEMO: Final = "kit.carried"
"""Memo of a run that continues another: its `Carried`."""

LARGEST: Final = 256 * 1024  # bytes; Temporal warns of larger payloads, and its visibility store keeps every memo
"""The most that is carried."""


class Carried(BaseModel):
    """What the next run must know of those before it."""

    model_config = ConfigDict(extra="forbid")

    steps: list[Step]
    last: int
    """The number of the last step."""
    asked: int = 0
    """How many questions were put that belong to no step."""
    forward: bool
    started_at: datetime
    deadline: datetime
    waited: timedelta


def must_carry(run: Run) -> bool:
    """Whether a next run that knows nothing of this one would forget something, or take up what is over."""
    carried = workflow.memo_value(CARRIED_MEMO, None) is not None
    return carried or any(step.needs_undo or step.phase is Phase.AFTER_COMMIT for step in run.steps)


def pack(run: Run) -> dict[str, Any]:
    """The memo of the next run.

    Raises:
        SagaUsageError: There is too much to carry.
    """
    carried = Carried(
        steps=[step for step in run.steps if step.needs_undo or step.phase is Phase.AFTER_COMMIT],
        last=run.last,
        asked=run.asked,
        forward=run.forward,
        started_at=run.started_at,
        deadline=run.deadline,
        waited=run.waited,
    )
    size = len(carried.model_dump_json())
    if size > LARGEST:
        raise SagaUsageError(
            f"the stack of {len(carried.steps)} steps takes {size} bytes, and continue-as-new carries at most "
            f"{LARGEST}: end the saga and start another one, or give the steps to child sagas, which carry their own"
        )
    memo = {name: value for name, value in workflow.memo().items() if name not in (PARKED_MEMO, TASKS_MEMO)}
    return {**memo, CARRIED_MEMO: carried}


def unpack(run: Run) -> None:
    """Take up what the run before has carried here, if there was one.

    Raises:
        UnreadableResult: This version cannot read it: the workflow task fails, and the run waits for one that can.
    """
    carried = workflow.memo_value(CARRIED_MEMO, None, type_hint=Carried)
    if carried is None:
        return
    for step in carried.steps:
        if step.child is not None:
            run.steps.append(step)
            continue
        operation = operation_named(step.operation, run.definition)
        if operation is None:
            raise UnreadableResult(
                f"{step.operation!r}, step {step.number} of a run before this one, is used by {run.definition.name} no "
                "more. Fix: list it in uses=(...) until no such run is open; the run waits and nothing is lost."
            )
        step.request = _read(operation.request, step.request)
        step.result = None if step.result is None else _read(operation.result, step.result)
        run.push(step, operation)
    run.take_up(
        last=carried.last,
        asked=carried.asked,
        started_at=carried.started_at,
        deadline=carried.deadline,
        waited=carried.waited,
    )
    run.forward = carried.forward


def _read(kind: Any, document: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        raise UnreadableResult(
            f"a carried {kind} does not fit this version: {error}. Fix: run workers of the version that wrote it, or "
            "let its type read it; the run waits and nothing is lost."
        ) from error
