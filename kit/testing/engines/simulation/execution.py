"""One run as the server sees it: its history, what it waits for, and its workflow tasks.

A workflow task takes no time here, so nothing reaches a run while its workflow is at work: what a real server buffers
meanwhile comes before or after the task, as the seed decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Memo, Payload, SearchAttributes, WorkerVersionStamp
from temporalio.api.enums.v1 import EventType, RetryState, TaskQueueKind, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowExecutionCancelRequestedEventAttributes,
    WorkflowExecutionStartedEventAttributes,
    WorkflowExecutionTerminatedEventAttributes,
    WorkflowExecutionTimedOutEventAttributes,
    WorkflowTaskCompletedEventAttributes,
    WorkflowTaskFailedEventAttributes,
    WorkflowTaskScheduledEventAttributes,
    WorkflowTaskStartedEventAttributes,
)
from temporalio.api.sdk.v1 import WorkflowTaskCompletedMetadata
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.service import __version__

from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.answers import Answer
from kit.testing.engines.simulation.bridge import Activation, Job, WorkflowDefinition
from kit.testing.engines.simulation.commands import carry_out
from kit.testing.engines.simulation.history import IDENTITY, Log
from kit.testing.engines.simulation.lines import awaiting
from kit.testing.engines.simulation.replica import Produced, Replica, TaskFailed, UpdateRequest

if TYPE_CHECKING:
    from kit.testing.engines.simulation.server import SimulatedServer

STUCK_AFTER: Final = 3
"""How often in a row a workflow task may fail before the run counts as stuck. A real server tries for ever, and the
workflow, a function of its history, does the same each time."""

CLOSED: Final = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continued as new",
}
"""The types of last events, in words."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that started a child, and how it knows it."""

    execution: Execution
    initiated: int


@dataclass(slots=True)
class Update:
    """An update, from its sending to its outcome."""

    request: UpdateRequest
    accepted_event: int
    done: asyncio.Future[Payload | Failure]
    heard: asyncio.Future[None]


class Execution:
    """One run.

    Args:
        server: Whose run it is.
        run_id: Its id.
        started: What its first event says.
        parent: Who started it, for a child.
        metadata: Its summary and details.
    """

    def __init__(
        self,
        server: SimulatedServer,
        *,
        run_id: str,
        started: WorkflowExecutionStartedEventAttributes,
        parent: Parent | None = None,
        metadata: Any = None,
        delay: timedelta = timedelta(0),
    ) -> None:
        self.server = server
        self.loop = server.loop
        self.run_id = run_id
        self.id = started.workflow_id
        self.type = started.workflow_type.name
        self.parent = parent
        self.log = Log(server.loop)
        self.activities: dict[int, Activity] = {}
        self.timers: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        self.children: dict[int, tuple[Execution, int]] = {}
        """Those at work, with the event of their start, by the event that asked for them."""
        self.starting: dict[int, None] = {}
        """Those asked for and not started yet."""
        self.memo = Memo()
        self.memo.CopyFrom(started.memo)
        self.search_attributes = SearchAttributes()
        self.search_attributes.CopyFrom(started.search_attributes)
        self.updates: dict[str, Update] = {}
        self.stuck: str | None = None
        self.closed: asyncio.Future[HistoryEvent] = server.loop.create_future()
        self.next: Execution | None = None
        self.cancel_requested = False
        self._replica: Replica | None = None
        self.line: str | None = None
        """The line of the workflow's code that awaits something, where the worker can tell."""
        self._asked: bytes | None = None
        """The history with which the workflow was asked last, where nothing but that decides how it stands."""
        self._waiting: list[UpdateRequest] = []
        self._scheduled = 0
        self._afterwards: list[Callable[[], None]] = []
        self._speculative = False
        self._failures = 0
        self._limits = [
            server.loop.call_later(limit.total_seconds(), self.time_out)
            for limit in (started.workflow_run_timeout.ToTimedelta(), started.workflow_execution_timeout.ToTimedelta())
            if limit
        ]
        self.first = self.log.add(started, metadata=metadata)
        self.started = self.first.workflow_execution_started_event_attributes
        if delay:
            self.loop.call_later(delay.total_seconds(), self.schedule_task)
        else:
            self.schedule_task()

    # --- what reaches it --------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return not self.closed.done()

    def write(self, attributes: Any, *, at: Timestamp | None = None) -> HistoryEvent:
        """Write an event."""
        return self.log.add(attributes, at=at)

    def happened(self, attributes: Any) -> HistoryEvent:
        """Write an event that the workflow must hear of."""
        event = self.log.add(attributes)
        self.schedule_task()
        return event

    def afterwards(self, happens: Callable[[], None]) -> None:
        """Let something happen once all commands of the task are carried out; never if one of them closes the run."""
        self._afterwards.append(happens)

    def cancel(self, reason: str = "", *, by: Execution | None = None, initiated: int = 0) -> None:
        """Request its cancellation; a second request is the same as the first."""
        if self.open and not self.cancel_requested:
            self.happened(self._cancel_request(reason, by, initiated))

    def _cancel_request(
        self, reason: str, by: Execution | None = None, initiated: int = 0
    ) -> WorkflowExecutionCancelRequestedEventAttributes:
        self.cancel_requested = True
        request = WorkflowExecutionCancelRequestedEventAttributes(cause=reason, identity=IDENTITY)
        if by is not None:
            request.external_initiated_event_id = initiated
            request.external_workflow_execution.workflow_id = by.id
            request.external_workflow_execution.run_id = by.run_id
        return request

    def cancel_with(self, activity: Activity) -> None:
        """Request its cancellation at the instant at which this activity ends: one workflow task hears of both."""

        def then() -> None:
            if self.open and not self.cancel_requested:
                self.log.add(self._cancel_request(""))

        activity.with_cancel = then

    def terminate(self, reason: str = "") -> None:
        """End it without its knowing."""
        self.close(WorkflowExecutionTerminatedEventAttributes(reason=reason, identity=IDENTITY))

    def time_out(self) -> None:
        """Its time limit has passed."""
        if self.open:
            self.close(WorkflowExecutionTimedOutEventAttributes(retry_state=_NO_RETRY))

    def update(self, request: UpdateRequest) -> Update:
        """Send it an update."""
        if (known := self.updates.get(request.id)) is not None:
            return known
        update = Update(request, 0, self.loop.create_future(), self.loop.create_future())
        self.updates[request.id] = update
        self._waiting.append(request)
        if self._scheduled == 0:
            self._speculative = True
            self._schedule()
        return update

    # --- workflow tasks ---------------------------------------------------------------------------------------------

    def schedule_task(self) -> None:
        """Let the workflow hear of what is new."""
        self._speculative = False
        if self._scheduled == 0 and self.open:
            self._schedule()

    def _schedule(self) -> None:
        event = self.log.add(
            WorkflowTaskScheduledEventAttributes(
                task_queue=TaskQueue(name=self.started.task_queue.name, kind=_NORMAL),
                start_to_close_timeout=self.started.workflow_task_timeout,
                attempt=self._failures + 1,
            )
        )
        self._scheduled = event.event_id
        if self.server.serves(self.started.task_queue.name):
            self.server.turns.soon(self._run_task)

    def _run_task(self) -> None:
        if not self.open or self._scheduled == 0:
            return
        scheduled, self._scheduled = self._scheduled, 0
        updates, self._waiting = self._waiting, []
        started = self.log.add(
            WorkflowTaskStartedEventAttributes(
                scheduled_event_id=scheduled,
                identity=IDENTITY,
                request_id=f"task-{scheduled}",
                history_size_bytes=0,
            )
        ).event_id
        try:
            produced = self._ask(updates)
        except TaskFailed as failed:
            self._task_failed(failed, scheduled, started, updates)
            return
        self._failures, self.stuck = 0, None
        if self._speculative and not produced.commands:
            self.log.drop(2)
            self._worker_copy().forget_task(len(self.log.events))
            self._carry_out(produced, completed=0)
        else:
            self._task_completed(produced, scheduled, started)
        self._speculative = False
        if not self.server.cached:
            self.evict()
        self.server.boundary(self)

    def _ask(self, updates: list[UpdateRequest]) -> Produced:
        """Let the workflow work its task, unless it is known what comes of it."""
        answers = self.server.answers
        if answers is None or updates:
            self._asked = None
            answer = self._answer(updates)
        else:
            self._asked = self.log.digest()
            answer = answers.task((self._definition().cls, self._asked), self._answer)
        self.line = answer.line
        return answer.produced

    def _answer(self, updates: Sequence[UpdateRequest] = ()) -> Answer:
        replica = self._worker_copy()
        produced = replica.task(self.log.events, updates)
        return Answer(produced, awaiting(replica.instance, self._definition().cls))

    def query(self, job: Job) -> Any:
        """Ask the workflow a question; where the worker has forgotten the run, it is replayed for that.

        Returns:
            The bridge's ``respond_to_query``.

        Raises:
            TaskFailed: The worker cannot replay the run.
        """
        at, length = self.log.events[-1].event_time, len(self.log.events)

        def ask() -> Any:
            replica = self._worker_copy()
            replica.catch_up(self.log.events)
            return replica.query(Activation(at=at, length=length, size=0, replaying=True), job)

        if self.server.answers is None or self._asked is None:
            return ask()
        question = job.SerializeToString(deterministic=True)
        key = (self._definition().cls, self._asked, question, at.seconds, at.nanos, length)
        return self.server.answers.query(key, ask)

    def _task_completed(self, produced: Produced, scheduled: int, started: int) -> None:
        first = bool(produced.core_flags)
        completed = self.log.add(
            WorkflowTaskCompletedEventAttributes(
                scheduled_event_id=scheduled,
                started_event_id=started,
                identity=IDENTITY,
                worker_version=WorkerVersionStamp(build_id=IDENTITY),
                sdk_metadata=WorkflowTaskCompletedMetadata(
                    core_used_flags=produced.core_flags,
                    lang_used_flags=produced.flags,
                    sdk_name="temporal-python" if first else "",
                    sdk_version=__version__ if first else "",
                ),
            )
        )
        self._carry_out(produced, completed=completed.event_id)

    def _carry_out(self, produced: Produced, *, completed: int) -> None:
        carry_out(self, produced, completed=completed)
        waiting, self._afterwards = self._afterwards, []
        for happens in waiting if self.open else ():
            happens()

    def _task_failed(self, failed: TaskFailed, scheduled: int, started: int, updates: list[UpdateRequest]) -> None:
        """The task is tried again by a worker that knows nothing; only the first failure is written down."""
        self.evict()
        self._waiting = updates + self._waiting
        self._failures += 1
        if self._failures > 1:
            self.log.drop(2)
        else:
            self.log.add(
                WorkflowTaskFailedEventAttributes(
                    scheduled_event_id=scheduled,
                    started_event_id=started,
                    cause=failed.cause,
                    failure=failed.failure,
                    identity=IDENTITY,
                )
            )
        if self._failures < STUCK_AFTER:
            self._schedule()
            return
        self.stuck = f"its workflow task fails again and again: {failed.failure.message}"
        self.server.boundary(self)

    def _definition(self) -> WorkflowDefinition:
        definition = self.server.worker.definition(self.type)
        if definition is None:
            known = ", ".join(self.server.worker.workflows)
            failure = Failure(message=f"Workflow class {self.type} is not registered on this worker; it has: {known}")
            raise TaskFailed(failure, cause=_UNHANDLED)
        return definition

    def _worker_copy(self) -> Replica:
        """The worker's copy, which may have to read up on what is new."""
        if self._replica is None:
            self._replica = self.server.worker.replica(self._definition(), run_id=self.run_id)
        return self._replica

    def evict(self) -> None:
        """Let the worker forget it."""
        self.line = None
        if self._replica is not None:
            self._replica.evict()
            self._replica = None

    def take_over(self) -> None:
        """Another worker has it from here on, which will read its history when it has to."""
        self._replica = None

    def retry(self) -> None:
        """Another worker may fare better."""
        if self.stuck is not None and self.open:
            self.stuck = None
            self._failures = 1
            self.schedule_task()

    # --- what it waits for ------------------------------------------------------------------------------------------

    @property
    def task_due(self) -> bool:
        """Whether a workflow task is about to start."""
        return self.open and self._scheduled != 0 and self.stuck is None

    @property
    def busy(self) -> bool:
        """Whether a workflow task is due, a child starts, or an activity is at work or will be retried."""
        return self.task_due or (self.open and bool(self.activities or self.starting))

    def dispatch(self, activity: Activity) -> None:
        """Give the next attempt of an activity to a worker, if there is one of its task queue."""
        if self.server.serves(activity.asked.task_queue.name):
            self.server.turns.soon(lambda: self.server.attempt(self, activity))

    def repeats(self, activity: Activity) -> None:
        """There will be another attempt of an activity."""
        self.server.repeats()

    def activity_ended(self, activity: Activity) -> None:
        """Forget the activity, and let the workflow know of its end."""
        self.activities.pop(activity.event.event_id, None)
        self.schedule_task()
        self.server.ended(self, activity)

    def close(self, attributes: Any) -> None:
        """End it."""
        event = self.log.add(attributes)
        for handle in self._limits:
            handle.cancel()
        for _, timer in self.timers.values():
            timer.cancel()
        for activity in self.activities.values():
            activity.abandon()
        self.timers.clear()
        self.activities.clear()
        self._scheduled = 0
        for update in self.updates.values():
            if not update.done.done():
                update.done.set_result(Failure(message=_CLOSED_BEFORE))
        self.closed.set_result(event)
        self.server.closed(self, event)


_CLOSED_BEFORE: Final = "Workflow Update failed because the Workflow completed before the Update completed."
_NORMAL: Final = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
_NO_RETRY: Final = RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET
_UNHANDLED: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE

Hook = Callable[[Execution], None]
"""Called after a workflow task."""
