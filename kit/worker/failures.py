"""From what a connector raised to the one error Temporal sees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from kit.contract import FailureDetails, Operation, Role
from kit.errors import (
    FailureKind,
    LedgerUnavailable,
    NotStarted,
    OperationFailure,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from kit.worker.attempt import LOST, WAITING, Attempt
from kit.worker.connector import Connector

MAX_RETRY_AFTER: Final = timedelta(hours=1)
"""A provider that asks for more is asked again after this long anyway."""

_BY_OUTCOME: Final[dict[Outcome, type[OperationFailure]]] = {
    Outcome.REFUSED: Refused,
    Outcome.NOT_STARTED: NotStarted,
    Outcome.UNKNOWN: OutcomeUnknown,
}

_SAYS: Final = {
    Outcome.REFUSED: "No effect.",
    Outcome.NOT_STARTED: "Nothing was started.",
    Outcome.UNKNOWN: "It may have happened.",
    Outcome.DONE: "It has happened.",
}


class Waiting(OperationFailure):
    """Not a failure: the attempt must come back later, and costs no cap."""

    outcome = Outcome.UNKNOWN


def classify(connector: Connector, operation: Operation[Any, Any], error: Exception) -> OperationFailure:
    """What an exception of a connector means: its own word first, then the dependency's failure map."""
    try:
        failure = error if isinstance(error, OperationFailure) else connector.classify(error)
    except Exception as bug:  # the guard must hear of the first error, whatever its reader makes of it
        text = f"{type(bug).__name__}: {bug}, raised by {type(connector).__name__}.classify on {_message(error)}"
        return OutcomeUnknown(FailureKind.BUG, text, reason="classify_failed")
    if failure is None:
        verdict = operation.dependency.failures.classify(error)
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = f"http_{status}" if status is not None else None
        if verdict.kind is FailureKind.BUG:
            reason = type(error).__name__
        failure = _BY_OUTCOME[verdict.outcome](verdict.kind, _message(error), reason=reason)
    if failure.retry_after is None:
        failure.retry_after = retry_after(error)
    return failure


def ledger_down(error: LedgerUnavailable) -> OperationFailure:
    """The ledger cannot be asked: nothing is done without it."""
    return NotStarted(FailureKind.UNAVAILABLE, f"the ledger is unavailable: {error}", reason="ledger_unavailable")


def retry_after(error: BaseException) -> timedelta | None:
    """What the other side asked for in ``Retry-After`` (RFC 9110, section 10.2.3): seconds or a date."""
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        wait = timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        when = _http_date(value)
        if when is None:
            return None
        # Read on the clock that wrote it, where the response says what that clock shows.
        wait = when - (_http_date(headers.get("date")) or datetime.now(UTC))
    return min(max(wait, timedelta(0)), MAX_RETRY_AFTER)


def _http_date(value: str | None) -> datetime | None:
    try:
        when = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser raises on rubbish
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def application_error(
    operation: Operation[Any, Any],
    failure: OperationFailure,
    attempt: Attempt,
    *,
    outcome: Outcome,
    persistent: bool,
    key: str = "",
    role: Role = Role.ACTION,
    needs_person: bool = False,
    final: bool = False,
) -> ApplicationError:
    """The one error Temporal sees, with what the saga and an operator need to know.

    Args:
        operation: What was attempted.
        failure: Why it failed.
        attempt: Which attempt it was; it hands the counts to the next one.
        outcome: What all attempts together left behind.
        persistent: Transient failures are retried without end.
        key: What tells this caller from others; it decides the jitter.
        role: Of the attempt, action or compensation.
        needs_person: No machine can decide how to go on: not retried, and the saga parks.
        final: The answer will not change: not retried, whatever the rule of its kind.
    """
    what = operation.name if role is Role.ACTION else operation.undo_name
    waiting = isinstance(failure, Waiting)
    kind = failure.kind
    counted = WAITING if waiting else kind.value
    attempt.counts[counted] = attempt.counts.get(counted, 0) + 1
    rule = operation.retry_for(kind, persistent=persistent)
    failures = attempt.counts.get(kind.value, 0)
    if kind is FailureKind.TIMEOUT:
        failures += attempt.counts.get(LOST, 0)
    permanent = needs_person or final or (not waiting and rule.exhausted(failures))
    # A bug is nobody's answer: who retries or undoes it blindly may make it worse.
    person = permanent and (needs_person or kind is FailureKind.BUG)
    if permanent:
        delay = None
    else:
        jitter = timedelta(0) if waiting else rule.ceiling(max(failures, 1)) * _jitter(f"{key}/{what}/{attempt.number}")
        delay = max(jitter, failure.retry_after or timedelta(0), timedelta(milliseconds=1))
        attempt.remember(attempt.counts)
    details = FailureDetails(
        operation=operation.name,
        kind=kind,
        outcome=outcome,
        reason=failure.reason,
        attempts=attempt.number,
        needs_person=person,
        held=attempt.held,
    )
    return ApplicationError(
        f"{what}: {failure} ({failure.reason}). {_SAYS[outcome]}",
        details.model_dump(mode="json"),
        type=f"{operation.dependency.name}.{kind.value}",
        non_retryable=permanent,
        next_retry_delay=delay,
        category=ApplicationErrorCategory.BENIGN
        if kind is not FailureKind.BUG
        else ApplicationErrorCategory.UNSPECIFIED,
    )


def _jitter(seed: str) -> float:
    """A number from 0 to 1 that many callers do not share, and that is the same when one run is looked at again."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7]) / 2**56


def _message(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
