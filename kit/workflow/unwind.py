"""Undoing the effects of a run that is closed: terminated, timed out, or completed by a bad release.

A saga like the others, but for its stack, which it does not build by taking steps: it is read from the ledger. From
there on everything is the same: the same undo activities under the same keys, the same guard, the same questions to
people, and an undo that waits for a person keeps nobody else waiting. Three things differ:

- **Order.** Which steps went side by side is not in the ledger, so one effect is undone at a time, the latest first.
- **Whose effects.** Tokens carry the closed run's workflow id: the guard asks whose effect it is.
- **Forward only.** A cancellation comes too late, as in every undo. To stop an unwind, terminate it; whoever starts it
  again goes on where it stopped, because what is undone is in the ledger and not here.

What may go wrong between two lines, and what then:

- *terminated between two undos, or in one*: the next unwind reads the ledger anew. What is undone is not read any more;
  an undo that was begun is gone on with, once its lease is over.
- *two at once*: there is one open run per workflow id (`unwind_id`). Another under a different id finds what the first
  has in hand leased, waits, and then finds it undone.
- *the run's last attempt is still at work* (nobody stops it when its run is terminated or times out): what it has
  claimed is leased and waited for; what it has not claimed yet is in no ledger, so the ledger is read when that attempt
  must be over.
- *the run is started again meanwhile*: seen when the ledger is read for the last time, and told as a refusal.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from kit.contract import Operation, Outcome, Token
from kit.telemetry import Event, count, names
from kit.workflow.definition import SagaDefinition
from kit.workflow.people import Desk
from kit.workflow.run import Run
from kit.workflow.settling import shielded
from kit.workflow.steps import Phase, Step, UndoState
from kit.workflow.story import RunSummary, Status
from kit.workflow.tasks import DECIDE_SIGNAL, DECIDE_UPDATE, SUMMARY_QUERY, TASKS_QUERY, Decision, Task
from kit.workflow.telling import close, summary
from kit.workflow.undoing import undo_steps
from kit.workflow.unwound import (
    LIST_ACTIVITY,
    PLAN_WORKFLOW,
    UNWIND_REFUSED,
    UNWIND_WORKFLOW,
    ChildSaga,
    Effects,
    EffectsOf,
    RecordedEffect,
    UnwindRequest,
    Unwound,
    unwind_id,
)

LIST_TIMEOUT: Final = timedelta(seconds=30)

LIST_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
"""As long as it takes: a ledger that is down comes back."""


@workflow.defn(name=UNWIND_WORKFLOW)
class UnwindWorkflow:
    """Undoes what a closed run has done, from the ledger alone. See this module for what it promises.

    Started with the id `kit.workflow.unwound.unwind_id`, on the task queue of the service whose run it is.
    """

    @workflow.init
    def __init__(self, request: UnwindRequest) -> None:
        self._run = _Unwinding(request)
        self._desk = Desk(self._run, lambda: Unwound)

    @workflow.run
    async def run(self, request: UnwindRequest) -> Unwound:
        """Undo it.

        Returns:
            What was undone, what was not there, and what is left.

        Raises:
            ApplicationError: Type ``UnwindRefused``: somebody relies on the effects.
        """
        return await shielded(self._unwind(request))

    async def _unwind(self, request: UnwindRequest) -> Unwound:
        run = self._run
        run.log.info(Event.UNWIND_STARTED, **run.facts, saga=request.saga, who=request.who, why=request.why)
        while True:
            found = await self._effects(request)
            if found.quiet_at is not None and workflow.now() < found.quiet_at:
                await workflow.sleep(found.quiet_at - workflow.now())
                continue
            fresh = run.load(found)
            if not fresh:
                break
            await self._undo(fresh)
        unwound = run.unwound()
        run.log.info(
            Event.UNWIND_ENDED,
            **run.facts,
            saga=request.saga,
            undone=len(unwound.undone),
            nothing=len(unwound.nothing),
            left=len(unwound.left),
        )
        count(workflow.metric_meter(), names.UNWINDS, result="left" if unwound.left else "clean")
        close(run, Status.RESIDUE if unwound.left else Status.COMPENSATED)
        return unwound

    async def _undo(self, steps: Sequence[Step]) -> None:
        """Undo, the latest first. What came before a point of no return is touched only when that is undone.

        A pivot without an undo stands until a person says otherwise, and what came before it belongs to it: a
        subscription that the provider has cancelled does not become active again in one system alone.
        """
        run = self._run
        running: list[asyncio.Task[None]] = []
        rest = list(steps)
        while (final := next((step for step in reversed(rest) if run.is_final(step)), None)) is not None:
            place = rest.index(final)
            running.append(asyncio.ensure_future(undo_steps(run, self._desk, rest[place:])))
            rest = rest[:place]
            await workflow.wait_condition(lambda final=final: not final.needs_undo)  # type: ignore[misc] # bound now
            if final.undo is UndoState.LEFT:
                run.leave(rest, because=final)
                rest = []
        await undo_steps(run, self._desk, rest)
        for task in running:
            await task

    async def _effects(self, request: UnwindRequest) -> Effects:
        parent = workflow.info().parent
        ask = EffectsOf(saga=request.saga, run_id=request.run_id, asked_by=parent.workflow_id if parent else None)
        (found,) = await start_listing([ask], summary=f"Read the effects of {request.saga}")
        if found.refused is not None:
            raise ApplicationError(
                f"{request.saga!r} is not unwound: {found.refused}.",
                self._run.unwound().model_dump(mode="json"),
                type=UNWIND_REFUSED,
                non_retryable=True,
            )
        return found

    # -- operators -------------------------------------------------------------------------------------------------

    @workflow.update(name=DECIDE_UPDATE, description="Answer a task of this unwind.")
    async def kit_decide(self, decision: Decision) -> Task:
        """Answer a task. Refused unless it is open and offers the choice."""
        return self._desk.answers.decide(decision)

    @kit_decide.validator
    def _kit_check_decision(self, decision: Decision) -> None:
        self._desk.answers.check(decision)

    @workflow.signal(name=DECIDE_SIGNAL, description="Answer a task of this unwind; for batch operations.")
    def kit_decide_signal(self, decision: Any = None) -> None:
        """Answer a task. What does not fit changes nothing, and is told in the log and the current details."""
        self._desk.answers.hear(decision)

    @workflow.query(name=TASKS_QUERY, description="The questions this unwind has put to people.")
    def kit_tasks(self) -> list[Task]:
        """All tasks, answered or not."""
        return list(self._run.tasks.values())

    @workflow.query(name=SUMMARY_QUERY, description="How this unwind stands.")
    def kit_summary(self) -> RunSummary:
        """How it stands."""
        return summary(self._run)


@workflow.defn(name=PLAN_WORKFLOW)
class UnwindPlanWorkflow:
    """Tells what the unwinds of some runs would find; undoes nothing. Some tens of runs at a time."""

    @workflow.run
    async def run(self, asks: list[EffectsOf]) -> list[Effects]:
        """What each has left behind."""
        return await start_listing(asks, summary=f"Read the effects of {len(asks)} runs")


def start_listing(asks: list[EffectsOf], *, summary: str) -> workflow.ActivityHandle[list[Effects]]:
    """Schedule the reading of effects: as long as it takes."""
    handle: workflow.ActivityHandle[list[Effects]] = workflow.start_activity(
        LIST_ACTIVITY,
        asks,
        result_type=list[Effects],
        start_to_close_timeout=LIST_TIMEOUT,
        retry_policy=LIST_RETRY,
        summary=summary,
    )
    return handle


_OPTIONAL: Final = {
    name: parameter.default
    for name, parameter in inspect.signature(Operation).parameters.items()
    if parameter.default is not parameter.empty
}
"""What a contract need not say, and what it then says."""


class _Recorded(Operation[Any, Any]):
    """An operation as the worker that serves it describes it. Requests and results are documents here, not models."""

    def __init__(self, effect: RecordedEffect) -> None:  # not the base class's: the worker has checked the contract
        vars(self).update(_OPTIONAL)
        self.name = effect.operation
        if effect.effect is not None:
            self.effect = effect.effect
        self.once = effect.once
        self.timeout = effect.timeout
        self.owner = effect.owner
        self.runbook = effect.runbook
        self.result = Any


class _Unwinding(Run):
    """One unwind, as data: a run whose steps were taken by another."""

    def __init__(self, request: UnwindRequest) -> None:
        name = workflow.info().workflow_type
        super().__init__(
            SagaDefinition(name=name, owner=request.who, deadline=timedelta(0), replay_window=timedelta(0))
        )
        self.status = Status.UNDOING
        self.reason = "unwound"
        self._saga = request.saga
        self._effects: dict[int, RecordedEffect] = {}
        self._known: set[tuple[str, str]] = set()
        self._because: dict[int, str] = {}

    def load(self, found: Effects) -> list[Step]:
        """Put what is not known yet on the stack, oldest first. Returns it."""
        told: list[RecordedEffect | ChildSaga] = [*found.effects, *found.children]
        fresh = []
        for one in sorted(told, key=_when):
            # An effect may be a parent's and its child's, too.
            identity = (one.saga, one.key if isinstance(one, RecordedEffect) else one.saga)
            if identity in self._known:
                continue
            self._known.add(identity)
            number = len(self.steps) + 1
            if isinstance(one, RecordedEffect):
                step = _step(one, number=number)
                self._effects[number] = one
                self.push(step, _Recorded(one))
            else:
                step = _child(one, number=number)
                self.steps.append(step)
            fresh.append(step)
        self.refresh()
        return fresh

    def token(self, step: Step, *, persistent: bool) -> Token:
        """What an undo receives besides its request: the token of the run that had the effect."""
        effect = self._effects[step.number]
        return Token(
            key=effect.key,
            correlation_id=effect.correlation_id,
            workflow_id=effect.saga,
            run_id=effect.run_id,
            step=effect.step,
            persistent=persistent,
        )

    def is_final(self, step: Step) -> bool:
        """Whether it was the point of no return and has no undo."""
        effect = self._effects.get(step.number)
        return effect is not None and effect.final

    def leave(self, steps: Iterable[Step], *, because: Step) -> None:
        """Leave what came before a point of no return that stands."""
        for step in steps:
            if step.needs_undo:
                step.undo = UndoState.LEFT
                self._because[step.number] = f"it came before {because.key!r}, which stands and has no undo"
        self.refresh()

    def unwound(self) -> Unwound:
        """What has come of it so far."""
        latest_first = self.steps[::-1]
        reasons = {step.key: self._why_left(step) for step in latest_first if step.undo is UndoState.LEFT}
        return Unwound(
            saga=self._saga,
            undone=[step.key for step in latest_first if step.undo is UndoState.UNDONE],
            nothing=[step.key for step in latest_first if step.undo is UndoState.NOTHING],
            left=list(reasons),
            reasons=reasons,
        )

    def _why_left(self, step: Step) -> str:
        if step.number in self._because:
            return self._because[step.number]
        if step.child is not None:
            return f"see {unwind_id(step.key)}"
        effect = self._effects[step.number]
        decisions = [task.decision for task in self.tasks.values() if task.step == step.number and task.decision]
        decided = f"left in place by {decisions[-1].who}: {decisions[-1].why}" if decisions else ""
        return decided or effect.kept or effect.problem or ""


def _when(one: RecordedEffect | ChildSaga) -> tuple[datetime, int]:
    return (one.happened_at, one.step) if isinstance(one, RecordedEffect) else (one.started_at, 0)


def _child(child: ChildSaga, *, number: int) -> Step:
    """A child saga as a step: it is undone by an unwind of its own."""
    return Step(
        number=number,
        group=number,
        operation=child.workflow_type,
        summary=f"Child saga {child.saga}",
        phase=Phase.BODY,
        key=child.saga,
        request=None,
        outcome=Outcome.DONE,
        child=child.workflow_type,
        task_queue=child.task_queue,
        started_at=child.started_at,
    )


def _step(effect: RecordedEffect, *, number: int) -> Step:
    """An effect as a step that was taken; a group of its own, so that one is undone at a time."""
    step = Step(
        number=number,
        group=number,
        operation=effect.operation,
        summary=effect.summary,
        phase=Phase.BODY,
        key=effect.key,
        request=effect.request,
        result=effect.result,
        outcome=effect.outcome,
        started_at=effect.happened_at,
    )
    if effect.kept is not None or effect.problem is not None:
        step.undo = UndoState.LEFT
    return step
