"""What a saga remembers of each step: plain data, so that it can be shown, carried on, and undone by anybody."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict

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


class Done(BaseModel, Generic[ResultT]):
    """What an action's activity returns: the result, and how it came about, for whoever reads the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    result: ResultT
    attempts: int = 1
    source: Source = Source.FRESH


class UndoEnded(BaseModel):
    """What an undo's activity returns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    happened: bool
    attempts: int = 1
