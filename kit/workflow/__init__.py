"""The base workflows: what makes effects safe on the workflow's side. Deterministic."""

from kit.workflow.definition import SagaDefinition, Use
from kit.workflow.entity import EntityRules, EntityWorkflow
from kit.workflow.events import (
    APPLY_UPDATE,
    ENTITY_QUERY,
    EVENT_SIGNAL,
    EVENTS_SIGNAL,
    Entity,
    EntityEvent,
    FailedEvent,
    Fate,
    Memory,
    OnFailure,
    Receipt,
    Stuck,
    Waiting,
)
from kit.workflow.findings import RECONCILIATION_QUERY, Finding, ReconciliationReport, Standing
from kit.workflow.living import CLOSED
from kit.workflow.progress import ReconciliationRequest
from kit.workflow.reconciliation import ReconciliationWorkflow
from kit.workflow.saga import SagaWorkflow
from kit.workflow.schedule import RECORD_ACTIVITY
from kit.workflow.steps import Done, Phase, Source, Step, UndoEnded, UndoState
from kit.workflow.story import RunSummary, Status
from kit.workflow.tasks import (
    DECIDE_SIGNAL,
    DECIDE_UPDATE,
    DEFAULT_DUE,
    EXPIRED,
    PARKED_MEMO,
    REJECTED,
    SUMMARY_QUERY,
    TASKS_MEMO,
    TASKS_QUERY,
    Approval,
    Choice,
    Decision,
    DecisionRecord,
    Notice,
    Task,
    TaskKind,
)
from kit.workflow.telling import COMPENSATED, DEADLINE, INVALID, RESIDUE, RUN_TIMEOUT

__all__ = [
    "APPLY_UPDATE",
    "CLOSED",
    "COMPENSATED",
    "DEADLINE",
    "DECIDE_SIGNAL",
    "DECIDE_UPDATE",
    "DEFAULT_DUE",
    "ENTITY_QUERY",
    "EVENTS_SIGNAL",
    "EVENT_SIGNAL",
    "EXPIRED",
    "INVALID",
    "PARKED_MEMO",
    "RECONCILIATION_QUERY",
    "RECORD_ACTIVITY",
    "REJECTED",
    "RESIDUE",
    "RUN_TIMEOUT",
    "SUMMARY_QUERY",
    "TASKS_MEMO",
    "TASKS_QUERY",
    "Approval",
    "Choice",
    "Decision",
    "DecisionRecord",
    "Done",
    "Entity",
    "EntityEvent",
    "EntityRules",
    "EntityWorkflow",
    "FailedEvent",
    "Fate",
    "Finding",
    "Memory",
    "Notice",
    "OnFailure",
    "Phase",
    "Receipt",
    "ReconciliationReport",
    "ReconciliationRequest",
    "ReconciliationWorkflow",
    "RunSummary",
    "SagaDefinition",
    "SagaWorkflow",
    "Source",
    "Standing",
    "Status",
    "Step",
    "Stuck",
    "Task",
    "TaskKind",
    "UndoEnded",
    "UndoState",
    "Use",
    "Waiting",
]
