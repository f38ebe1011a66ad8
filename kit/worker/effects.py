"""What closed runs have left behind: their effects by the ledgers of a service, and whether they may be undone.

Two sources, and each says what the other cannot know. The ledgers have every effect with all that its undo needs, but a
terminated run leaves the same rows as a completed one. How a run ended, and whether it has, is the server's word: it is
asked about the one run (a description, which is never stale), not about what visibility has heard of it.

A run is not to be unwound while somebody relies on its effects:

- it is open, or a saga that it runs as its child is;
- it is the child of a saga that is open, unless that saga itself asks;
- only the effects of one chain of runs are asked for, and its workflow id was started again since: the keys are the
  same, so the later runs were answered with the effects of the earlier ones.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from kit.contract import Operation, Outcome
from kit.errors import OperationFailure
from kit.ledger.protocol import Ledger
from kit.ledger.states import Entry, State
from kit.worker.connector import Connector
from kit.worker.documents import load
from kit.worker.starting import entities, sagas
from kit.worker.work import LEASE_MARGIN
from kit.workflow.parents import PARENT_MEMO, Parent
from kit.workflow.steps import Phase
from kit.workflow.sweeping import CutOff, FindCutOff
from kit.workflow.unwound import OWN_PREFIX, ChildSaga, Effects, EffectsOf, RecordedEffect, unwind_id

_GONE = frozenset({State.VOID, State.UNDONE})
"""States of an effect that is not there and never will be."""

_CUT_OFF = frozenset({WorkflowExecutionStatus.TERMINATED, WorkflowExecutionStatus.TIMED_OUT})
"""Ends that come without the run's knowing: its attempts go on for a while."""

_UNDONE_BY_ITSELF = frozenset({WorkflowExecutionStatus.FAILED, WorkflowExecutionStatus.CANCELED})
"""Ends of a saga that leave nothing, or what a person has left."""

MOST_EFFECTS = 500
"""Effects of one workflow id that one unwind takes: with their documents they must fit into one payload (2 MB)."""

_LONGEST_UNKNOWN = timedelta(seconds=30)
"""How long one attempt of an operation may take of which this worker knows nothing."""


class Remains:
    """Reads what runs have left behind.

    Args:
        ledgers: All in which their effects may have their rows.
        served: The connectors' operations.
    """

    def __init__(self, ledgers: Sequence[Ledger], served: Mapping[str, tuple[Operation[Any, Any], Connector]]) -> None:
        self._ledgers = ledgers
        self._served = served
        self._longest = max((operation.timeout for operation, _ in served.values()), default=_LONGEST_UNKNOWN)

    async def of(self, client: Client, asks: Sequence[EffectsOf], *, task_queue: str) -> list[Effects]:
        """What each of some runs has left behind.

        Args:
            client: Of the server that has run them.
            asks: Which.
            task_queue: Of this worker: a child saga of another queue may be in another service's ledger.

        Raises:
            LedgerUnavailable: A ledger did not answer.
            RPCError: The server did not.
        """
        found = [await self._of(client, ask, task_queue) for ask in asks]
        return [effects.brief() if ask.brief else effects for ask, effects in zip(asks, found, strict=True)]

    async def _of(self, client: Client, ask: EffectsOf, task_queue: str) -> Effects:
        latest = await describe(client, ask.saga)
        refused = await _why_not(client, ask, latest)
        effects, others = await self._effects(ask.saga, ask.run_id, _pivots(latest))
        if len(effects) > MOST_EFFECTS:
            refused = refused or (
                f"it has {len(effects)} effects, and one unwind takes {MOST_EFFECTS}: name one run, if it has several"
            )
            effects = []
        children = []
        async for run in _children(client, ask.saga):
            if run.status is WorkflowExecutionStatus.RUNNING:
                refused = refused or f"its child saga {run.id!r} is open (run {run.run_id})"
            found = ChildSaga(
                saga=run.id, workflow_type=run.workflow_type, task_queue=run.task_queue, started_at=run.start_time
            )
            if run.task_queue == task_queue:
                below = await self._of(client, EffectsOf(saga=run.id, asked_by=ask.saga), task_queue)
                found = found.model_copy(update={"remains": below})
                refused = refused or (f"its child saga {run.id!r}: {below.refused}" if below.refused else None)
            if found.remains is None or not found.remains.nothing_to_do:
                children.append(found)
        return Effects(
            saga=ask.saga,
            # The latest first. By the step's number what is held back until after the commit would seem to be earlier.
            effects=sorted(effects, key=lambda effect: (effect.happened_at, effect.step), reverse=True),
            children=sorted(children, key=lambda child: child.started_at, reverse=True),
            quiet_at=self._quiet_at(latest),
            refused=refused,
            others=others,
        )

    def _quiet_at(self, latest: WorkflowExecution | None) -> datetime | None:
        """When no attempt of a run can claim anything any more that the run itself could not wait for."""
        if latest is None or latest.status not in _CUT_OFF or latest.close_time is None:
            return None
        return latest.close_time + self._longest + LEASE_MARGIN

    async def _effects(self, saga: str, run_id: str | None, pivots: frozenset[str]) -> tuple[list[RecordedEffect], int]:
        """The effects of a workflow id that are there, or may be; and how many of those are other runs'."""
        rows: dict[str, Entry] = {}
        for ledger in self._ledgers:
            rows |= {row.key: row for row in await ledger.of_saga(saga) if row.state not in _GONE}
        mine = [row for row in rows.values() if run_id in (None, _run_of(row, saga))]
        return [self._effect(row, saga, pivots) for row in mine], len(rows) - len(mine)

    def _effect(self, row: Entry, saga: str, pivots: frozenset[str]) -> RecordedEffect:
        served = self._served.get(row.operation)
        operation = None if served is None else served[0]
        summary, problem = _read(operation, row)
        # Not the state alone: of an undo that was begun the result may be known, and makes a tombstone impossible.
        known = row.result is not None and row.state in (State.DONE, State.UNDOING)
        return RecordedEffect(
            key=row.key,
            operation=row.operation,
            undo=operation.undo_name if operation else "",
            summary=summary,
            saga=saga,
            run_id=_run_of(row, saga),
            step=row.step_of(saga),
            correlation_id=row.correlation_id,
            happened_at=row.first_claimed_at,
            state=row.state.value,
            outcome=Outcome.DONE if known else Outcome.UNKNOWN,
            request=json.loads(row.request),
            result=json.loads(row.result) if known and row.result is not None else None,
            effect=operation.effect if operation else None,
            once=operation.once if operation else None,
            timeout=operation.timeout if operation else _LONGEST_UNKNOWN,
            owner=operation.owner if operation else "",
            runbook=operation.runbook if operation else None,
            final=row.operation in pivots and not (operation is not None and operation.effect.undoable),
            shared_with=tuple(other for other in row.sagas if other != saga),
            kept=row.reason if row.left_in_place else None,
            problem=problem,
        )


def _pivots(latest: WorkflowExecution | None) -> frozenset[str]:
    """The operations that are the point of no return of a run's workflow.

    Where nobody knows the workflow (the server has forgotten the run, or its class is not in this worker) what is the
    point of no return of any saga counts as this one's: asking a person too often undoes nothing behind their back.
    """
    known = dict(sagas())
    own = known.get(latest.workflow_type) if latest is not None else None
    classes = known.values() if own is None else [own]
    return frozenset(use.operation.name for each in classes for use in each.uses if use.phase is Phase.PIVOT)


def _read(operation: Operation[Any, Any] | None, row: Entry) -> tuple[str, str | None]:
    """An effect in a sentence, and what keeps this worker from undoing it."""
    if operation is None:
        return row.operation, f"no connector of this worker serves {row.operation!r}"
    try:
        request = operation.request.model_validate_json(row.request)
        if row.result is not None:
            load(operation, row.result)
    except (ValidationError, OperationFailure) as error:
        return operation.name, f"what was recorded does not fit the contract of this version: {error}"
    return operation.summary_for(request), None


def _run_of(row: Entry, saga: str) -> str:
    """The first execution's run id under which a saga relies on an effect."""
    return next((share.run_id for share in row.shared if share.saga == saga and not share.left), row.run_id)


async def _why_not(client: Client, ask: EffectsOf, latest: WorkflowExecutionDescription | None) -> str | None:
    """Why a run must not be unwound. One of which the server knows nothing any more closed long ago."""
    if latest is None:
        return None
    if latest.status is WorkflowExecutionStatus.RUNNING:
        return f"it is open (run {latest.run_id}): cancel or terminate it first"
    first = latest.raw_info.first_run_id or latest.run_id
    if ask.run_id not in (None, first):
        return (
            f"the workflow id was started again since (run {latest.run_id}), and keys name effects and not runs: "
            "unwind the whole workflow id, without a run id"
        )
    parent = await latest.memo_value(PARENT_MEMO, None, type_hint=Parent)
    if parent is None or parent.saga == ask.asked_by:
        return None
    above = await describe(client, parent.saga)
    if above is not None and above.status is WorkflowExecutionStatus.RUNNING:
        return f"it is the child of {parent.saga!r}, which is open (run {above.run_id}) and undoes it with itself"
    return None


async def describe(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """The latest run of a workflow id; ``None`` when the server does not remember one."""
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _children(client: Client, saga: str) -> AsyncIterator[WorkflowExecution]:
    """The sagas that a saga has run as its children and that have not undone themselves; the latest run of each."""
    seen = set()
    async for run in client.list_workflows(f"ParentWorkflowId = {quoted(saga)}"):
        if run.id in seen or await run.memo_value(PARENT_MEMO, None) is None:
            continue
        seen.add(run.id)
        if run.status not in _UNDONE_BY_ITSELF:
            yield run


async def cut_off(client: Client, asked: FindCutOff, *, task_queue: str) -> list[CutOff]:
    """The sagas of a task queue that were terminated or timed out, the latest run of each workflow id."""
    ended = " OR ".join(f"ExecutionStatus = '{status}'" for status in ("Terminated", "TimedOut"))
    query = (
        f"TaskQueue = {quoted(task_queue)} AND ({ended}) "
        f"AND CloseTime > {quoted(asked.since.isoformat())} AND CloseTime < {quoted(asked.until.isoformat())}"
    )
    if asked.query:
        query += f" AND ({asked.query})"
    found: dict[str, CutOff] = {}
    async for run in client.list_workflows(query, limit=asked.limit):
        if run.id in found or run.workflow_type.startswith(OWN_PREFIX):
            continue
        latest = await describe(client, run.id)
        if latest is None or latest.status not in _CUT_OFF:
            continue  # it was started again since, and its effects are that run's
        if await _unwound_since(client, latest):
            continue
        first = latest.raw_info.first_run_id or latest.run_id
        found[run.id] = CutOff(saga=run.id, run_id=first, entity=run.workflow_type in entities())
    return list(found.values())


async def _unwound_since(client: Client, run: WorkflowExecution) -> bool:
    """Whether a run was unwound after its end. What that left was left by a person, or nobody here can undo it."""
    unwind = await describe(client, unwind_id(run.id))
    return (
        unwind is not None
        and unwind.status is WorkflowExecutionStatus.COMPLETED
        and run.close_time is not None
        and unwind.start_time >= run.close_time
    )


def quoted(text: str) -> str:
    """A text as a visibility query has it. One with a double quote in it is never found: the server misreads it."""
    return "'" + text.replace("'", "''") + "'"
