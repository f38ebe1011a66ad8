"""What may be asked of the audit trail: to be added to."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from activities.payments.contract import Id
from kit.contract import SQL_FAILURES, Dependency, Effect, Model, Once, Operation

AUDIT: Final = Dependency(
    name="audit",
    owner="compliance-team",
    # One database, read where it is written: what is committed is visible.
    settle=timedelta(0),
    failures=SQL_FAILURES,
    runbook="docs/explanation/failure-model.md#audit",
)
"""The audit trail, in the service's own database."""


class RecordEvent(Model):
    """Write down what happened.

    Attributes:
        event_id: The event's business id. An event is written down once.
        event: What happened: ``"subscription.canceled"``.
        subject: To what: the id of the subscription.
        facts: What must be known about it later. No times: whoever records it notes when, and an event that is
            recorded twice says the same both times.
    """

    event_id: Id
    event: Id
    subject: Id
    facts: dict[str, str]


class Recorded(Model):
    """An event that is written down."""

    event_id: Id


record = Operation(
    "audit.record",
    RecordEvent,
    Recorded,
    dependency=AUDIT,
    # What is written down stays: a later event may say that an earlier one was a mistake.
    effect=Effect.IRREVERSIBLE,
    once=Once.by_transaction(),
    key="audit:{event_id}",
    timeout=timedelta(seconds=10),
    summary="Write {event} of {subject} into the audit trail",
)
"""Write an event down. Cannot be taken back: it belongs after the commit."""
