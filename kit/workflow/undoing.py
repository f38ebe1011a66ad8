"""Undoing by outcome: what happened, or may have, is taken back; what did not is left alone.

Latest first, parallel siblings together. Each undo goes on until there is nothing left to undo or a person has decided;
one that waits for a person does not keep the earlier steps waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit.contract import Outcome, UndoRequest
from kit.workflow import children
from kit.workflow.outcomes import read_failure
from kit.workflow.people import Desk
from kit.workflow.run import Run
from kit.workflow.schedule import start_undo
from kit.workflow.steps import Step, UndoState
from kit.workflow.tasks import Choice

_AnyUndo: Final = UndoRequest[Any, Any]
"""Made once: pydantic would make the class anew for every undo."""


async def undo_steps(run: Run, desk: Desk, steps: Iterable[Step]) -> None:
    """Undo those of the steps that need it."""
    running: list[asyncio.Task[None]] = []
    latest_first = sorted((step for step in steps if step.needs_undo), key=lambda step: (-step.group, step.number))
    for _, group in groupby(latest_first, key=lambda step: step.group):
        siblings = list(group)
        undos = [asyncio.ensure_future(_undo(run, desk, step)) for step in siblings]
        running.extend(undos)
        await workflow.wait_condition(partial(_may_go_on, run, undos, siblings))
    for undo in running:
        await undo


def _may_go_on(run: Run, undos: Sequence[asyncio.Task[None]], siblings: Sequence[Step]) -> bool:
    """Whether a group's undos have ended, or wait for a person: those do not keep earlier steps waiting."""
    waiting = {task.step for task in run.tasks.values() if task.open and task.undo}
    return all(undo.done() or step.number in waiting for undo, step in zip(undos, siblings, strict=True))


async def _undo(run: Run, desk: Desk, step: Step) -> None:
    if step.child is not None:
        await children.undo(run, step)
        return
    operation = run.operation(step)
    while True:
        step.undo = UndoState.RUNNING
        run.refresh()
        known = step.result if step.outcome is Outcome.DONE else None
        ask = _AnyUndo(request=step.request, result=known, outcome=step.outcome or Outcome.UNKNOWN)
        try:
            ended = await start_undo(operation, step, run.token(step, persistent=True), ask)
        except ActivityError as error:
            step.failure = read_failure(step.operation, error)
            step.undo_attempts += step.failure.attempts
        else:
            step.undo_attempts += ended.attempts
            step.undo = UndoState.UNDONE if ended.happened else UndoState.NOTHING
            run.refresh()
            return
        decision = await desk.about_step(step, step.failure, undo=True)
        if decision.choice is Choice.RETRY:
            continue
        step.undo = UndoState.LEFT if decision.choice is Choice.SKIP else UndoState.UNDONE
        run.refresh()
        return
