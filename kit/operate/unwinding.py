"""Unwinding from outside: which runs, what it would do, and doing it at a measured pace.

Everything that must not be lost is elsewhere: what is undone is in the ledger, and each unwind is a workflow of its own
that needs nobody to wait for it. So this may be interrupted at any point and called again: a run that is unwound has
nothing left, one that is being unwound is joined.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from kit.errors import DefinitionError
from kit.operate.service import Operating
from kit.workflow.tasks import PARKED_MEMO
from kit.workflow.unwound import (
    OWN_PREFIX,
    PLAN_WORKFLOW,
    UNWIND_REFUSED,
    UNWIND_WORKFLOW,
    Effects,
    EffectsOf,
    UnwindRequest,
    Unwound,
    unwind_id,
)

PAGE: Final = 20
"""Runs whose effects are read at once: what comes back stays far below the size of a payload."""

PLAN_TIMEOUT: Final = timedelta(minutes=1)
"""How long the workers may take to tell what a page of runs has left behind."""

_FIRST_LOOK: Final = 0.5
_LAST_LOOK: Final = 10.0
"""Seconds between two looks whether an unwind waits for a person: seldom, when it takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A closed run that may be unwound.

    Attributes:
        saga: Its workflow id.
        run_id: The first execution's run id of its chain; ``None`` for every run of the workflow id.
        workflow_type: Its type.
        closed_as: How it closed, in Temporal's word; ``None`` when the server has forgotten it.
        closed_at: When.
        task_queue: Where its service's workers take their tasks from.
    """

    saga: str
    run_id: str | None = None
    workflow_type: str | None = None
    closed_as: str | None = None
    closed_at: datetime | None = None
    task_queue: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the unwind of one run would do."""

    target: Target
    effects: Effects


class State(StrEnum):
    """What has become of the unwind of one run. A closed vocabulary."""

    UNWOUND = "unwound"
    """Nothing is left."""
    LEFT = "left"
    """It ended, and an effect is left."""
    PARKED = "parked"
    """It waits for a person; what needs none is undone."""
    REFUSED = "refused"
    """Somebody relies on the effects: nothing was undone."""
    NOTHING = "nothing"
    """There was nothing to undo: it was unwound before, or never had an effect."""
    FAILED = "failed"
    """It was ended from outside; unwinding again goes on with it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of one run.

    Attributes:
        target: The run.
        state: In a word.
        unwound: Effect by effect; ``None`` where no unwind has ended.
        why: Why it was refused, or what it waits for.
    """

    target: Target
    state: State
    unwound: Unwound | None = None
    why: str = ""


@dataclass(slots=True)
class Unwinding:
    """Unwinds the runs of one service.

    Attributes:
        operating: The service.
        who: Who asks.
        why: Why.
        rate: At most so many unwinds are started in a second.
        at_once: At most so many are waited for at once.
        fates: What is known so far, also when it is interrupted.
    """

    operating: Operating
    who: str
    why: str
    rate: float = 5.0
    at_once: int = 10
    fates: list[Fate] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.rate <= 0 or self.at_once < 1:
            raise DefinitionError(
                "unwinding",
                rule=f"rate={self.rate!r} must be positive and at_once={self.at_once!r} at least 1",
                fix="use for example rate=5, at_once=10",
            )

    async def run(self, plans: Iterable[Plan]) -> list[Fate]:
        """Carry plans out. Interrupted, it leaves the unwinds that are under way to themselves."""
        places = asyncio.Semaphore(self.at_once)
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                if plan.effects.refused is not None:
                    self.fates.append(Fate(plan.target, State.REFUSED, why=plan.effects.refused))
                elif plan.effects.nothing_to_do:
                    self.fates.append(Fate(plan.target, State.NOTHING))
                else:
                    await places.acquire()
                    group.create_task(self._one(plan.target, places))
                    await asyncio.sleep(1 / self.rate)
        return self.fates

    async def _one(self, target: Target, places: asyncio.Semaphore) -> None:
        try:
            self.fates.append(await self._unwind(target))
        except RPCError as error:  # whether it has started is unknown: the next call joins it or starts it
            self.fates.append(Fate(target, State.FAILED, why=f"the server did not answer: {error.message}"))
        finally:
            places.release()

    async def _unwind(self, target: Target) -> Fate:
        request = UnwindRequest(saga=target.saga, run_id=target.run_id, who=self.who, why=self.why)
        handle: WorkflowHandle[Any, Unwound] = await self.operating.client.start_workflow(
            UNWIND_WORKFLOW,
            request,
            id=unwind_id(target.saga),
            task_queue=target.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            result_type=Unwound,
            static_summary=f"Unwind {target.saga}: {self.why}",
        )
        waiting = asyncio.ensure_future(handle.result())
        pause = _FIRST_LOOK
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=pause)
                pause = min(pause * 1.5, _LAST_LOOK)
                if not waiting.done() and (tasks := await _waits_for(handle)):
                    return Fate(target, State.PARKED, why=f"{unwind_id(target.saga)} waits for {tasks} decisions")
            return _ended(target, waiting)
        finally:
            waiting.cancel()


def _ended(target: Target, waiting: asyncio.Future[Unwound]) -> Fate:
    try:
        unwound = waiting.result()
    except WorkflowFailureError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == UNWIND_REFUSED:
            return Fate(target, State.REFUSED, Unwound.model_validate(cause.details[0]), why=cause.message)
        return Fate(target, State.FAILED, why=str(cause))
    return Fate(target, State.LEFT if unwound.left else State.UNWOUND, unwound)


async def _waits_for(handle: WorkflowHandle[Any, Any]) -> int:
    """How many decisions an unwind waits for that has nothing else to do."""
    found = await handle.describe()
    raw = found.raw_description
    at_work = raw.pending_activities or raw.pending_children or raw.HasField("pending_workflow_task")
    return 0 if at_work else len(await found.memo_value(PARKED_MEMO, []))


# -- which runs --------------------------------------------------------------------------------------------------------


async def target_of(operating: Operating, workflow_id: str, *, run_id: str | None = None) -> Target:
    """A workflow id as a target.

    Args:
        operating: The service.
        workflow_id: Of the run.
        run_id: Only this run's effects, and those of the runs it was continued from or as.
    """
    try:
        found = await operating.client.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return Target(saga=workflow_id, run_id=run_id, task_queue=operating.task_queue)
    return _target(found, run_id=_chain_of(found) if run_id is not None else None)


async def targets(operating: Operating, query: str, *, limit: int) -> AsyncIterator[Target]:
    """The closed runs that a visibility query finds, one target for each workflow id, in the query's order.

    Where it finds one chain of runs of an id, only that chain's effects are meant: other runs of the id may be of
    another build. Visibility may lag behind by seconds.

    Args:
        operating: The service.
        query: Such as ``"WorkflowType = 'Checkout' AND StartTime > '2026-03-01T10:00:00Z'"``.
        limit: At most so many runs are looked at.

    Raises:
        DefinitionError: The server does not take the query.
    """
    found: dict[str, Target] = {}
    try:
        async for run in operating.client.list_workflows(f"({query}) AND ExecutionStatus != 'Running'", limit=limit):
            if run.workflow_type.startswith(OWN_PREFIX):
                continue  # they have no effects of their own
            # A list does not say to which chain a run belongs, its description does.
            described = await operating.client.get_workflow_handle(run.id, run_id=run.run_id).describe()
            target = _target(run, run_id=_chain_of(described))
            known = found.setdefault(run.id, target)
            if known.run_id != target.run_id:
                found[run.id] = _target(run, run_id=None)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise DefinitionError(
            f"query {query!r}",
            rule=f"the server does not take it: {error.message}",
            fix="`temporal workflow list --query` takes the same; leave the status and ORDER BY out",
        ) from error
    for target in found.values():
        yield target


def _target(run: WorkflowExecution, *, run_id: str | None) -> Target:
    open_ = run.status in (None, WorkflowExecutionStatus.RUNNING)
    return Target(
        saga=run.id,
        run_id=run_id,
        workflow_type=run.workflow_type,
        closed_as=None if open_ or run.status is None else run.status.name.lower(),
        closed_at=run.close_time,
        task_queue=run.task_queue,
    )


def _chain_of(run: WorkflowExecution) -> str:
    return run.raw_info.first_run_id or run.run_id


# -- what it would do --------------------------------------------------------------------------------------------------


async def plan(operating: Operating, targets: Sequence[Target]) -> list[Plan]:
    """What the unwinds of some runs would do, asked of the services' own workers: they know all the ledgers.

    Raises:
        DefinitionError: No worker has answered.
        RPCError: The server does not answer.
    """
    plans: dict[str, Plan] = {}
    queues = dict.fromkeys(target.task_queue for target in targets)
    for queue in queues:
        mine = [target for target in targets if target.task_queue == queue]
        for start in range(0, len(mine), PAGE):
            page = mine[start : start + PAGE]
            asks = [EffectsOf(saga=target.saga, run_id=target.run_id, brief=True) for target in page]
            found = await _list(operating.client, asks, task_queue=queue)
            plans |= {target.saga: Plan(target, effects) for target, effects in zip(page, found, strict=True)}
    return [plans[target.saga] for target in targets]


async def _list(client: Client, asks: list[EffectsOf], *, task_queue: str) -> list[Effects]:
    try:
        found: list[Effects] = await client.execute_workflow(
            PLAN_WORKFLOW,
            asks,
            id=f"unwind-plan:{uuid.uuid4()}",
            task_queue=task_queue,
            result_type=list[Effects],
            execution_timeout=PLAN_TIMEOUT,
            static_summary=f"What unwinding {len(asks)} runs would do",
        )
    except WorkflowFailureError as error:
        raise DefinitionError(
            f"unwinding on task queue {task_queue!r}",
            rule=f"its workers did not tell what {len(asks)} runs have left behind: {error.cause}",
            fix="start workers of the version that is to undo it, and see that they reach the ledger",
        ) from error
    return found
