"""What a person is asked about an event that an entity could not apply."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from kit.contract import FailureDetails, FailureKind, Outcome
from kit.workflow.definition import SagaDefinition
from kit.workflow.events import Stuck
from kit.workflow.tasks import DEFAULT_DUE, Choice, Task

EVENT_TASK: Final = "event"
"""First part of the task's id."""


def question(stuck: Stuck, definition: SagaDefinition, *, number: int, waiting: int) -> Task:
    """The question about one event, whose saga has undone itself.

    Args:
        stuck: The event, and why it could not be applied.
        definition: What the entity's class declares.
        number: Of the question, through the entity's whole life: an answer to an earlier one must not fit this one.
        waiting: How many events wait behind it.
    """
    event, kind = stuck.event, workflow.info().workflow_type
    version = "" if event.version is None else f", version {event.version}"
    return Task(
        id=f"{EVENT_TASK}-{number}",
        fingerprint=f"{kind}:{EVENT_TASK}:{stuck.reason}",
        operation=kind,
        question=f"Event {event.id!r} of {event.source}{version} could not be applied: {stuck.why} "
        f"Retry it, or skip it for good and go on ({waiting} wait).",
        choices=(Choice.RETRY, Choice.SKIP),
        owner=definition.owner,
        escalation=definition.escalation,
        runbook=definition.runbook,
        failure=FailureDetails(
            operation=kind, kind=FailureKind.BUG, outcome=Outcome.REFUSED, reason=stuck.reason, needs_person=True
        ),
        opened_at=workflow.now(),
        due_at=workflow.now() + (definition.due or DEFAULT_DUE),
    )
