"""One scene: a world, a worker, and runs whose end is read from the server's record."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor, Worker

from kit import Choice, Decision, RunSummary
from kit.ledger.states import State
from kit.workflow import DECIDE_UPDATE, TASKS_QUERY, Task
from tests.harness import History, Running, running
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import World

Run = WorkflowHandle[Any, Any]


@dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes:
        history: The server's record, which has been replayed.
        rows: What the ledger says of its effects.
        result: What it returned, if it did.
        error: What closed it, if something did.
    """

    history: History
    rows: dict[str, State]
    result: Any = None
    error: BaseException | None = None

    @property
    def closed_as(self) -> str:
        """``COMPLETED``, ``FAILED``, ``CANCELED``."""
        return self.history.closed_as.removeprefix("WORKFLOW_EXECUTION_")

    @property
    def activities(self) -> list[str]:
        """What it scheduled, in order."""
        return self.history.activities

    @property
    def type(self) -> str | None:
        """The type of the application error that closed it."""
        return self.error.type if isinstance(self.error, ApplicationError) else None

    @property
    def summary(self) -> RunSummary:
        """The summary that a failed run carries."""
        assert isinstance(self.error, ApplicationError)
        return RunSummary.model_validate(self.error.details[0])


def _scheduled(event: HistoryEvent) -> int:
    """The id of the event that scheduled the activity of this one; 0 when it is about no activity."""
    name = event.WhichOneof("attributes") or ""
    return getattr(getattr(event, name, None), "scheduled_event_id", 0)


@dataclass
class Scene:
    """A worker at work in a world."""

    world: World
    worker: Running

    async def start(self, *lines: str, workflow_id: str | None = None, **options: Any) -> Run:
        """Start a `Travel` with these lines, about the trip ``"1"``."""
        return await self.worker.start(Travel.run, Plan(id="1", lines=lines), id=workflow_id, **options)

    async def end(self, run: Run) -> End:
        """Wait for a run to close, and read and replay its record."""
        result, error = None, None
        try:
            result = await asyncio.wait_for(run.result(), 60)
        except WorkflowFailureError as failure:
            error = failure.cause
        return End(await self.worker.history(run), await self.world.rows(run.id), result, error)

    async def run(self, *lines: str, **options: Any) -> End:
        """Start a `Travel` and wait for its end."""
        return await self.end(await self.start(*lines, **options))

    async def until(self, run: Run, activity: str | None = None, *, event: str = "ACTIVITY_TASK_COMPLETED") -> None:
        """Wait until the server has recorded an event, of one activity if it is named."""
        seen: dict[int, str] = {}
        async with asyncio.timeout(10):
            async for each in run.fetch_history_events(wait_new_event=True):
                kind = EventType.Name(each.event_type).removeprefix("EVENT_TYPE_")
                if kind == "ACTIVITY_TASK_SCHEDULED":
                    seen[each.event_id] = each.activity_task_scheduled_event_attributes.activity_type.name
                if kind == event and (activity is None or activity == seen.get(_scheduled(each))):
                    return
        raise AssertionError(f"{run.id} closed without {event} of {activity}")

    async def attempted(self, run: Run, activity: str, *, times: int = 1) -> None:
        """Wait until an activity has failed this often and waits for its next attempt."""
        for _ in range(400):
            description = await run.describe()
            for pending in description.raw_description.pending_activities:
                waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
                if pending.activity_type.name == activity and waits and pending.attempt > times:
                    return
            await asyncio.sleep(0.02)  # the server tells nobody of an attempt that failed
        raise AssertionError(f"{run.id} has no {activity} waiting for attempt {times + 1}")

    async def stop(self) -> None:
        """Stop this scene's worker: its workflow tasks wait for another one."""
        await self.worker.worker.shutdown()

    async def task(self, run: Run, *, number: int = 1) -> Task:
        """The ``number``-th task of a run, once it has been put: the run is parked then."""
        for _ in range(400):
            tasks: list[Task] = await run.query(TASKS_QUERY, result_type=list[Task])
            if len(tasks) >= number:
                return tasks[number - 1]
            await asyncio.sleep(0.02)  # a workflow tells nobody that it has parked; a query must ask again
        raise AssertionError(f"{run.id} put no task {number}")

    async def decide(
        self,
        run: Run,
        choice: Choice,
        *,
        number: int = 1,
        result: Any = None,
        edits: dict[str, Any] | None = None,
    ) -> Task:
        """Answer the ``number``-th task of a run, once it has been put, having seen what it asks."""
        task = await self.task(run, number=number)
        decision = Decision(
            task_id=task.id, choice=choice, who="ada", why="I looked", result=result, edits=edits, digest=task.digest
        )
        decided: Task = await run.execute_update(DECIDE_UPDATE, decision, result_type=Task)
        return decided


@asynccontextmanager
async def scene(
    server: WorkflowEnvironment,
    world: World,
    *,
    cached: bool = True,
    workflows: Sequence[type] = (Travel,),
    interceptors: Sequence[Interceptor] = (),
    **options: Any,
) -> AsyncIterator[Scene]:
    """A worker for this world, on a queue of its own."""
    async with running(server, world.plugin, workflows, cached=cached, interceptors=interceptors, **options) as worker:
        yield Scene(world, worker)


def new_id() -> str:
    """A workflow id that nobody has used."""
    return f"test-{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def activities_only(server: WorkflowEnvironment, world: World, task_queue: str) -> AsyncIterator[None]:
    """A worker that carries activities out and runs no workflow: workflow tasks wait meanwhile."""
    config = server.client.config()
    config["plugins"] = [world.new_plugin()]
    async with Worker(Client(**config), task_queue=task_queue, build_id="activities"):
        yield
