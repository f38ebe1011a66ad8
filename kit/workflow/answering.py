"""Answers of people: what fits an open task, and what becomes of one that does not.

An answer comes as an update, whose validator refuses what does not fit, or as a signal, which nothing can refuse: what
does not fit is told by the run itself, in its log and its current details, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from temporalio import workflow

from kit.telemetry import Event
from kit.workflow.editing import edited
from kit.workflow.run import Run
from kit.workflow.tasks import Choice, Decision, Task, TaskKind

_TOLD: Final = 3
"""How many answers that did not fit the current details show: the last ones."""


class Answers:
    """Takes a run's answers.

    Args:
        run: The run.
        result_type: The type of what the workflow returns.
    """

    def __init__(self, run: Run, result_type: Callable[[], Any]) -> None:
        self._run = run
        self._result_type = result_type

    def check(self, decision: Decision) -> None:
        """Refuse an answer that fits no open task; one that was given before, word by word, is welcome again.

        Raises:
            ValueError: The task is unknown, expired or otherwise answered, the choice is not offered, or the result,
                the edits or the digest do not fit.
        """
        task = self._run.tasks.get(decision.task_id)
        if task is None:
            known = ", ".join(task.id for task in self._run.tasks.values() if task.open) or "none"
            raise ValueError(f"there is no task {decision.task_id!r}; open: {known}")
        if task.decision == decision:
            return
        if task.decision is not None:
            raise ValueError(
                f"task {task.id!r} has been decided: {task.decision.choice.value} by {task.decision.who}, "
                f"because: {task.decision.why}"
            )
        if task.expires_at is not None and (task.expired or workflow.now() >= task.expires_at):
            raise ValueError(f"task {task.id!r} expired at {task.expires_at.isoformat()}: it is too late to decide it")
        if decision.choice not in task.choices:
            raise ValueError(f"{decision.choice.value!r} is not offered; one of {', '.join(task.choices)}")
        if decision.choice is Choice.APPROVE and task.kind is TaskKind.APPROVAL and decision.digest != task.digest:
            raise ValueError(
                f"an approval needs the digest of what it approves: task {task.id!r} has {task.digest!r}, the decision "
                f"{decision.digest!r}"
            )
        if decision.choice is Choice.SUPPLY and not task.undo:
            self.supplied(task, decision)
        if decision.edits is not None:
            self._check_edits(task, decision, decision.edits)

    def decide(self, decision: Decision) -> Task:
        """Answer a task."""
        task = self._run.tasks[decision.task_id]
        if task.decision is None:
            task.decision = decision
            task.decided_at = workflow.now()
        return task

    def hear(self, said: Any) -> None:
        """Take an answer that came by signal. Whatever it is, the run goes on; what does not fit is told."""
        run = self._run
        try:
            decision = Decision.model_validate(said)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors())
            self._tell(f"{said!r} is no decision: {wrong}")
            return
        alike = [task.id for task in run.tasks.values() if task.open and task.fingerprint == decision.task_id]
        for task_id in alike or [decision.task_id]:
            each = decision.model_copy(update={"task_id": task_id})
            try:
                self.check(each)
            except ValueError as error:
                self._tell(f"“{each.choice.value}” of {each.who}: {error}")
            else:
                self.decide(each)

    def supplied(self, task: Task, decision: Decision) -> Any:
        """The result a person supplied, as the type it stands for.

        Raises:
            ValueError: It does not fit.
        """
        wanted: Any = Any
        if task.kind is TaskKind.REPAIR:
            step = next((step for step in self._run.steps if step.number == task.step), None)
            wanted = self._result_type() if step is None else self._run.result_type(step)
        try:
            return TypeAdapter(wanted).validate_python(decision.result)
        except ValidationError as error:
            raise ValueError(f"{decision.result!r} is no result of {task.operation}: {error}") from error

    def _check_edits(self, task: Task, decision: Decision, edits: dict[str, Any]) -> None:
        if decision.choice is not Choice.RETRY:
            raise ValueError(f"edits go with 'retry', not with {decision.choice.value!r}")
        unknown = sorted(set(edits) - set(task.editable))
        if unknown or not edits:
            offered = ", ".join(task.editable) or "nothing"
            raise ValueError(f"{', '.join(unknown) or 'no field'} cannot be edited in {task.operation}; {offered} can")
        step = next(step for step in self._run.steps if step.number == task.step)
        edited(self._run, step, edits)

    def _tell(self, what: str) -> None:
        run = self._run
        run.misfits = [*run.misfits, what][-_TOLD:]
        run.log.warning(Event.DECISION_REFUSED, **run.facts, why=what)
        run.refresh()
