"""From the error of an activity to what it says about the effect."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
    RetryState,
    TimeoutError,
)

from kit.contract import FailureDetails, FailureKind, Outcome

REASON_CANCELLED = "cancelled"
REASON_DEADLINE = "deadline"
REASON_WORKER_LOST = "worker_lost"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.cause if isinstance(error, FailureError) else error.__cause__


def read_failure(operation: str, error: BaseException) -> FailureDetails:
    """What a failed activity says about its effect.

    The guard's own words count wherever they stand in the chain. Without them nothing is known: a timeout, a
    cancellation or a foreign error never means that nothing happened; the undo asks the ledger.
    """
    details = next((found for cause in causes(error) if (found := _details(cause)) is not None), None)
    for cause in causes(error):
        match cause:
            case TimeoutError():
                ran_out = "SCHEDULE_TO_CLOSE" in (cause.type.name if cause.type else "")
                reason = REASON_DEADLINE if ran_out else REASON_WORKER_LOST
                # Unknown even where the last known failure was clean: another attempt may have been at work.
                return FailureDetails(
                    operation=operation,
                    kind=details.kind if details else FailureKind.TIMEOUT,
                    outcome=Outcome.UNKNOWN,
                    reason=reason,
                    attempts=details.attempts if details else 1,
                    held=details.held if details else 0,
                )
            case CancelledError():
                return FailureDetails(
                    operation=operation,
                    kind=FailureKind.TIMEOUT,
                    outcome=Outcome.UNKNOWN,
                    reason=REASON_CANCELLED,
                    attempts=details.attempts if details else 1,
                )
            case _:
                if details is not None and _details(cause) is not None:
                    # The server gives up at once when the next attempt would begin after the deadline. None is at
                    # work then, so the guard's last word about the effect holds.
                    late = isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT
                    return details.model_copy(update={"reason": REASON_DEADLINE}) if late else details
    foreign = next((c for c in causes(error) if isinstance(c, ApplicationError)), None)
    return FailureDetails(
        operation=operation,
        kind=FailureKind.BUG,
        outcome=Outcome.UNKNOWN,
        reason=(foreign.type if foreign and foreign.type else type(error).__name__),
        needs_person=True,
    )


def _details(error: BaseException) -> FailureDetails | None:
    if not isinstance(error, ApplicationError) or not error.details:
        return None
    try:
        return FailureDetails.model_validate(error.details[0])
    except ValidationError:
        return None
