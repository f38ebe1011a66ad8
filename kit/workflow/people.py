"""Asking people: a run that cannot go on by itself puts a question and waits, parked, however long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit.contract import FailureDetails, OnceStrategy, Operation, Outcome
from kit.contract.token import REASON_UNKNOWABLE
from kit.telemetry import Event, count, names
from kit.workflow.outcomes import read_failure
from kit.workflow.run import Run
from kit.workflow.schedule import start_record
from kit.workflow.settling import shielded
from kit.workflow.steps import Phase, Step
from kit.workflow.tasks import PARKED_MEMO, Choice, Decision, DecisionRecord, Task

BODY_TASK: Final = "body"
"""First part of the id of a question about the workflow's own code, which failed after the pivot."""


class Desk:
    """Where a run's questions are put and answered.

    Args:
        run: The run.
        result_type: The type of what the workflow returns.
    """

    def __init__(self, run: Run, result_type: Callable[[], Any]) -> None:
        self._run = run
        self._result_type = result_type

    async def about_step(self, step: Step, failure: FailureDetails, *, undo: bool) -> Decision:
        """Ask what becomes of a step, or of its undo, until an answer is written down in the ledger."""
        operation = self._run.operation(step)
        what = "The undo of" if undo else "The step"
        told = f"{what} “{step.summary}” cannot go on by itself"
        # Where no machine can know, another attempt is only safe when a person has seen that nothing happened.
        never_twice = operation.once is not None and operation.once.strategy is OnceStrategy.NEVER_TWICE
        unknowable = failure.outcome is Outcome.UNKNOWN and (never_twice or failure.reason == REASON_UNKNOWABLE)
        clears = unknowable and not undo
        while True:
            number = sum(task.step == step.number for task in self._run.tasks.values()) + 1
            task = Task(
                id=f"{step.number}{'-undo' if undo else ''}-{number}",
                step=step.number,
                operation=step.operation,
                undo=undo,
                question=f"{told}: {failure.kind} ({failure.reason}), outcome {failure.outcome}, key {step.key}."
                + (" Retry only if you have seen that it did not happen." if clears else ""),
                choices=_choices(operation, step, undo=undo),
                owner=operation.owner,
                runbook=operation.runbook,
                failure=failure,
                opened_at=workflow.now(),
            )
            decision = await self._ask(task)
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
        return await self._ask(
            Task(
                id=f"{step.number}-{number}",
                step=step.number,
                operation=step.operation,
                undo=False,
                question=f"The child saga {step.key} has failed ({failure.reason}) and undone itself, after the pivot "
                "of this one. Supply what it should have returned, when that was done by hand, or unwind everything.",
                choices=(Choice.SUPPLY, Choice.UNWIND),
                owner=definition.owner,
                runbook=definition.runbook,
                failure=failure,
                opened_at=workflow.now(),
            )
        )

    async def about_body(self, failure: FailureDetails, why: str) -> Decision:
        """Ask what becomes of a run whose own code failed after the pivot."""
        definition = self._run.definition
        number = sum(task.step == 0 for task in self._run.tasks.values()) + 1
        return await self._ask(
            Task(
                id=f"{BODY_TASK}-{number}",
                step=0,
                operation=failure.operation,
                undo=False,
                question=f"The workflow's own code failed after the pivot, where nothing turns round by itself: {why} "
                "Supply what it should have returned, or unwind everything it did.",
                choices=(Choice.SUPPLY, Choice.UNWIND),
                owner=definition.owner,
                runbook=definition.runbook,
                failure=failure,
                opened_at=workflow.now(),
            )
        )

    async def _ask(self, task: Task) -> Decision:
        run = self._run
        run.tasks[task.id] = task
        count(
            workflow.metric_meter(),
            names.RUNS_PARKED,
            workflow_type=workflow.info().workflow_type,
            operation=task.operation,
            kind=task.failure.kind.value,
        )
        run.log.warning(Event.RUN_PARKED, **run.facts, task=task.id, question=task.question, owner=task.owner)
        self._tell()
        try:
            await workflow.wait_condition(lambda: not task.open)
        except asyncio.CancelledError:
            if task.decision is None:
                del run.tasks[task.id]  # the saga turns round: the undo will ask again if it must
                self._tell()
                raise
        decision = task.decision
        if decision is None:
            raise AssertionError(f"task {task.id} ended without a decision")
        run.log.info(
            Event.RUN_DECIDED, **run.facts, task=task.id, choice=decision.choice, who=decision.who, why=decision.why
        )
        self._tell()
        return decision

    def check(self, decision: Decision) -> None:
        """Refuse an answer that fits no open task.

        Raises:
            ValueError: The task is unknown or answered, the choice is not offered, or the result does not fit.
        """
        task = self._run.tasks.get(decision.task_id)
        if task is None:
            known = ", ".join(task.id for task in self._run.tasks.values() if task.open) or "none"
            raise ValueError(f"there is no task {decision.task_id!r}; open: {known}")
        if task.decision is not None:
            raise ValueError(
                f"task {task.id!r} has been decided: {task.decision.choice.value} by {task.decision.who}, "
                f"because: {task.decision.why}"
            )
        if decision.choice not in task.choices:
            raise ValueError(f"{decision.choice.value!r} is not offered; one of {', '.join(task.choices)}")
        if decision.choice is Choice.SUPPLY and not task.undo:
            self.supplied(task, decision)

    def decide(self, decision: Decision) -> Task:
        """Answer a task."""
        task = self._run.tasks[decision.task_id]
        task.decision = decision
        task.decided_at = workflow.now()
        return task

    def supplied(self, task: Task, decision: Decision) -> Any:
        """The result a person supplied, as the type it stands for.

        Raises:
            ValueError: It does not fit.
        """
        step = next((step for step in self._run.steps if step.number == task.step), None)
        wanted = self._result_type() if step is None else self._run.result_type(step)
        try:
            return TypeAdapter(wanted).validate_python(decision.result)
        except ValidationError as error:
            raise ValueError(f"{decision.result!r} is no result of {task.operation}: {error}") from error

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
        waiting = sorted(task.id for task in self._run.tasks.values() if task.open)
        workflow.upsert_memo({PARKED_MEMO: waiting})
        self._run.refresh()


def _choices(operation: Operation[Any, Any], step: Step, *, undo: bool) -> tuple[Choice, ...]:
    if undo:
        return (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    # The body needs the result of a step that has one; nobody reads an after-commit operation's.
    unread = step.phase is Phase.AFTER_COMMIT or operation.result in (None, type(None))
    skip = (Choice.SKIP,) if unread else ()
    unwind = () if step.phase is Phase.AFTER_COMMIT else (Choice.UNWIND,)
    return (Choice.RETRY, *skip, Choice.SUPPLY, *unwind)
