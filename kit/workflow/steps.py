"""What a saga remembers of each step: plain data, so that it can be shown, carried on, and undone by anybody."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from kit.contract import FailureDetails, Outcome
from kit.contract.token import ResultT


class Phase(StrEnum):
    """Where in the saga a step belongs."""

    BODY = "body"
    """Before the pivot: a failure turns the saga round."""
    PIVOT = "pivot"
    """The point of no return: once it is done, the saga only goes forward."""
    FORWARD = "forward"
    """After the pivot: a failure parks."""
    AFTER_COMMIT = "after_commit"
    """Held back until the saga has succeeded; a failure never undoes the business result."""


class UndoState(StrEnum):
    """What has become of a step's undo."""

    NONE = "none"
    """Not asked for."""
    RUNNING = "running"
    UNDONE = "undone"
    """There was an effect, and it is undone."""
    NOTHING = "nothing"
    """There was no effect, and there never will be."""
    LEFT = "left"
    """A person decided to leave the effect in place: residue."""


class Step(BaseModel):
    """One step: what was asked, under which key, and what is known of it. Pushed before it is scheduled."""

    model_config = ConfigDict(extra="forbid")

    number: int
    group: int
    operation: str
    summary: str
    phase: Phase
    key: str
    request: Any
    reads: bool = False
    outcome: Outcome | None = Outcome.NOT_STARTED
    """``None`` while an activity is at it."""
    result: Any = None
    failure: FailureDetails | None = None
    attempts: int = 0
    undo: UndoState = UndoState.NONE
    undo_attempts: int = 0
    started_at: datetime
    ended_at: datetime | None = None
    skipped: bool = False
    child: str | None = None
    """The workflow type, where the step is a saga of its own. Its ``key`` is the child's workflow id."""
    task_queue: str | None = None
    """Whose workers carry it out, where it is not the run's own."""
    replaces: int | None = None
    """The number of the step whose request was edited into this one's."""
    approval: str | None = None
    """The task whose approval it has used."""

    @property
    def needs_undo(self) -> bool:
        """Whether turning round means anything for it: it happened, or may have."""
        settled = self.undo in (UndoState.UNDONE, UndoState.NOTHING, UndoState.LEFT)
        return not self.reads and not settled and self.outcome not in (Outcome.REFUSED, Outcome.NOT_STARTED)


class Source(StrEnum):
    """Where an attempt's result came from."""

    FRESH = "fresh"
    """This attempt had the effect."""
    RECORDED = "recorded"
    """An earlier attempt, or another run, had it; the ledger knew."""
    FOUND = "found"
    """An earlier attempt of unknown outcome had it; the look-up found it."""


class UnreadableResult(Exception):
    """What an activity returned does not fit the types of the code that runs: another version's activity wrote it.

    No failure of the workflow, and so no `kit.errors.KitError`: the workflow task fails and is tried again, nothing is
    written, and a worker that can read the result goes on as if nothing had been. Closing the workflow instead, which
    is what pydantic's own error would do, would undo nothing. Parking it would be a decision that code which can read
    the result does not make again when it replays.
    """


class Envelope(BaseModel):
    """What a saga is given by what it has asked for: one that does not fit makes the run wait, and never closes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _readable(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise UnreadableResult(
                f"a result in the history does not fit {cls.__name__} of this version: {error}. Fix: run workers of "
                f"the version that wrote it, or let its type read it; the run waits and nothing is lost."
            ) from error


class Done(Envelope, Generic[ResultT]):
    """What an action's activity returns: the result, and how it came about, for whoever reads the history."""

    result: ResultT
    attempts: int = 1
    source: Source = Source.FRESH
    held: float = Field(default=0, exclude_if=lambda value: not value)
    """Seconds for which its attempts were held back, at least."""


class UndoEnded(Envelope):
    """What an undo's activity returns.

    Attributes:
        happened: Whether there was an effect.
        attempts: How many attempts it took.
        result: What came of the action; only where it was asked to keep what has happened.
    """

    happened: bool
    attempts: int = 1
    result: Any = Field(default=None, exclude_if=lambda value: value is None)
