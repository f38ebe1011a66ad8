"""Which runs had an effect, and how they stand: asked by reconciliations before they call anything wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus

from kit.ledger.holds import HoldStore
from kit.ledger.protocol import Ledger
from kit.ledger.states import Entry
from kit.worker.effects import describe, quoted
from kit.workflow.findings import FIND_RUNS_ACTIVITY, FindRuns, RunOfEffect
from kit.workflow.open_work import FIND_OPEN_ACTIVITY, FindOpen, OpenTask, OpenWork
from kit.workflow.parents import PARENT_MEMO, Parent
from kit.workflow.tasks import PARKED_MEMO
from kit.workflow.unwound import unwind_id

UNKNOWN: Final = "unknown"
"""How a run stands that the cluster does not know any more."""

ANY: Final = "*"
"""At the end of a key it means all keys that begin so."""

MOST_EFFECTS: Final = 100
"""How many effects whose keys begin alike are looked at: one for each change of one business object."""

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
        stands = _Stands(activity.client(), asker=activity.info().workflow_id or "")
        for key in dict.fromkeys(asked.keys):
            for ledger in ledgers:
                found += [await stands.run_of(key, row) for row in await _rows(ledger, key)]
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


async def _rows(ledger: Ledger, key: str) -> list[Entry]:
    """The rows of a key, or of all keys that begin with it."""
    if key.endswith(ANY):
        return await ledger.page(key.removesuffix(ANY), limit=MOST_EFFECTS)
    row = await ledger.get(key)
    return [] if row is None else [row]


class _Stands:
    """How runs stand, each looked at once. Whoever asks is at work on nothing: what it repairs, it looks at again."""

    def __init__(self, client: Client, *, asker: str) -> None:
        self._client = client
        self._known: dict[str, tuple[str, bool]] = {asker: ("running", False)}

    async def run_of(self, asked: str, row: Entry) -> RunOfEffect:
        """The run that had an effect: of several that share it one that is open, if there is one."""
        for saga in (*row.sagas, row.saga):
            if saga not in self._known:
                self._known[saga] = await _stands(self._client, saga)
        saga = next((saga for saga in row.sagas if self._known[saga][1]), row.saga)
        status, is_open = self._known[saga]
        return RunOfEffect(
            asked=asked,
            key=row.key,
            operation=row.operation,
            state=row.state.value,
            workflow_id=saga,
            status=status,
            open=is_open,
        )


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
