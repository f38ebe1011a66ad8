"""Undoing: only what may have happened, when nothing is at work any more, and latest first."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from kit.contract import OnceStrategy, Outcome, Role
from kit.contract.operation import UNDO_SUFFIX
from kit.testing.invariants.case import Case
from kit.worker.work import UNDO_KEY_SUFFIX
from kit.workflow.steps import UndoState

_ENDS: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "activity_task_completed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "activity_task_canceled_event_attributes",
}


def undoes_what_happened(case: Case) -> Iterator[str]:
    """An undo goes only where something may have been done."""
    acted = {
        (seen.point.operation, seen.key)
        for seen in case.run.seen
        if seen.point.role is Role.ACTION and seen.outcome not in (Outcome.REFUSED, Outcome.NOT_STARTED)
    }
    told = set[tuple[str, str]]()
    for seen in case.seen:
        place = seen.point.operation, seen.key.removesuffix(UNDO_KEY_SUFFIX)
        if seen.point.role is not Role.COMPENSATION or seen.held or place in acted | case.decided | told:
            continue
        operation = case.operations.get(place[0])
        once = operation.once if operation is not None else None
        if once is not None and once.strategy is OnceStrategy.BY_TRANSACTION:
            continue  # its request is the transaction that finds out whether there is anything to undo
        told.add(place)
        yield f"{place[0]} was undone under the key {place[1]!r}, though it was refused, or never asked for"


def settles_first(case: Case) -> Iterator[str]:
    """Nothing is undone while a step is at work: its effect might land behind the undo's back."""
    if not _undoes(case):
        return
    steps = {step["operation"] for step in case.steps}
    at_work: dict[int, str] = {}
    for event in case.history.events:
        name = _asked_for(event)
        if name in steps:
            at_work[event.event_id] = name
        elif name.removesuffix(UNDO_SUFFIX) in steps and at_work:
            yield f"{name} was begun while {', '.join(sorted(at_work.values()))} was at work"
        elif event.event_type in _ENDS:
            at_work.pop(getattr(event, _ENDS[event.event_type]).scheduled_event_id, None)


def latest_first(case: Case) -> Iterator[str]:
    """Steps are undone in reverse; those that were begun together may be undone together."""
    if not _undoes(case):
        return
    taken = Counter(step["operation"] for step in case.steps)
    begun: dict[str, int] = {}  # by which workflow task
    undone: dict[str, int] = {}
    for event in case.history.events:
        name = _asked_for(event)
        task = event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
        if taken[name] == 1:
            begun.setdefault(name, task)
        elif name.endswith(UNDO_SUFFIX) and taken[name.removesuffix(UNDO_SUFFIX)] == 1:
            undone.setdefault(name.removesuffix(UNDO_SUFFIX), event.event_id)
    order = sorted(begun.keys() & undone.keys(), key=lambda name: undone[name])  # a local activity is not told when
    for one, next_one in itertools.pairwise(order):
        if begun[one] < begun[next_one]:
            yield f"{one} was undone before {next_one}, which came after it"


def _undoes(case: Case) -> bool:
    """Whether a saga has undone anything, by its own word."""
    return case.is_saga and any(step["undo"] != UndoState.NONE for step in case.steps)


def _asked_for(event: HistoryEvent) -> str:
    """The activity that an event says was asked for; nothing for another event."""
    return event.activity_task_scheduled_event_attributes.activity_type.name
