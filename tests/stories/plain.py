"""Plain Temporal, without the kit: a bank, and workers that come and go."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from kit.worker import ReliabilityPlugin


class Bank:
    """What a bank did, by its own record; a call can be held up on its way in."""

    def __init__(self) -> None:
        self.book: list[str] = []
        self.called: dict[str, asyncio.Event] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.refused: set[str] = set()

    def hold(self, name: str) -> None:
        """Keep calls of an activity waiting, before they take effect, until `let_go`."""
        self.called[name], self.held[name] = asyncio.Event(), asyncio.Event()

    def let_go(self, name: str) -> None:
        """Let them take effect."""
        self.held[name].set()

    def refuse(self, name: str) -> None:
        """Say no to an activity, for good."""
        self.refused.add(name)

    async def act(self, name: str, text: str) -> None:
        """Do something, as soon as it is let.

        Raises:
            ApplicationError: It is refused.
        """
        if name in self.refused:
            raise ApplicationError(f"{name} is refused", non_retryable=True)
        if name in self.held:
            self.called[name].set()
            await asyncio.shield(self.held[name].wait())
        self.book.append(text)

    @activity.defn
    async def charge(self, order: str) -> None:
        """Take the money."""
        await self.act("charge", f"charged {order}")

    @activity.defn
    async def refund(self, order: str) -> None:
        """Give it back, if it was taken."""
        if f"charged {order}" in self.book:
            await self.act("refund", f"refunded {order}")
        else:
            await self.act("refund", f"nothing to refund for {order}")

    @activity.defn
    async def reserve(self, order: str) -> None:
        """Set the goods aside."""
        await self.act("reserve", f"reserved {order}")

    @activity.defn
    async def release(self, order: str) -> None:
        """Put them back."""
        await self.act("release", f"released {order}")

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker serves."""
        return [self.charge, self.refund, self.reserve, self.release]


class Service:
    """A service on the real server whose workflows and activities are served by workers of their own.

    Args:
        server: The server.
        bank: What its activities work on.
        plugin: Brings the activities of connectors instead of the bank's own.
    """

    def __init__(self, server: WorkflowEnvironment, bank: Bank, *, plugin: ReliabilityPlugin | None = None) -> None:
        config = server.client.config()
        if plugin is not None:
            config["plugins"] = [plugin]
        self.client = Client(**config)
        self.served = bank.activities if plugin is None else []
        self.queue = f"story-{uuid.uuid4().hex[:12]}"

    @asynccontextmanager
    async def activities(self) -> AsyncIterator[None]:
        """A worker for the activities."""
        async with self._worker(activities=self.served):
            yield

    @asynccontextmanager
    async def workflows(self, *workflows: type) -> AsyncIterator[None]:
        """A worker for one version of the workflows. It remembers no run: each task is replayed from the start."""
        async with self._worker(workflows=list(workflows), max_cached_workflows=0, no_remote_activities=True):
            yield

    async def start(self, run: Any, *args: Any) -> WorkflowHandle[Any, Any]:
        """Start a run."""
        return await self.client.start_workflow(run, args=args, id=self.queue, task_queue=self.queue)

    def _worker(self, **options: Any) -> Worker:
        runner = UnsandboxedWorkflowRunner()
        return Worker(self.client, task_queue=self.queue, workflow_runner=runner, build_id="stories", **options)


async def recorded(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType) -> None:
    """Return when the server has recorded an event of this kind."""
    while True:
        history = await handle.fetch_history()
        if any(event.event_type == kind for event in history.events):
            return


def kinds(events: Sequence[Any]) -> list[str]:
    """The events' types, such as ``ACTIVITY_TASK_SCHEDULED``."""
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]
