"""A run of the checkout: while it is open, and as the server recorded it when it has closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError, WorkflowHandle

from kit.workflow import DECIDE_UPDATE, Choice, Decision, RunSummary, Task
from tests.harness import History, Running
from workflows.checkout import Checkout, OrderPlaced

PATIENT: Final = 15.0
"""Seconds after which a run that does not close is a failed test instead of a hanging one."""


@dataclass(frozen=True)
class Story:
    """A run that has closed, as the server recorded it."""

    workflow_id: str
    history: History
    placed: OrderPlaced | None
    error: BaseException | None
    summary: RunSummary
    """What the run itself says of how it ended."""

    @property
    def activities(self) -> list[str]:
        """What it scheduled, in order."""
        return self.history.activities

    @property
    def attempts(self) -> dict[str, int]:
        """How many attempts each activity took that took more than one."""
        scheduled: dict[int, str] = {}
        found: dict[str, int] = {}
        for told in self.history.raw.events:
            if told.HasField("activity_task_scheduled_event_attributes"):
                scheduled[told.event_id] = told.activity_task_scheduled_event_attributes.activity_type.name
            if told.HasField("activity_task_started_event_attributes"):
                started = told.activity_task_started_event_attributes
                if started.attempt > 1:
                    found[scheduled[started.scheduled_event_id]] = started.attempt
        return found

    def took(self, activity: str) -> timedelta:
        """How long after it was scheduled the last attempt of an activity began, on the run's own clock."""
        events = self.history.raw.events
        for told in events:
            started = told.activity_task_started_event_attributes
            if told.HasField("activity_task_started_event_attributes"):
                scheduled = events[started.scheduled_event_id - 1]
                if scheduled.activity_task_scheduled_event_attributes.activity_type.name == activity:
                    return told.event_time.ToDatetime() - scheduled.event_time.ToDatetime()
        raise AssertionError(f"{activity} was never started")

    @property
    def closed_as(self) -> str:
        """``COMPLETED``, ``FAILED`` or ``CANCELED``."""
        return self.history.closed_as.removeprefix("WORKFLOW_EXECUTION_")


@dataclass(frozen=True)
class Run:
    """A run that is open."""

    worker: Running
    handle: WorkflowHandle[Checkout, OrderPlaced]

    async def story(self, *, patience: float = PATIENT) -> Story:
        """Wait for its end."""
        placed, error = None, None
        try:
            async with asyncio.timeout(patience):
                placed = await self.handle.result()
        except WorkflowFailureError as failure:
            error = failure.cause
        summary = await self.handle.query(Checkout.kit_summary)
        history = await self.worker.history(self.handle)
        return Story(self.handle.id, history, placed, error, summary)

    async def until(self, happened: Callable[[HistoryEvent], bool]) -> None:
        """Wait for an event of its history."""
        async with asyncio.timeout(PATIENT):
            async for told in self.handle.fetch_history_events(wait_new_event=True):
                if happened(told):
                    return
        raise AssertionError("the run closed before that")

    async def parked(self) -> Task:
        """Wait until it asks a person."""
        await self.until(lambda told: told.HasField("workflow_properties_modified_event_attributes"))
        tasks = await self.handle.query(Checkout.kit_tasks)
        (task,) = [task for task in tasks if task.open]
        return task

    async def decide(self, task: Task, choice: Choice, result: Mapping[str, Any] | None = None) -> None:
        """Answer as a person would."""
        decision = Decision(task_id=task.id, choice=choice, who="ann", why="I looked", result=result)
        await self.handle.execute_update(DECIDE_UPDATE, decision, result_type=Task)
