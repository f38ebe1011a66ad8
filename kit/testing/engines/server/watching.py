"""A run, watched from outside: its history as the server writes it, and whether anything is still to happen in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import Client, WorkflowHandle

_BEGINS: Final = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
    }
)
"""Events after which another one must come by itself."""

_ENDS: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: "scheduled_event_id",
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "scheduled_event_id",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "scheduled_event_id",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: "scheduled_event_id",
    EventType.EVENT_TYPE_TIMER_FIRED: "started_event_id",
    EventType.EVENT_TYPE_TIMER_CANCELED: "started_event_id",
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "initiated_event_id",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: "initiated_event_id",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: "initiated_event_id",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: "initiated_event_id",
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: "initiated_event_id",
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: "initiated_event_id",
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: "initiated_event_id",
}
"""Those other events, and where they name the first one."""

_CLOSES: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    }
)


class Watch:
    """Watches one run, across continue-as-new.

    Args:
        client: Of the run's namespace.
        handle: The started run.
        stirred: Called whenever something has happened.

    Attributes:
        events: What has happened, oldest first; of the latest run of a chain.
        closed: Whether it has ended.
        failing: Why its last workflow task failed; ``None`` when it did not.
        now: The run's own time, as far as it is known.
        following: The task that watches.
        children: The child workflows that it waits for, by the event that asked for each.
    """

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any], stirred: Callable[[], None]) -> None:
        self.handle = handle
        self.events: list[HistoryEvent] = []
        self.closed = False
        self.failing: str | None = None
        self.now = datetime.min.replace(tzinfo=UTC)
        self._client = client
        self._stirred = stirred
        self.children: dict[int, str] = {}
        self._begun: dict[int, HistoryEvent] = {}
        self._task_due = True
        self.following = asyncio.create_task(self._follow())

    @property
    def history(self) -> History:
        """All of it."""
        return History(events=self.events)

    @property
    def quiet(self) -> bool:
        """Whether nothing more happens by itself, as far as the history is known here."""
        return self.closed or not (self._task_due or self._begun)

    async def at_rest(self) -> bool:
        """Whether nothing more happens by itself, by the server's word."""
        if self.closed:
            return True
        if not self.quiet:
            return False
        described = (await self.handle.describe()).raw_description
        behind = described.workflow_execution_info.history_length > len(self.events)
        return not (behind or described.HasField("pending_workflow_task") or described.pending_activities)

    def seen(self, kind: EventType.ValueType, *, after: int = 0) -> int:
        """The id of the first event of a kind after another one; 0 where there is none."""
        return next((event.event_id for event in self.events if event.event_type == kind and event.event_id > after), 0)

    def ended(self, activity_id: str) -> bool:
        """Whether an activity has come to its end."""
        return not any(
            event.activity_task_scheduled_event_attributes.activity_id == activity_id for event in self._begun.values()
        )

    @property
    def run_id(self) -> str:
        """The id of the latest run of the chain."""
        return self.events[0].workflow_execution_started_event_attributes.original_execution_run_id

    def timed_out(self) -> Iterator[tuple[str, int]]:
        """The activities that ended because an attempt took too long: id, and number of the attempt."""
        known = {event.event_id: event for event in self.events}
        for event in self.events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                ended = event.activity_task_timed_out_event_attributes
                scheduled = known[ended.scheduled_event_id].activity_task_scheduled_event_attributes
                started = known.get(ended.started_event_id)  # none when it was over before it began
                if started is not None:
                    yield scheduled.activity_id, started.activity_task_started_event_attributes.attempt

    async def close(self) -> None:
        """Stop watching."""
        self.following.cancel()
        await asyncio.gather(self.following, return_exceptions=True)

    async def _follow(self) -> None:
        while not self.closed:
            next_run = ""
            async for event in self.handle.fetch_history_events(wait_new_event=True):
                self._take(event)
                next_run = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
            if next_run:
                self.handle = self._client.get_workflow_handle(self.handle.id, run_id=next_run)
                self.events, self._begun, self._task_due = [], {}, True

    def _take(self, event: HistoryEvent) -> None:
        self.events.append(event)
        self.now = max(self.now, event.event_time.ToDatetime(tzinfo=UTC))
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            self.children[event.event_id] = _attributes(event).workflow_id
        elif kind in _BEGINS:
            self._begun[event.event_id] = event
        elif kind in _ENDS:
            begun = getattr(_attributes(event), _ENDS[kind])
            self._begun.pop(begun, None)
            self.children.pop(begun, None)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            self._task_due = True
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            self._task_due, self.failing = False, None
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            self._task_due, self.failing = True, _attributes(event).failure.message or "its workflow task fails"
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            self._task_due = True
        elif kind in _CLOSES:
            self.closed = True
        self._stirred()


def _attributes(event: HistoryEvent) -> Any:
    name = event.WhichOneof("attributes")
    return getattr(event, name) if name else None
