"""Questions to a person. A workflow that waits for one is parked: it resumes exactly where it stopped."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from kit.contract import FailureDetails, Model

DECIDE_UPDATE: Final = "kit_decide"
"""Name of the update that answers a task, and says at once when an answer does not fit."""

DECIDE_SIGNAL: Final = "kit_decide_signal"
"""Name of the signal that answers a task: what a batch operation of Temporal can send. A signal has no answer, so the
run itself tells of one that does not fit."""

TASKS_QUERY: Final = "kit_tasks"
"""Name of the query that lists the tasks."""

SUMMARY_QUERY: Final = "kit_summary"
"""Name of the query that tells how the run stands."""

PARKED_MEMO: Final = "kit.parked"
"""Memo of a parked run, readable without a worker: the ids of its open tasks. Not there when none was ever put."""

TASKS_MEMO: Final = "kit.tasks"
"""Memo of a parked run, readable without a worker: its open tasks, as `Notice` each."""

REJECTED: Final = "SagaRejected"
"""Type of the application error of an approval that a person has refused. A released string never changes."""

EXPIRED: Final = "SagaApprovalExpired"
"""Type of the application error of an approval that nobody gave, or used, in time."""

DEFAULT_DUE: Final = timedelta(days=1)
"""How long a person has for an answer where nothing is declared."""


class TaskKind(StrEnum):
    """What a person is asked for."""

    REPAIR = "repair"
    """A step or its undo cannot go on: what becomes of it?"""
    APPROVAL = "approval"
    """May this be done, with exactly these arguments?"""
    QUESTION = "question"
    """Something that belongs to no step."""


class Choice(StrEnum):
    """What a person can decide."""

    RETRY = "retry"
    """Try the same thing again, under the same key; or, with ``edits``, another request under a key of its own. Where
    no machine can know the outcome, whoever answers so says that it did not happen."""
    SKIP = "skip"
    """Go on without it. For an undo: leave the effect in place, as residue."""
    SUPPLY = "supply"
    """It was done by hand: go on with the given result. For an undo: it was undone by hand."""
    UNWIND = "unwind"
    """Give up and undo everything."""
    APPROVE = "approve"
    """It may be done, exactly as it is shown."""
    REJECT = "reject"
    """It must not be done."""


class Decision(Model):
    """A person's answer to a task. Sending the same one twice is harmless.

    Attributes:
        task_id: Which task. By signal it may be a fingerprint instead: every open task of the run that bears it.
        choice: What is decided.
        who: Who decided.
        why: And why: it is kept in the history and in the ledger.
        result: What was done by hand, for ``supply``.
        edits: New values of fields that the task offers, for ``retry``.
        digest: The task's digest as the person saw it; ``approve`` needs it, so that nobody approves what they have
            not seen.
    """

    task_id: str
    choice: Choice
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    result: Any = None
    edits: dict[str, Any] | None = None
    digest: str | None = None


class Task(BaseModel):
    """One question to a person: what happened, what can be decided, who owns it.

    Attributes:
        id: Unique in the run.
        kind: What is asked for.
        fingerprint: What equal questions of many runs have in common: operation, role and kind of failure.
        step: The number of the step it is about; 0 when it is about none.
        operation: The operation's name; the workflow's type when it is about none.
        undo: Whether it is about the step's undo.
        question: What happened, in a sentence, and what is asked.
        choices: What can be decided.
        owner: Who is asked.
        escalation: Who is told when it is overdue.
        runbook: Where they find what to do.
        failure: Why a machine cannot go on; ``None`` where nothing has failed.
        request: What is to be approved, in full; for a repair the fields that may be edited, as they are.
        editable: The fields of the request that a retry may change.
        digest: Of the operation and the exact arguments that are to be approved.
        opened_at: When it was put.
        due_at: When it is overdue.
        overdue: The run has told so.
        expires_at: When nobody can decide it any more, and an approval is worth nothing any more.
        expired: That has come.
        decision: The answer, once there is one.
        decided_at: When it was given.
        used_by: The number of the step that has consumed the approval.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: TaskKind = TaskKind.REPAIR
    fingerprint: str = ""
    step: int = 0
    operation: str
    undo: bool = False
    question: str
    choices: tuple[Choice, ...]
    owner: str
    escalation: str | None = None
    runbook: str | None = None
    failure: FailureDetails | None = None
    request: Any = None
    editable: tuple[str, ...] = ()
    digest: str | None = None
    opened_at: datetime
    due_at: datetime | None = None
    overdue: bool = False
    expires_at: datetime | None = None
    expired: bool = False
    decision: Decision | None = None
    decided_at: datetime | None = None
    used_by: int | None = None

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.decision is None and not self.expired


class Notice(BaseModel):
    """An open task as the memo of its run tells it, to whoever looks without a worker. See `Task` for the fields."""

    # A reader may be older than the run: what it does not know is nothing it must act on.
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    kind: TaskKind
    fingerprint: str
    operation: str
    question: str
    choices: tuple[Choice, ...]
    owner: str
    escalation: str | None = None
    digest: str | None = None
    opened_at: datetime
    due_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, task: Task) -> Notice:
        """What is told of a task."""
        return cls.model_validate({name: getattr(task, name) for name in cls.model_fields})


class Approval(Model):
    """A person's word that one operation may be carried out with exactly these arguments, once, until it expires.

    Attributes:
        task_id: The task that was answered.
        operation: What may be done.
        digest: Of the operation and the exact arguments.
        who: Who approved.
        why: And why.
        approved_at: When.
        expires_at: From when on it is worth nothing.
    """

    task_id: str
    operation: str
    digest: str
    who: str
    why: str
    approved_at: datetime
    expires_at: datetime


class DecisionRecord(Model):
    """What a decision makes true, for the ledger."""

    operation: str
    request: Any
    result: Any = None
    choice: Choice
    undo: bool
    who: str
    why: str
