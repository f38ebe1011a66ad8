"""What an operation receives besides its request, and what its undo receives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from kit.contract.model import Model
from kit.errors import FailureKind, Outcome

REASON_UNKNOWABLE: Final = "unknowable"
"""Reason code of a failure whose outcome no machine can find out."""

REASON_SHARED: Final = "shared"
"""Reason code of a failure: another run has the effect, too, so another one cannot take its place."""

REASON_NO_UNDO: Final = "no_undo"
"""Reason code of an undo that only a person can carry out: the effect is there, and has no compensation."""

RequestT = TypeVar("RequestT", bound=BaseModel)
ResultT = TypeVar("ResultT")


class Token(Model):
    """Who asks, for what, under which key. The second argument of every activity, so the Temporal UI shows it.

    Attributes:
        key: The idempotency key: the same for every attempt, reset and replay of one effect. Empty for a ``READ``.
        correlation_id: One id from the start of the workflow to every provider's log.
        workflow_id: The business id of the run.
        run_id: The first execution's run id, for the record only; never part of a key.
        step: The number of the step in the saga, from 1.
        attempt: The number of this attempt, from 1.
        deadline: When this attempt is cut off (aware). Work that goes on after it is somebody else's.
        persistent: The saga can no longer turn round here: transient failures are retried without end.
        tenant: Whose run it is, if its class says so.
        opens: It is one of the steps the run begins with. A hold on new runs stops it.
        after_commit: It was held back until the saga's success.

    What holds alone read is left out where it says nothing: it would be in the history of every step.
    """

    key: str
    correlation_id: str
    workflow_id: str
    run_id: str = ""
    step: int = 0
    attempt: int = 1
    deadline: datetime | None = None
    persistent: bool = False
    tenant: str = Field(default="", exclude_if=lambda value: not value)
    opens: bool = Field(default=False, exclude_if=lambda value: not value)
    after_commit: bool = Field(default=False, exclude_if=lambda value: not value)


class UndoRequest(BaseModel, Generic[RequestT, ResultT]):
    """What the workflow knows of a step when it asks for its undo. The first argument of an undo activity.

    Attributes:
        request: What was asked.
        result: What came of it, where that is known.
        outcome: What is known of the effect.
        keeps: What has happened stays: only whether it has is asked, and what has not never will.
        alone: Another effect is to take its place: refused while it stands, or may stand, for another run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: RequestT
    result: ResultT | None = None
    outcome: Outcome
    keeps: bool = Field(default=False, exclude_if=lambda value: not value)
    alone: bool = Field(default=False, exclude_if=lambda value: not value)


@dataclass(frozen=True, slots=True)
class Undo(Generic[RequestT, ResultT]):
    """What a compensation receives: the request that was carried out and what it gave."""

    request: RequestT
    result: ResultT


class FailureDetails(Model):
    """The details of every failure that leaves an operation, readable in the Temporal UI and by the saga.

    Attributes:
        operation: The operation's name.
        kind: Why.
        outcome: What all attempts together left behind: unknown stays unknown.
        reason: The reason code.
        attempts: How many attempts were made.
        needs_person: No machine can decide how to go on: the saga parks.
        held: Seconds for which the attempts were held back, at least.
    """

    operation: str
    kind: FailureKind
    outcome: Outcome
    reason: str
    attempts: int = 1
    needs_person: bool = False
    held: float = Field(default=0, exclude_if=lambda value: not value)
