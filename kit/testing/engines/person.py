"""The person of a scenario, who answers what a parked run asks once everything is well again.

They try again; where that is not offered they skip, else they give up. One thing they must not do blindly: where no
machine can know whether an effect happened, ``retry`` says that it did not. So there they look first, in the
providers' own records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kit.contract import OnceStrategy, Operation, Outcome
from kit.contract.token import REASON_UNKNOWABLE
from kit.testing.runs import Truth
from kit.workflow import Choice, Decision, RunSummary, Task

NAME: Final = "sweep"
"""Who answers."""

_WELL: Final = (Choice.RETRY, Choice.SKIP, Choice.UNWIND)
_HAPPENED: Final = (Choice.SKIP, Choice.UNWIND)
_KNOWN: Final = (Choice.SUPPLY, *_HAPPENED)
"""What they would do, the best first: it did not happen, as far as is known; it did; it did, and its result is known."""


def answers(
    tasks: Sequence[Task],
    *,
    operations: Mapping[str, Operation[Any, Any]],
    truth: Sequence[Truth] = (),
    summary: RunSummary | None = None,
) -> list[Decision]:
    """What the person decides about each task that offers something they would do.

    Args:
        tasks: The open ones.
        operations: The workflow's, by name.
        truth: What the providers did.
        summary: How the run stands; it says under which key each step was taken.
    """
    effects = {effect.key: effect for effect in truth}
    keys = {step["number"]: step["key"] for step in summary.steps} if summary else {}
    decisions = []
    for task in tasks:
        operation = operations.get(task.operation)
        effect = effects.get(keys.get(task.step, "")) if _must_look(task, operation) else None
        decision = _answer(task, operation, effect)
        if decision is not None:
            decisions.append(decision)
    return decisions


def _answer(task: Task, operation: Operation[Any, Any] | None, effect: Truth | None) -> Decision | None:
    resultless = operation is not None and operation.result in (None, type(None))
    wanted: tuple[Choice, ...] = _WELL
    why = "everything is well again"
    if effect is not None:
        wanted = _KNOWN if effect.result is not None or resultless else _HAPPENED
        why = f"the record of {effect.system} says: {effect.text}"
    choice = next((choice for choice in wanted if choice in task.choices), None)
    if choice is None:
        return None
    result = dict(effect.result) if effect and effect.result is not None and choice is Choice.SUPPLY else None
    return Decision(task_id=task.id, choice=choice, who=NAME, why=why, result=result)


def _must_look(task: Task, operation: Operation[Any, Any] | None) -> bool:
    """Whether ``retry`` says that it did not happen; the rule of `kit.workflow.people`."""
    if task.undo or task.failure.outcome is not Outcome.UNKNOWN:
        return False
    once = operation.once if operation is not None else None
    return (once is not None and once.strategy is OnceStrategy.NEVER_TWICE) or task.failure.reason == REASON_UNKNOWABLE
