"""The person of a scenario, who answers what a parked run asks once everything is well again.

They try again; where that is not offered they skip, else they give up. What they are asked to approve they approve,
unless the subject says that they reject it. One thing they must not do blindly: where no
machine can know whether an effect happened, ``retry`` says that it did not. So there they look first, in the external
system itself. What they find they supply; what is there, though they cannot tell its result, they skip, or give up. And
what no machine can undo they do not have tried for ever: it stays by their decision, or they say that it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kit.contract import OnceStrategy, Operation, Outcome
from kit.contract.token import REASON_NO_UNDO, REASON_UNKNOWABLE
from kit.ledger import REASON_AFTER_UNDO
from kit.testing.world import World
from kit.workflow import Choice, Decision, RunSummary, Task, TaskKind

NAME: Final = "sweep"
"""Who answers."""

_WELL: Final = (Choice.RETRY, Choice.SKIP, Choice.UNWIND, Choice.APPROVE)
_HAPPENED: Final = (Choice.SKIP, Choice.UNWIND)
_FOUND: Final = (Choice.SUPPLY, *_HAPPENED)
"""What they would do, best first: as far as is known it did not happen; it did; it did, and its result was found."""

_USED_UP: Final = (Choice.UNWIND, Choice.SKIP, Choice.RETRY)
"""What they would do about a key that was undone: it refuses every attempt for ever."""

_NO_MACHINE: Final = frozenset({REASON_NO_UNDO, REASON_UNKNOWABLE})
"""Why an undo is a person's to carry out, however often it is tried."""

_STAYS: Final = (Choice.SKIP,)
_GONE: Final = (Choice.SUPPLY,)
"""What they would do about an undo that no machine can carry out: the effect is there; it is not."""


async def answers(
    tasks: Sequence[Task],
    *,
    operations: Mapping[str, Operation[Any, Any]],
    world: World,
    summary: RunSummary | None = None,
    approves: bool = True,
) -> list[Decision]:
    """What the person decides about each task that offers something they would do.

    Args:
        tasks: The open ones.
        operations: The workflow's, by name.
        world: Where they look.
        summary: How the run stands; it says under which key each step was taken.
        approves: Whether they approve what they are asked to approve, or reject it.
    """
    live = {effect.key for effect in await world.truth() if effect.live}
    keys = {step["number"]: step["key"] for step in summary.steps} if summary else {}
    decisions = []
    for task in tasks:
        wanted: tuple[Choice, ...] = _WELL
        why, found = "everything is well again", None
        if task.kind is TaskKind.APPROVAL:
            wanted, why = ((Choice.APPROVE,) if approves else (Choice.REJECT,)), "they have seen what it is about"
        if task.failure is not None and task.failure.reason == REASON_AFTER_UNDO:
            wanted, why = _USED_UP, "its key is used up: what was undone does not happen again"
        key = keys.get(task.step, "")
        if key in live and _must_look(task, operations.get(task.operation)):
            found = await world.found(task, key)
            wanted = _HAPPENED if found is None else _FOUND
            why = f"it has happened: the effect of {key} is there"
        elif task.undo and task.failure is not None and task.failure.reason in _NO_MACHINE:
            wanted = _STAYS if key in live else _GONE
            why = f"no machine can undo it; the effect of {key} is {'left in place' if key in live else 'not there'}"
        choice = next((choice for choice in wanted if choice in task.choices), None)
        if choice is not None:
            result = found if choice is Choice.SUPPLY else None
            decisions.append(
                Decision(task_id=task.id, choice=choice, who=NAME, why=why, result=result, digest=task.digest)
            )
    return decisions


def _must_look(task: Task, operation: Operation[Any, Any] | None) -> bool:
    """Whether ``retry`` says that it did not happen; the rule of `kit.workflow.people`."""
    if task.undo or task.failure is None or task.failure.outcome is not Outcome.UNKNOWN:
        return False
    once = operation.once if operation is not None else None
    return (once is not None and once.strategy is OnceStrategy.NEVER_TWICE) or task.failure.reason == REASON_UNKNOWABLE
