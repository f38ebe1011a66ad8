"""Runs workflows on the real time-skipping server and reads what happened from their histories."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartActivityInput,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import ActivityHandle

from kit.worker import ReliabilityPlugin

SANDBOX: Final = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("tests", "workflows", "activities")
)
"""The sandbox is on, as in production; but workflows are not made anew for every run (without the cache: for every
task), which took as long as everything else. The workers that the demo starts make them anew."""


@dataclass
class Running:
    """A worker at work, and a client to start workflows with."""

    client: Client
    task_queue: str
    plugin: ReliabilityPlugin
    workflows: Sequence[type]
    worker: Worker
    cached: bool
    ids: list[str] = field(default_factory=list)

    async def start(self, run: Any, request: Any, *, id: str | None = None, **options: Any) -> WorkflowHandle[Any, Any]:
        """Start a workflow on this worker's queue."""
        return await self.client.start_workflow(
            run, request, id=id or f"test-{uuid.uuid4().hex[:12]}", task_queue=self.task_queue, **options
        )

    async def history(self, handle: WorkflowHandle[Any, Any]) -> History:
        """The history of a run, after replaying it from the start: every run of every test must be deterministic.

        A worker without a cache has replayed it already, at every task.
        """
        found = await handle.fetch_history()
        if self.cached:
            replayer = Replayer(
                workflows=list(self.workflows), plugins=[self.plugin], build_id="tests", workflow_runner=SANDBOX
            )
            await replayer.replay_workflow(found)
        return History(found)


@dataclass(frozen=True)
class History:
    """What a run scheduled, read from the server's own record."""

    raw: WorkflowHistory

    @property
    def activities(self) -> list[str]:
        """The types of the activities it scheduled, in order."""
        return [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in self.raw.events
            if event.HasField("activity_task_scheduled_event_attributes")
        ]

    @property
    def kinds(self) -> list[str]:
        """The types of all its events, in order, such as ``ACTIVITY_TASK_SCHEDULED``."""
        from temporalio.api.enums.v1 import EventType

        return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in self.raw.events]

    @property
    def summaries(self) -> list[str]:
        """The summaries of the activities it scheduled, in order."""
        return [
            json.loads(event.user_metadata.summary.data)
            for event in self.raw.events
            if event.HasField("activity_task_scheduled_event_attributes")
        ]

    def after(self, activity: str) -> int:
        """The place of the first workflow task that knows of an activity's end, among all its events."""
        scheduled = {
            event.event_id
            for event in self.raw.events
            if event.HasField("activity_task_scheduled_event_attributes")
            and event.activity_task_scheduled_event_attributes.activity_type.name == activity
        }
        ended = next(
            place
            for place, event in enumerate(self.raw.events)
            if event.HasField("activity_task_completed_event_attributes")
            and event.activity_task_completed_event_attributes.scheduled_event_id in scheduled
        )
        return self.kinds.index("WORKFLOW_TASK_STARTED", ended)

    @property
    def timers(self) -> int:
        """How many timers it started."""
        return sum(event.HasField("timer_started_event_attributes") for event in self.raw.events)

    @property
    def closed_as(self) -> str:
        """The type of its last event, such as ``WORKFLOW_EXECUTION_COMPLETED``."""
        return self.kinds[-1]


@asynccontextmanager
async def running(
    env: WorkflowEnvironment,
    plugin: ReliabilityPlugin,
    workflows: Sequence[type],
    *,
    cached: bool = True,
    interceptors: Sequence[Interceptor] = (),
    task_queue: str | None = None,
    **options: Any,
) -> AsyncIterator[Running]:
    """A worker, by default with a task queue of its own.

    ``cached=False`` replays each run from the start at every task.
    """
    config = env.client.config()
    config["plugins"] = [plugin]
    client = Client(**config)
    queue = task_queue or f"queue-{uuid.uuid4().hex[:12]}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=list(workflows),
        max_cached_workflows=1000 if cached else 0,
        interceptors=list(interceptors),
        # Else the SDK hashes the code of every loaded module for one: seconds, once per process.
        **{"build_id": "tests", "workflow_runner": SANDBOX, **options},
    )
    async with worker:
        yield Running(client, queue, plugin, workflows, worker, cached)


class ShortAttempts(Interceptor):
    """Shrinks start-to-close timeouts, for attempts that really hang: those are never skipped.

    Args:
        timeout: The new one.
        only: The activity it is for; ``None`` for every one.
    """

    def __init__(self, timeout: timedelta, *, only: str | None = None) -> None:
        self.timeout = timeout
        self.only = only

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        timeout, only = self.timeout, self.only

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
                if only in (None, input.activity):
                    input.start_to_close_timeout = timeout
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound
