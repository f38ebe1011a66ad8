"""Questions to a person. A workflow that waits for one is parked: it resumes exactly where it stopped."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from kit.contract import FailureDetails, Model

DECIDE_UPDATE: Final = "kit_decide"
"""Name of the update that answers a task."""

TASKS_QUERY: Final = "kit_tasks"
"""Name of the query that lists the tasks."""

SUMMARY_QUERY: Final = "kit_summary"
"""Name of the query that tells how the run stands."""

PARKED_MEMO: Final = "kit.parked"
"""Memo of a parked run, readable without a worker: the ids of its open tasks. Not there when none is open."""


class Choice(StrEnum):
    """What a person can decide."""

    RETRY = "retry"
    """Try the same thing again, under the same key. Where no machine can know the outcome, whoever answers so says that
    it did not happen."""
    SKIP = "skip"
    """Go on without it. For an undo: leave the effect in place, as residue."""
    SUPPLY = "supply"
    """It was done by hand: go on with the given result. For an undo: it was undone by hand."""
    UNWIND = "unwind"
    """Give up and undo everything."""


class Decision(Model):
    """A person's answer to a task."""

    task_id: str
    choice: Choice
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    result: Any = None


class Task(BaseModel):
    """One question to a person: what happened, what can be decided, who owns it.

    Attributes:
        id: Unique in the run.
        step: The number of the step it is about.
        operation: The operation's name.
        undo: Whether it is about the step's undo.
        question: What happened, in a sentence, and what is asked.
        choices: What can be decided.
        owner: Who is asked.
        runbook: Where they find what to do.
        failure: Why a machine cannot go on.
        opened_at: When it was put.
        decision: The answer, once there is one.
        decided_at: When it was given.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    step: int
    operation: str
    undo: bool
    question: str
    choices: tuple[Choice, ...]
    owner: str
    runbook: str | None
    failure: FailureDetails
    opened_at: datetime
    decision: Decision | None = None
    decided_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.decision is None


class DecisionRecord(Model):
    """What a decision makes true, for the ledger."""

    operation: str
    request: Any
    result: Any = None
    choice: Choice
    undo: bool
    who: str
    why: str
