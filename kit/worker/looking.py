"""Which runs had an effect, and how they stand: asked by reconciliations before they call anything wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus

from kit.ledger.holds import HoldStore
from kit.ledger.protocol import Ledger
from kit.worker.effects import describe, quoted
from kit.workflow.findings import FIND_RUNS_ACTIVITY, FindRuns, RunOfEffect
from kit.workflow.open_work import FIND_OPEN_ACTIVITY, FindOpen, OpenTask, OpenWork
from kit.workflow.parents import PARENT_MEMO, Parent
from kit.workflow.tasks import PARKED_MEMO
from kit.workflow.unwound import unwind_id

UNKNOWN: Final = "unknown"
"""How a run stands that the cluster does not know any more."""

MOST_TASKS: Final = 100
"""How many open tasks are listed."""


def looking(ledgers: Sequence[Ledger], holds: HoldStore | None) -> list[Callable[..., Any]]:
    """The activities of a worker that look at runs.

    Args:
        ledgers: All in which its effects may have their rows.
        holds: Where its holds are kept.
    """

    @activity.defn(name=FIND_RUNS_ACTIVITY)
    async def find_runs(asked: FindRuns) -> list[RunOfEffect]:
        """The run of each key that a ledger knows."""
        found: list[RunOfEffect] = []
        known: dict[str, tuple[str, bool]] = {}
        client = activity.client()
        for key in dict.fromkeys(asked.keys):
            for ledger in ledgers:
                row = await ledger.get(key)
                if row is None:
                    continue
                for saga in row.sagas:
                    if saga not in known:
                        known[saga] = await _stands(client, saga)
                saga = next((saga for saga in row.sagas if known[saga][1]), row.saga)
                status, is_open = known.get(saga) or await _stands(client, saga)
                found.append(
                    RunOfEffect(
                        key=key,
                        operation=row.operation,
                        state=row.state.value,
                        workflow_id=saga,
                        status=status,
                        open=is_open,
                    )
                )
                break
        return found

    @activity.defn(name=FIND_OPEN_ACTIVITY)
    async def find_open_work(asked: FindOpen) -> OpenWork:
        """The tasks that runs of this task queue have put to people, and the holds that are on."""
        found: list[OpenTask] = []
        own = f"TaskQueue = {quoted(activity.info().task_queue)} AND ExecutionStatus = 'Running'"
        async for run in activity.client().list_workflows(own):
            for task in await run.memo_value(PARKED_MEMO, [], type_hint=list[str]):
                found.append(OpenTask(workflow_id=run.id, workflow_type=run.workflow_type, task_id=task))
            if len(found) > MOST_TASKS:
                break
        active = [] if holds is None else await holds.active()
        now = activity.info().started_time
        on = tuple(hold for hold in active if hold.until is None or hold.until > now)
        return OpenWork(tasks=tuple(found[:MOST_TASKS]), more=len(found) > MOST_TASKS, holds=on)

    return [find_runs, find_open_work]


async def _stands(client: Client, workflow_id: str) -> tuple[str, bool]:
    """How the latest run of an id stands, and whether anybody is still at work on its effects.

    That may be its unwind, or the saga whose child it is and that undoes it with itself.
    """
    own = await describe(client, workflow_id)
    if own is None:
        status, is_open = UNKNOWN, False
    else:
        status = UNKNOWN if own.status is None else own.status.name.lower()
        is_open = own.status is WorkflowExecutionStatus.RUNNING
        parent = await own.memo_value(PARENT_MEMO, None, type_hint=Parent)
        if parent is not None and not is_open:
            _, is_open = await _stands(client, parent.saga)
    unwind = await describe(client, unwind_id(workflow_id))
    return status, is_open or (unwind is not None and unwind.status is WorkflowExecutionStatus.RUNNING)
