"""Every error the kit raises, in one tree.

::

    KitError
    ├── DefinitionError            something was built wrong: raised when a class or a worker is built
    ├── OperationFailure           one attempt of an operation failed; says why (kind) and what it left (outcome)
    │   ├── Refused                terminal or transient, effect: no. The other side said no
    │   ├── NotStarted             retryable, effect: no. Nothing can have happened
    │   └── OutcomeUnknown         retryable, effect: unknown. It may have happened
    ├── StartHeld                  retryable: a hold refuses new runs; nothing was started
    ├── DecisionRefused            a run did not take a person's decision; nothing has changed
    ├── AlreadyUnderWay            what an operator asks for is being done already; nothing was started
    ├── TransitionError            a state change the business does not allow
    ├── SagaUsageError             a workflow used the saga in a way its rules forbid
    ├── UnsupportedScenario        an engine does not model what a scenario needs, and refuses to pretend
    └── LedgerError
        ├── LedgerUnavailable      retryable: the ledger could not be reached; nothing was done on its word
        └── LedgerSchemaError      terminal: the database is not at the schema this version needs

Two things are visible in a failure: whether to try again (its kind) and what it left behind (its outcome).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What one attempt, or all attempts together, left in the world."""

    DONE = "done"
    """The effect happened and its result is known."""
    REFUSED = "refused"
    """The other side answered no: definitely no effect."""
    NOT_STARTED = "not_started"
    """Nothing can have happened: the request never left, or never arrived."""
    UNKNOWN = "unknown"
    """It may have happened. Sticky: a later clean refusal does not make an earlier timeout safe."""


class FailureKind(StrEnum):
    """Why an attempt failed. A closed vocabulary: it is the second half of every failure's type."""

    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    CONFLICT = "conflict"
    INVALID = "invalid"
    DECLINED = "declined"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CIRCUIT_OPEN = "circuit_open"
    HELD = "held"
    KEY_REUSED = "key_reused"
    BUG = "bug"


class KitError(Exception):
    """Base of every error of the kit.

    Errors go from process to process: a worker's of a sweep is raised again where the sweep was started.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Built again by its parts: the arguments of many an error are not those of `Exception`."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[KitError], args: tuple[Any, ...], attributes: dict[str, Any]) -> KitError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class DefinitionError(KitError, ValueError):
    """Something was declared in a way that cannot be safe.

    Attributes:
        subject: What is wrong: an operation, connector, workflow or setting, by name.
        rule: The rule it breaks, with the offending value.
        fix: What to write instead.
    """

    def __init__(self, subject: str, *, rule: str, fix: str) -> None:
        super().__init__(f"{subject}: {rule}. Fix: {fix}.")
        self.subject = subject
        self.rule = rule
        self.fix = fix


class OperationFailure(KitError):
    """One attempt of an operation failed.

    Connectors may raise the three subclasses to classify a failure themselves; everything else they raise is
    classified by their dependency's failure map.

    Attributes:
        kind: Why.
        outcome: What the attempt left behind.
        reason: A machine-readable reason code, such as ``"card_declined"``. Bounded: it becomes a metric label.
        retry_after: How long the other side asked to wait, if it did.
    """

    outcome: Outcome = Outcome.UNKNOWN

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        reason: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason or kind.value
        self.retry_after = retry_after


class Refused(OperationFailure):
    """The other side definitely refused: no effect."""

    outcome = Outcome.REFUSED


class NotStarted(OperationFailure):
    """Nothing can have happened: trying again is safe."""

    outcome = Outcome.NOT_STARTED


class OutcomeUnknown(OperationFailure):
    """The effect may have happened."""

    outcome = Outcome.UNKNOWN


class StartHeld(KitError):
    """A hold refuses new runs. Nothing was started; the same start is accepted when the hold is lifted.

    Attributes:
        workflow_type: What was to be started.
        scope: What the hold is on, such as ``"dependency"``.
        name: Which one.
        reason: Why it is on.
        who: Who switched it on.
        until: When it ends by itself, if it does.
    """

    def __init__(
        self, workflow_type: str, *, scope: str, name: str, reason: str, who: str, until: datetime | None
    ) -> None:
        ends = f"until {until.isoformat(timespec='seconds')}" if until else "until it is switched off"
        super().__init__(
            f"{workflow_type} is not started: {scope} {name!r} is on hold by {who} {ends}, because: {reason}. "
            "Nothing was done; start it again then"
        )
        self.workflow_type = workflow_type
        self.scope = scope
        self.name = name
        self.reason = reason
        self.who = who
        self.until = until


class DecisionRefused(KitError):
    """A run did not take a person's decision: it does not fit, or the run is closed. Nothing has changed."""


class AlreadyUnderWay(KitError):
    """What an operator asks for is being done already. Nothing was started.

    Attributes:
        workflow_id: The workflow that does it.
        run_id: Which run of it; ``None`` when the server did not say.
    """

    def __init__(self, what: str, *, workflow_id: str, run_id: str | None = None) -> None:
        super().__init__(f"{what} is being decided already, by the workflow {workflow_id!r}: wait for its end")
        self.workflow_id = workflow_id
        self.run_id = run_id


class TransitionError(KitError):
    """A state change that the business does not allow.

    Attributes:
        machine: The name of the state machine, such as ``"order"``.
        current: The state it is in.
        wanted: The state that was asked for.
    """

    def __init__(self, machine: str, *, current: Any, wanted: Any, allowed: tuple[str, ...]) -> None:
        options = ", ".join(allowed) if allowed else "nothing: it is final"
        now = repr(str(current))
        super().__init__(f"{machine} cannot go from {now} to {str(wanted)!r}; from {now} it may go to {options}")
        self.machine = machine
        self.current = str(current)
        self.wanted = str(wanted)


class SagaUsageError(KitError):
    """A workflow used the saga in a way its rules forbid, for example a step after commit."""


class UnsupportedScenario(KitError):
    """An engine of `kit.testing` does not model what a workflow or a scenario needs; the message says what."""


class LedgerError(KitError):
    """Base of the ledger's errors."""


class LedgerUnavailable(LedgerError):
    """The ledger could not be read or written. Nothing was done on its word; trying again is safe."""


class LedgerSchemaError(LedgerError):
    """The database is not at the schema version this kit needs: run ``kit ledger migrate``."""
