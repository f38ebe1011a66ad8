"""Contracts: what an operation is, may do, and how it fails. Pure data; workflows import it."""

from kit.contract.dependency import Breaker, Dependency, RateLimit
from kit.contract.effect import Effect, HoldFails, Once, OnceStrategy
from kit.contract.failure_map import (
    HTTP_FAILURES,
    SMTP_FAILURES,
    SQL_FAILURES,
    FailureMap,
    Verdict,
    not_started,
    refused,
    unknown,
)
from kit.contract.holds import DEFAULT_GATES, Asking, Hold, HoldGate, HoldScope, stops, stops_start
from kit.contract.invariant import Invariant, Keys, Listing, Page, Pair, Record, Repair, Scan, Severity
from kit.contract.keys import fingerprint, format_key
from kit.contract.model import Model
from kit.contract.operation import Operation, Role
from kit.contract.ownership import Drift, Known, Merged, Ownership, differences
from kit.contract.retry import DEFAULT_RETRY, HELD_PAUSE, TRANSIENT, UNLIMITED, Retry
from kit.contract.token import FailureDetails, Token, Undo, UndoRequest
from kit.contract.transitions import Transitions
from kit.errors import FailureKind, Outcome

__all__ = [
    "DEFAULT_GATES",
    "DEFAULT_RETRY",
    "HELD_PAUSE",
    "HTTP_FAILURES",
    "SMTP_FAILURES",
    "SQL_FAILURES",
    "TRANSIENT",
    "UNLIMITED",
    "Asking",
    "Breaker",
    "Dependency",
    "Drift",
    "Effect",
    "FailureDetails",
    "FailureKind",
    "FailureMap",
    "Hold",
    "HoldFails",
    "HoldGate",
    "HoldScope",
    "Invariant",
    "Keys",
    "Known",
    "Listing",
    "Merged",
    "Model",
    "Once",
    "OnceStrategy",
    "Operation",
    "Outcome",
    "Ownership",
    "Page",
    "Pair",
    "RateLimit",
    "Record",
    "Repair",
    "Retry",
    "Role",
    "Scan",
    "Severity",
    "Token",
    "Transitions",
    "Undo",
    "UndoRequest",
    "Verdict",
    "differences",
    "fingerprint",
    "format_key",
    "not_started",
    "refused",
    "stops",
    "stops_start",
    "unknown",
]
