"""Turning round: when a cancellation or the deadline asks for it, and never after the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

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
    """Once it has heard of a cancellation, a saga that can still turn round takes no further step.

    An entity finishes the event at work, and begins no other.
    """
    if not case.strikes(*_CANCELS):
        return
    before = _before_commit(case)
    asked = heard = False
    at_work = ""
    for event in case.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            asked = True
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            heard = asked
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            name, about = event.activity_task_scheduled_event_attributes.activity_type.name, _about(event)
            if heard and (about != at_work if case.is_entity else name in before):
                yield f"the run had heard of its cancellation, and went on with {name}"
            at_work = at_work if heard else about


def keeps_deadline(case: Case) -> Iterator[str]:
    """Nothing that may turn the saga round is begun, or tried again, after the deadline.

    Each event of an entity has a deadline of its own; it has begun with its first activity at the latest.
    """
    if not case.is_saga or case.tasks or (case.subject.previous and case.strikes(FaultKind.HANDED_OVER)):
        return  # while a person was asked the deadline stood still; another version may have another one
    deadline = case.subject.workflow.__saga__.deadline  # type: ignore[attr-defined] # every saga has one
    took = case.run.summary and timedelta(milliseconds=case.run.summary.duration_ms)
    if took is None or (took <= deadline and not case.is_entity):
        return
    scheduled: dict[int, HistoryEvent] = {}
    over: dict[str, datetime] = {}  # by what it is about: the entity's event, or the one saga of all
    for event in case.history.events:
        at = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED and not case.is_entity:
            over.setdefault("", at + deadline + SLACK)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled[event.event_id] = event
            over.setdefault(_about(event) if case.is_entity else "", at + deadline + SLACK)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            begun = scheduled[event.activity_task_started_event_attributes.scheduled_event_id]
            name = begun.activity_task_scheduled_event_attributes.activity_type.name
            if at > over[_about(begun) if case.is_entity else ""] and name in _before_commit(case):
                yield f"{name} was begun, or tried again, when the deadline of {deadline} was over"


def _about(event: HistoryEvent) -> str:
    """What a scheduled activity is about: the correlation id of its token, which is the id of an entity's event."""
    given = event.activity_task_scheduled_event_attributes.input.payloads
    token = json.loads(given[1].data) if len(given) > 1 else {}
    return str(token.get("correlation_id", ""))


def _before_commit(case: Case) -> set[str]:
    """The operations all of whose steps come before the commit, or are the pivot itself."""
    phases: dict[str, set[str]] = {}
    for step in case.steps:
        phases.setdefault(step["operation"], set()).add(step["phase"])
    return {operation for operation, found in phases.items() if found <= {Phase.BODY, Phase.PIVOT}}
