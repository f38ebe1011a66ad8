"""What is asked of an unwind and what comes of it: plain data, for the workflow, its worker and whoever asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from kit.contract import Effect, Model, Once, Outcome
from kit.workflow.steps import Envelope

UNWIND_WORKFLOW: Final = "kit.Unwind"
"""Type of the workflow that undoes the effects of one closed run."""

PLAN_WORKFLOW: Final = "kit.UnwindPlan"
"""Type of the workflow that tells what unwinds would do, and does nothing."""

OWN_PREFIX: Final = "kit."
"""Begins the types of the kit's own workflows, which have no effects of their own."""

LIST_ACTIVITY: Final = "kit.list_effects"
"""Name of the activity that reads the effects of runs from the ledger."""

UNWIND_REFUSED: Final = "UnwindRefused"
"""Type of the application error that says: this run must not be unwound, or not now. Nothing has been undone."""


def unwind_id(saga: str) -> str:
    """The workflow id of the unwind of a workflow id: there is at most one at a time."""
    return f"unwind:{saga}"


class UnwindRequest(Model):
    """Undo what a closed run has done.

    Attributes:
        saga: The run's workflow id.
        run_id: Only the effects of the runs of one chain: its first execution's run id. ``None`` for every effect of
            the workflow id.
        who: Who asks.
        why: Why.
    """

    saga: str = Field(min_length=1)
    run_id: str | None = None
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)


class Unwound(Envelope):
    """What came of an unwind; effects by their keys, in the order in which they were undone.

    Attributes:
        saga: The run's workflow id.
        undone: What was there and is undone.
        nothing: What was not there, or is not this run's to undo, and never will be.
        left: What is still there, because a person decided so or because no worker can undo it.
        reasons: Why each of those is left, by key.
    """

    saga: str
    undone: list[str] = Field(default_factory=list)
    nothing: list[str] = Field(default_factory=list)
    left: list[str] = Field(default_factory=list)
    reasons: dict[str, str] = Field(default_factory=dict)


class EffectsOf(Model):
    """Whose effects are asked for.

    Attributes:
        saga: As in `UnwindRequest`.
        run_id: As in `UnwindRequest`.
        asked_by: The workflow that asks: a saga may have its own children unwound while it is open.
        brief: Without requests and results: who only looks needs none, and they may be personal.
    """

    saga: str
    run_id: str | None = None
    asked_by: str | None = None
    brief: bool = False


class RecordedEffect(Model):
    """One effect as the ledger knows it, with all that its undo needs.

    Attributes:
        key: Its key.
        operation: What has had it.
        undo: The activity that undoes it.
        summary: The operation's sentence about it.
        saga: The workflow id whose effect it is: the run's own, or a child's.
        run_id: The first execution's run id that claimed it.
        step: Its number in that run.
        correlation_id: As the run's token had it.
        happened_at: When it was first claimed.
        state: The ledger's word.
        outcome: What is known: done, or unknown and to be looked up.
        request: The operation's request, as a document.
        result: Its result, as a document, if it is known.
        effect: What can be done about it.
        once: How the operation is kept to one effect.
        timeout: How long one attempt of the undo may take.
        owner: Who is asked about it.
        runbook: Where they find what to do.
        final: It was its run's point of no return and has no undo: what came before it is not undone while it stands.
        shared_with: Other workflow ids that rely on it: this run only gives its share up.
        kept: Who left it in place before, and why; it is not undone and nobody is asked again.
        problem: Why no worker here can undo it; ``None`` when one can.
    """

    key: str
    operation: str
    undo: str
    summary: str
    saga: str
    run_id: str
    step: int
    correlation_id: str
    happened_at: datetime
    state: str
    outcome: Outcome
    request: Any
    result: Any = None
    effect: Effect | None = None
    once: Once | None = None
    timeout: timedelta
    owner: str
    runbook: str | None = None
    final: bool = False
    shared_with: tuple[str, ...] = ()
    kept: str | None = None
    problem: str | None = None


class ChildSaga(Model):
    """A saga that the run has run as its child, and that has effects, or may have.

    Attributes:
        saga: Its workflow id.
        workflow_type: Its type.
        task_queue: Where it is unwound: its ledger may be another service's.
        started_at: When it was started.
        remains: What it has left behind; ``None`` when only another service's workers know.
    """

    saga: str
    workflow_type: str
    task_queue: str
    started_at: datetime
    remains: Effects | None = None


class Effects(Model):
    """The effects of one run that are there, or may be.

    Attributes:
        saga: The run's workflow id.
        effects: Latest first.
        children: Its child sagas, latest first. Each is unwound by an unwind of its own.
        quiet_at: When the last attempt of a run that was cut off is over; an effect may appear until then.
        refused: Why it must not be unwound, or not now; ``None`` when it may.
        others: How many effects of other runs of the workflow id are there, which ``run_id`` leaves out.
    """

    saga: str
    effects: list[RecordedEffect] = Field(default_factory=list)
    children: list[ChildSaga] = Field(default_factory=list)
    quiet_at: datetime | None = None
    refused: str | None = None
    others: int = 0

    @property
    def due(self) -> list[RecordedEffect]:
        """The effects that an unwind would try to undo, or ask about, latest first."""
        due = []
        for effect in self.effects:
            if effect.kept is None:
                due.append(effect)
            elif effect.final:
                break  # it stands, and so does what came before it
        return due

    @property
    def nothing_to_do(self) -> bool:
        """Whether an unwind would find nothing to do."""
        return not self.children and not self.due

    def brief(self) -> Effects:
        """The same without requests and results."""
        return self.model_copy(
            update={
                "effects": [each.model_copy(update={"request": None, "result": None}) for each in self.effects],
                "children": [
                    child.model_copy(update={"remains": child.remains.brief() if child.remains else None})
                    for child in self.children
                ],
            }
        )
