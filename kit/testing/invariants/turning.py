"""Turning round: when a cancellation or the deadline asks for it, and never after the commit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import EventType

from kit.testing.faults import FaultKind
from kit.testing.invariants.case import TURNED, Case, is_committed
from kit.workflow import Choice
from kit.workflow.steps import Phase

SLACK: Final = timedelta(seconds=1)
"""How much later than the workflow's own clock the server may write its events."""

_CANCELS: Final = (FaultKind.CANCEL_BEFORE, FaultKind.CANCEL_DURING, FaultKind.CANCEL_WITH_RESULT)


def forward_only(case: Case) -> Iterator[str]:
    """After the commit only a person turns a saga round."""
    if case.run.ending not in TURNED or case.stays or case.chose(Choice.UNWIND):
        return
    for step in case.steps:
        if is_committed(step):
            what = "its pivot was" if step["phase"] == Phase.PIVOT else "had been let go after the commit:"
            yield f"the run ended {case.run.ending.value} after the commit ({what} {step['operation']})"


def heeds_cancellation(case: Case) -> Iterator[str]:
    """Once it has heard of a cancellation, a saga that can still turn round takes no further step."""
    if case.is_entity or not case.strikes(*_CANCELS):
        return  # an entity finishes the event at work, and begins no other
    before = _before_commit(case)
    asked = heard = False
    for event in case.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            asked = True
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            heard = asked
        elif heard and event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            if name in before:
                yield f"the run had heard of its cancellation, and went on with {name}"


def keeps_deadline(case: Case) -> Iterator[str]:
    """Nothing that may turn the saga round is begun, or tried again, after the deadline."""
    if (
        not case.is_saga
        or case.is_entity
        or case.tasks
        or (case.subject.previous and case.strikes(FaultKind.HANDED_OVER))
    ):
        return  # while a person was asked the deadline stood still; another version, or event, has another
    deadline = case.subject.workflow.__saga__.deadline  # type: ignore[attr-defined] # every saga has one
    if case.run.summary is None or timedelta(milliseconds=case.run.summary.duration_ms) <= deadline:
        return
    names: dict[int, str] = {}
    over: datetime | None = None
    for event in case.history.events:
        at = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            over = over or at + deadline + SLACK
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED and over is not None and at > over:
            name = names[event.activity_task_started_event_attributes.scheduled_event_id]
            if name in _before_commit(case):
                yield f"{name} was begun, or tried again, when the deadline of {deadline} was over"


def _before_commit(case: Case) -> set[str]:
    """The operations all of whose steps come before the commit, or are the pivot itself."""
    phases: dict[str, set[str]] = {}
    for step in case.steps:
        phases.setdefault(step["operation"], set()).add(step["phase"])
    return {operation for operation, found in phases.items() if found <= {Phase.BODY, Phase.PIVOT}}
