"""Every name the kit gives to what it reports: one table, compared with the docs and the code by a test.

Labels are bounded sets: never ids, keys or messages. Metric names have no unit and no ``_total``: Temporal's exporters
add both (see `kit.telemetry.prometheus`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Event(StrEnum):
    """Names of structured log events."""

    RUN_STARTED = "saga.started"
    RUN_SUMMARY = "saga.summary"
    RUN_TURNED = "saga.turned_round"
    RUN_PARKED = "saga.parked"
    RUN_DECIDED = "saga.decided"
    TASK_OVERDUE = "saga.task_overdue"
    TASK_EXPIRED = "saga.task_expired"
    DECISION_REFUSED = "saga.decision_refused"
    GROUP_STARTED = "tasks.group_started"
    GROUP_ENDED = "tasks.group_ended"
    STEP_FAILED = "saga.step_failed"
    START_PREVENTED = "saga.start_prevented"
    UNWIND_STARTED = "unwind.started"
    UNWIND_ENDED = "unwind.ended"
    SWEPT = "unwind.swept"
    EVENT_DUPLICATE = "entity.duplicate"
    EVENT_STALE = "entity.stale"
    EVENT_GAP = "entity.gap"
    EVENT_UNREADABLE = "entity.unreadable"
    EVENT_FAILED = "entity.failed"
    DRIFT = "entity.drift"
    ENTITY_CONTINUED = "entity.continued"
    ENTITY_CLOSED = "entity.closed"
    INTAKE_TAKEN = "intake.taken"
    INTAKE_REFUSED = "intake.refused"
    ATTEMPT_FAILED = "operation.attempt_failed"
    DUPLICATE_PREVENTED = "operation.duplicate_prevented"
    DOUBT_RESOLVED = "operation.doubt_resolved"
    RESULT_UNRECORDED = "operation.result_unrecorded"
    EFFECT_LATE = "operation.effect_late"
    UNDO_DONE = "operation.undo_done"
    UNDO_STUCK = "operation.undo_stuck"
    CIRCUIT_OPENED = "dependency.circuit_opened"
    CIRCUIT_CLOSED = "dependency.circuit_closed"
    FINDING = "reconciliation.finding"
    RECONCILED = "reconciliation.ended"
    INCIDENT = "incident.noted"
    STEP_HELD = "operation.held"
    START_HELD = "hold.start_refused"
    HOLD_IN_FORCE = "hold.in_force"
    HOLD_LIFTED = "hold.lifted"
    HOLD_SWITCHED = "hold.switched"
    HOLDS_UNREACHABLE = "hold.store_unreachable"
    HOLDS_REACHED = "hold.store_reached"


DURATION: Final = "duration"
"""The unit of a measured time: Temporal's exporters turn it into seconds or milliseconds, as they are configured."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what it counts or measures, and its labels. With a unit it is a histogram, without a counter."""

    name: str
    description: str
    labels: tuple[str, ...]
    unit: str | None = None


ATTEMPTS: Final = Metric(
    "kit_attempts",
    "Attempts of operations and undos, by what they left behind",
    ("operation", "role", "outcome", "kind"),
)
DUPLICATES_PREVENTED: Final = Metric(
    "kit_duplicates_prevented", "Attempts answered from the ledger without a second effect", ("operation",)
)
DOUBTS_RESOLVED: Final = Metric(
    "kit_doubts_resolved", "Unknown outcomes that were looked up, by what was found", ("operation", "found")
)
RESULTS_UNRECORDED: Final = Metric(
    "kit_results_unrecorded", "Effects that happened and could not be written to the ledger", ("operation",)
)
EFFECTS_LATE: Final = Metric(
    "kit_effects_late", "Effects that landed after their undo and were undone on the spot", ("operation",)
)
UNDOS: Final = Metric("kit_undos", "Undos that ended, by what they found", ("operation", "result"))
UNDOS_STUCK: Final = Metric("kit_undos_stuck", "Undos that have failed many times and go on trying", ("operation",))
CIRCUITS_OPENED: Final = Metric("kit_circuits_opened", "Circuit breakers that opened", ("dependency",))
RUNS: Final = Metric("kit_runs", "Closed runs, by how they ended", ("workflow_type", "status", "reason_code"))
RUN_DURATION: Final = Metric(
    "kit_run_duration", "From the start of a run to its end", ("workflow_type", "status"), unit=DURATION
)
RUNS_PARKED: Final = Metric("kit_runs_parked", "Tasks put to a person", ("workflow_type", "operation", "kind"))
TASKS_OVERDUE: Final = Metric(
    "kit_tasks_overdue", "Tasks that nobody has answered in time", ("workflow_type", "operation", "kind")
)
TASK_GROUPS: Final = Metric("kit_task_groups", "Groups of tasks that were decided, by how that ended", ("result",))
STARTS_PREVENTED: Final = Metric(
    "kit_starts_prevented", "Second deliveries of a business event that found its first run", ("workflow_type",)
)
UNWINDS: Final = Metric("kit_unwinds", "Unwinds that ended, by whether an effect is left", ("result",))
FINDINGS: Final = Metric(
    "kit_findings", "What reconciliations found, by what became of it", ("invariant", "severity", "standing")
)
INVARIANTS_CHECKED: Final = Metric(
    "kit_invariants_checked", "Invariants that reconciliations checked, by result", ("invariant", "severity", "result")
)
ATTEMPTS_HELD: Final = Metric(
    "kit_attempts_held", "Attempts that a hold kept waiting, by the scope of the hold", ("operation", "scope")
)
STARTS_HELD: Final = Metric(
    "kit_starts_held", "Starts that a hold refused, by the scope of the hold", ("workflow_type", "scope")
)
ENTITY_EVENTS: Final = Metric(
    "kit_entity_events", "Events that entities dealt with, by what became of them", ("workflow_type", "result")
)
ENTITY_GAPS: Final = Metric(
    "kit_entity_gaps", "Versions that were applied although others were missing before them", ("workflow_type",)
)
DRIFT: Final = Metric(
    "kit_fields_drifted", "Writes that were dropped because another source owns the field", ("workflow_type", "field")
)
INTAKE: Final = Metric("kit_intake", "Webhook deliveries, by what was answered", ("endpoint", "answer"))

METRICS: Final = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            ATTEMPTS,
            DUPLICATES_PREVENTED,
            DOUBTS_RESOLVED,
            RESULTS_UNRECORDED,
            EFFECTS_LATE,
            UNDOS,
            UNDOS_STUCK,
            CIRCUITS_OPENED,
            RUNS,
            RUN_DURATION,
            RUNS_PARKED,
            TASKS_OVERDUE,
            TASK_GROUPS,
            STARTS_PREVENTED,
            UNWINDS,
            FINDINGS,
            INVARIANTS_CHECKED,
            ATTEMPTS_HELD,
            STARTS_HELD,
            ENTITY_EVENTS,
            ENTITY_GAPS,
            DRIFT,
            INTAKE,
        )
    }
)
"""All metrics by name."""

DURATION_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 604800)
"""Upper bounds of `RUN_DURATION` in seconds. The exporter's own buckets stop at 10 s; a saga that waits for a person
takes days."""

SUMMARY_FIELDS: Final = (
    "run_id",
    "status",
    "duration_ms",
    "retry_count",
    "compensation_count",
    "reason_code",
    "key_outputs",
)
"""The fields of `Event.RUN_SUMMARY`."""

CORRELATION_ID: Final = "correlation_id"
"""The field that carries the correlation id in every log event, memo and span."""

CORRELATION_MEMO: Final = "kit.correlation_id"
"""The memo in which a start carries the caller's correlation id."""
