"""What a connector promises, how it may be made to fail, and what is said when a promise is broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel

from kit.errors import FailureKind, Outcome

Oracle = Callable[[], Awaitable[int]]
"""How many effects of the operation stand in the provider's own record; never what the connector believes."""


class Promise(StrEnum):
    """What a connector promises."""

    READS_ONLY = "a READ changes nothing"
    PROBE_BEFORE = "the probe finds nothing before the action"
    UNDO_BEFORE = "the undo before the action does nothing"
    ONE_EFFECT = "the action has exactly one effect"
    TRANSACTION = "the action writes through the transaction it is given"
    PROBE_AFTER = "the probe finds the action's result"
    RESOLVED = "after a lost reply the next attempt leaves one effect and knows its result"
    RECORDED = "a further attempt returns the same result and has no further effect"
    KEY_HONOURED = "without its record, the same key has no further effect"
    ASKS_PERSON = "after a lost reply a NEVER_TWICE operation is not repeated"
    UNDO_AFTER = "the undo leaves no effect"
    PROBE_UNDONE = "the probe finds nothing after the undo"
    UNDO_TWICE = "the undo may be repeated under its key"
    UNDO_FORGOTTEN = "the undo may be repeated after the provider has forgotten its key"
    CLASSIFIED = "a failure has the kind and the outcome the contract says"
    CLEAN = "a failure that is said to be clean leaves no effect"


class ConformanceError(AssertionError):
    """A connector broke a promise.

    Attributes:
        operation: The operation's name.
        promise: The broken promise.
    """

    def __init__(self, operation: str, promise: Promise, found: str) -> None:
        super().__init__(f"{operation}: broken promise: {promise.value}; {found}")
        self.operation = operation
        self.promise = promise


@dataclass(frozen=True, slots=True)
class Fault:
    """A way for the provider to fail, and what the contract says of it.

    Attributes:
        inject: Makes the provider fail at the next call of the operation.
        request: What is asked then. A business id of its own: a provider may remember a refusal under the key.
        kind: The expected kind of failure.
        outcome: The expected outcome.
        recovers: Whether the next attempt under the same key succeeds. Not so where the provider stored the failure
            under the key.
    """

    inject: Callable[[], Awaitable[None]]
    request: BaseModel
    kind: FailureKind
    outcome: Outcome
    recovers: bool = True


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What was checked, and held.

    Attributes:
        operation: The operation's name.
        kept: The promises, in the order they were checked. Which ones apply depends on the operation.
        faults: How many faults were classified as the contract says.
    """

    operation: str
    kept: tuple[Promise, ...]
    faults: int
