"""The workflow reliability kit: what a contract and a workflow need. Worker side: `kit.worker`; tests: `kit.testing`.

Importing this package loads no I/O library, so workflow code may.
"""

from kit.contract import (
    HTTP_FAILURES,
    SMTP_FAILURES,
    SQL_FAILURES,
    UNLIMITED,
    Breaker,
    Dependency,
    Effect,
    FailureDetails,
    FailureKind,
    FailureMap,
    Model,
    Once,
    Operation,
    Outcome,
    RateLimit,
    Retry,
    Token,
    Transitions,
    Undo,
)
from kit.errors import DefinitionError, KitError, NotStarted, OutcomeUnknown, Refused, TransitionError
from kit.workflow import Approval, Choice, Decision, RunSummary, SagaWorkflow, Status

__all__ = [
    "HTTP_FAILURES",
    "SMTP_FAILURES",
    "SQL_FAILURES",
    "UNLIMITED",
    "Approval",
    "Breaker",
    "Choice",
    "Decision",
    "DefinitionError",
    "Dependency",
    "Effect",
    "FailureDetails",
    "FailureKind",
    "FailureMap",
    "KitError",
    "Model",
    "NotStarted",
    "Once",
    "Operation",
    "Outcome",
    "OutcomeUnknown",
    "RateLimit",
    "Refused",
    "Retry",
    "RunSummary",
    "SagaWorkflow",
    "Status",
    "Token",
    "TransitionError",
    "Transitions",
    "Undo",
]
