"""Asking people: a run that cannot go on by itself puts a question and waits, parked, however long it takes.

A parked run sets a timer only where somebody has declared one: an approval expires, and a task is told of again when it
is overdue by what its saga, its operation or the question declares (``due=``, ``remind=``). Where nothing is declared a
task is due after `DEFAULT_DUE` all the same, which whoever lists the tasks sees; the run itself costs no timer then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit.contract import FailureDetails, OnceStrategy, Operation, Outcome
from kit.contract.token import REASON_UNKNOWABLE
from kit.telemetry import Event, count, names
from kit.workflow.answering import Answers
from kit.workflow.outcomes import read_failure
from kit.workflow.run import Run
from kit.workflow.schedule import start_record
from kit.workflow.settling import shielded
from kit.workflow.steps import Phase, Step
from kit.workflow.tasks import DEFAULT_DUE, PARKED_MEMO, TASKS_MEMO, Choice, Decision, DecisionRecord, Notice, Task

BODY_TASK: Final = "body"
"""First part of the id of a question about the workflow's own code, which failed after the pivot."""

ACTION: Final = "action"
UNDO: Final = "undo"
CHILD: Final = "child"
"""Middle part of a repair's fingerprint."""


class Desk:
    """Where a run's questions are put.

    Args:
        run: The run.
        result_type: The type of what the workflow returns.

    Attributes:
        answers: Where they are answered.
    """

    def __init__(self, run: Run, result_type: Callable[[], Any]) -> None:
        self._run = run
        self.answers = Answers(run, result_type)

    async def about_step(self, step: Step, failure: FailureDetails, *, undo: bool, told: str | None = None) -> Decision:
        """Ask what becomes of a step, or of its undo, until an answer is written down in the ledger.

        Args:
            step: The step.
            failure: Why a machine cannot go on.
            undo: Whether it is about the step's undo.
            told: What cannot go on, where it is neither the step nor its undo.
        """
        run = self._run
        operation = run.operation(step)
        what = "The undo of" if undo else "The step"
        told = told or f"{what} “{step.summary}” cannot go on by itself"
        # Where no machine can know, another attempt is only safe when a person has seen that nothing happened.
        never_twice = operation.once is not None and operation.once.strategy is OnceStrategy.NEVER_TWICE
        unknowable = failure.outcome is Outcome.UNKNOWN and (never_twice or failure.reason == REASON_UNKNOWABLE)
        clears = unknowable and not undo
        editable = () if undo or step.approval else operation.editable
        while True:
            number = sum(task.step == step.number for task in run.tasks.values()) + 1
            due = operation.due or run.definition.due
            task = Task(
                id=f"{step.number}{'-undo' if undo else ''}-{number}",
                # A group is never tried again together with what somebody must have looked at first.
                fingerprint=f"{operation.name}:{UNDO if undo else ACTION}:{failure.kind.value}"
                + (f":{REASON_UNKNOWABLE}" if clears else ""),
                step=step.number,
                operation=step.operation,
                undo=undo,
                question=f"{told}: {failure.kind} ({failure.reason}), outcome {failure.outcome}, key {step.key}."
                + (" Retry only if you have seen that it did not happen." if clears else ""),
                choices=_choices(operation, step, undo=undo),
                owner=operation.owner,
                escalation=run.definition.escalation,
                runbook=operation.runbook,
                failure=failure,
                request=step.request.model_dump(mode="json", include=set(editable)) if editable else None,
                editable=editable,
                opened_at=workflow.now(),
                due_at=workflow.now() + (due or DEFAULT_DUE),
            )
            decision = await self.answer(task, remind=due is not None)
            if decision.choice is Choice.UNWIND or (decision.choice is Choice.RETRY and not clears):
                return decision
            refused = await shielded(self._record(step, decision, undo=undo))
            if refused is None:
                return decision
            failure = refused
            told = f"“{decision.choice.value}” of {decision.who} on “{step.summary}” could not be recorded"

    async def about_child(self, step: Step, failure: FailureDetails) -> Decision:
        """Ask what becomes of a saga that only goes forward and whose child has come to nothing."""
        definition = self._run.definition
        number = sum(task.step == step.number for task in self._run.tasks.values()) + 1
        return await self.answer(
            Task(
                id=f"{step.number}-{number}",
                fingerprint=f"{step.operation}:{CHILD}:{failure.kind.value}",
                step=step.number,
                operation=step.operation,
                question=f"The child saga {step.key} has failed ({failure.reason}) and undone itself, after the pivot "
                "of this one. Supply what it should have returned, when that was done by hand, or unwind everything.",
                choices=(Choice.SUPPLY, Choice.UNWIND),
                owner=definition.owner,
                escalation=definition.escalation,
                runbook=definition.runbook,
                failure=failure,
                opened_at=workflow.now(),
                due_at=workflow.now() + (definition.due or DEFAULT_DUE),
            ),
            remind=definition.due is not None,
        )

    async def about_body(self, failure: FailureDetails, why: str) -> Decision:
        """Ask what becomes of a run whose own code failed after the pivot."""
        definition = self._run.definition
        self._run.asked += 1
        return await self.answer(
            Task(
                id=f"{BODY_TASK}-{self._run.asked}",
                fingerprint=f"{failure.operation}:{BODY_TASK}:{failure.kind.value}",
                operation=failure.operation,
                question=f"The workflow's own code failed after the pivot, where nothing turns round by itself: {why} "
                "Supply what it should have returned, or unwind everything it did.",
                choices=(Choice.SUPPLY, Choice.UNWIND),
                owner=definition.owner,
                escalation=definition.escalation,
                runbook=definition.runbook,
                failure=failure,
                opened_at=workflow.now(),
                due_at=workflow.now() + (definition.due or DEFAULT_DUE),
            ),
            remind=definition.due is not None,
        )

    async def answer(self, task: Task, *, remind: bool) -> Decision:
        """Put a task and wait, parked, until it is answered.

        Args:
            task: The task.
            remind: Whether the run tells of it again when it is overdue.

        Raises:
            TimeoutError: It has expired.
            asyncio.CancelledError: The saga turns round; the task is withdrawn.
        """
        run = self._run
        run.tasks[task.id] = task
        count(
            workflow.metric_meter(),
            names.RUNS_PARKED,
            workflow_type=workflow.info().workflow_type,
            operation=task.operation,
            kind=_kind(task),
        )
        run.log.warning(
            Event.RUN_PARKED,
            **run.facts,
            task=task.id,
            fingerprint=task.fingerprint,
            question=task.question,
            owner=task.owner,
        )
        self._tell()
        try:
            await self._wait(task, remind=remind)
        except asyncio.CancelledError:
            if task.decision is None:
                del run.tasks[task.id]  # the saga turns round: the undo will ask again if it must
                self._tell()
                raise
        decision = task.decision
        if decision is None:
            run.log.warning(Event.TASK_EXPIRED, **run.facts, task=task.id, owner=task.owner)
            self._tell()
            raise TimeoutError(f"nobody has decided task {task.id!r} in time")
        run.log.info(
            Event.RUN_DECIDED, **run.facts, task=task.id, choice=decision.choice, who=decision.who, why=decision.why
        )
        self._tell()
        return decision

    async def _wait(self, task: Task, *, remind: bool) -> None:
        """Wait for an answer; tell of the task again when it is overdue, and mark it when it has expired."""
        while task.open:
            now = workflow.now()
            due = task.due_at if remind and not task.overdue else None
            if task.expires_at is not None and now >= task.expires_at:
                task.expired = True
                return
            if due is not None and now >= due:
                self._overdue(task)
                continue
            instants = [instant for instant in (due, task.expires_at) if instant is not None]
            try:
                await workflow.wait_condition(
                    lambda: not task.open,
                    timeout=min(instants) - now if instants else None,
                    timeout_summary=f"task {task.id}" if instants else None,
                )
            except TimeoutError:
                continue

    def _overdue(self, task: Task) -> None:
        task.overdue = True
        count(
            workflow.metric_meter(),
            names.TASKS_OVERDUE,
            workflow_type=workflow.info().workflow_type,
            operation=task.operation,
            kind=_kind(task),
        )
        self._run.log.warning(
            Event.TASK_OVERDUE,
            **self._run.facts,
            task=task.id,
            question=task.question,
            owner=task.owner,
            escalation=task.escalation,
        )
        self._run.refresh()

    async def _record(self, step: Step, decision: Decision, *, undo: bool) -> FailureDetails | None:
        """Write a decision into the ledger. Returns why that is impossible, if it is."""
        record = DecisionRecord(
            operation=step.operation,
            request=step.request,
            result=decision.result,
            choice=decision.choice,
            undo=undo,
            who=decision.who,
            why=decision.why,
        )
        try:
            await start_record(record, self._run.token(step, persistent=True))
        except ActivityError as error:
            return read_failure(step.operation, error)
        return None

    def _tell(self) -> None:
        """Say which questions are open: to the clock, in the memo, in the current details."""
        self._run.keep_time()
        waiting = sorted((task for task in self._run.tasks.values() if task.open), key=lambda task: task.id)
        notices = [Notice.of(task).model_dump(mode="json") for task in waiting]
        workflow.upsert_memo({PARKED_MEMO: [task.id for task in waiting], TASKS_MEMO: notices})
        self._run.refresh()


def _kind(task: Task) -> str:
    return task.failure.kind.value if task.failure else task.kind.value


def _choices(operation: Operation[Any, Any], step: Step, *, undo: bool) -> tuple[Choice, ...]:
    if undo:
        return (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    # The body needs the result of a step that has one; nobody reads an after-commit operation's.
    unread = step.phase is Phase.AFTER_COMMIT or operation.result in (None, type(None))
    skip = (Choice.SKIP,) if unread else ()
    unwind = () if step.phase is Phase.AFTER_COMMIT else (Choice.UNWIND,)
    return (Choice.RETRY, *skip, Choice.SUPPLY, *unwind)


def due_in(declared: timedelta | None, within: timedelta | None = None) -> timedelta:
    """How long until a question is overdue: as declared, else `DEFAULT_DUE`; before it expires in any case."""
    due = declared or DEFAULT_DUE
    return due if within is None else min(due, within / 2 if declared is None else within)
