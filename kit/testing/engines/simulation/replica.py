"""The worker's half: a run as its worker sees it, from the history alone.

A `Replica` turns events into the jobs of activations, in the order and with the words of the SDK's core, and the
workflow's commands into those that the server is given. It holds a live workflow instance and knows how far it
has read. A new replica of an old run reads the history from the start, which is a replay: the workflow's commands must
then be those of the history, else `TaskFailed` is raised, as a real worker does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.update.v1 import Request

from kit.testing.engines.simulation import issued
from kit.testing.engines.simulation.bridge import (
    ABANDON,
    CHILD_ABANDON,
    CHILD_EXISTS,
    CHILD_TRY_CANCEL,
    TRY_CANCEL,
    Activation,
    Host,
    Instance,
    Job,
    WorkflowDefinition,
)
from kit.testing.engines.simulation.failures import (
    activity_failure,
    before_start,
    cancelled_activity,
    child_failure,
    external_not_found,
    nondeterminism,
)
from kit.testing.engines.simulation.issued import COMMANDED, TERMINAL, Issued, key_of, patch_of
from kit.testing.engines.simulation.jobs import initialize
from kit.testing.engines.simulation.refusals import check, refused

_CORE_FLAGS: Final = (1, 2, 3, 4)
"""The behaviours of the SDK's core that a history of this version is written with."""

_SUGGEST_CONTINUE: Final = 4096
"""From how many events on the server suggests to continue as new (its default)."""


class TaskFailed(Exception):
    """A workflow task that failed: not the run, which the server will try again."""

    def __init__(self, failure: Failure, *, cause: WorkflowTaskFailedCause.ValueType) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.cause = cause


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """An update on its way to the workflow."""

    id: str
    request: Request
    after: int
    """The event after which it was sent."""


@dataclass(slots=True)
class Replied:
    """What the workflow said to an update in one task: at most one of the last two."""

    id: str
    accepted: bool = False
    rejected: Failure | None = None
    completed: Payload | None = None


@dataclass(slots=True)
class Produced:
    """What came of a workflow task.

    Attributes:
        commands: For the server.
        replies: To updates, by the message id that a command of the list names.
        core_flags: Marks of the SDK's core that the task is the first to use.
        flags: Those of its Python half.
        versioning: How the workflow wants to be versioned.
    """

    commands: list[Command]
    replies: dict[str, Replied]
    core_flags: Sequence[int]
    flags: Sequence[int]
    versioning: int


@dataclass(slots=True)
class _Remote:
    """An activity or a child workflow that the workflow has asked for."""

    number: int
    asked: Any
    issued: Issued
    event: int = 0
    started: int = 0
    run_id: str = ""
    deaf: bool = False
    """The workflow has had its answer; what comes later is not for it."""
    told_to_cancel: bool = False


@dataclass(slots=True)
class _Task:
    """The workflow task being worked on."""

    activation: Activation
    jobs: list[Job] = field(default_factory=list)


class Replica:
    """A run, as its worker sees it.

    Args:
        host: What the worker has for all its instances.
        definition: The workflow.
        run_id: Which run.
        namespace: Where.
    """

    def __init__(self, host: Host, definition: WorkflowDefinition, *, run_id: str, namespace: str) -> None:
        self._host = host
        self._definition = definition
        self._run_id = run_id
        self._namespace = namespace
        self.instance: Instance | None = None
        self._read = 0
        self._bytes = 0
        self._flags: dict[int, None] = {}
        self._new_flags: dict[int, None] = {}
        self._first = True
        self._jobs: list[Job] = []
        self._expected: deque[Issued] = deque()
        self._replies: dict[str, Replied] = {}
        self._activities: dict[int, _Remote] = {}
        self._children: dict[int, _Remote] = {}
        self._timers: dict[int, Issued] = {}
        self._signals: dict[int, Issued] = {}
        self._patches: list[str] = []
        self._by_event: dict[int, tuple[str, int]] = {}
        self._finished = False
        self._versioning = 0

    # --- reading ----------------------------------------------------------------------------------------------------

    def task(self, events: Sequence[HistoryEvent], updates: Sequence[UpdateRequest] = ()) -> Produced:
        """Read what is new and work the newest workflow task.

        Args:
            events: The whole history; its last event is the start of the task.
            updates: What was sent to the workflow since.

        Raises:
            TaskFailed: The workflow raised what does not fail it, or does something else than its history says.
            UnsupportedScenario: It asks for what is not simulated.
        """
        while (end := _end_of_task(events, self._read)) is not None:
            self._take(events, end, updates)
        flags, self._new_flags = tuple(self._new_flags), {}
        replies, self._replies = self._replies, {}
        core = _CORE_FLAGS if self._first else ()
        self._first = False
        commands = [command.command for command in self._expected]
        return Produced(commands, replies, core, flags, self._versioning)

    def catch_up(self, events: Sequence[HistoryEvent]) -> None:
        """Read what is new where the newest workflow task has been completed already: for queries."""
        while (end := _end_of_task(events, self._read)) is not None:
            self._take(events, end, ())
        for event in events[self._read :]:
            if event.event_type not in COMMANDED and event.event_type != _TASK_COMPLETED:
                break  # the workflow has not heard of it yet
            self._hear(event)
            self._read += 1
        if self._expected:
            self._differs(f"nothing in the history matches {self._expected[0].key}")

    def forget_task(self, to: int) -> None:
        """A task that left no trace never was: the history ends with event ``to`` again."""
        self._read = to

    def query(self, activation: Activation, job: Job) -> Any:
        """Ask the workflow a question; returns the bridge's ``respond_to_query``."""
        if self.instance is None:
            raise TaskFailed(Failure(message="nothing has run yet"), cause=_UNHANDLED)
        answer = self.instance.activate(activation.of(self._run_id, [job]))
        if answer.failure is not None:
            raise TaskFailed(answer.failure, cause=_UNHANDLED)
        return answer.commands[0].respond_to_query

    def evict(self) -> None:
        """Let the instance go."""
        if self.instance is not None:
            self.instance.evict(self._run_id)
            self.instance = None

    def _take(self, events: Sequence[HistoryEvent], end: int, updates: Sequence[UpdateRequest]) -> None:
        """Read up to the start of a workflow task, and let the workflow do it."""
        replaying = end + 1 < len(events)
        ahead = _commanded_next(events, end) if replaying else ()
        start = self._read
        # The answer to the task itself, when it is known, and to those without any effect before it.
        for event in events[start : end + 2]:
            if event.event_type == _TASK_COMPLETED:
                answered = event.workflow_task_completed_event_attributes
                self._flags.update(dict.fromkeys(answered.sdk_metadata.lang_used_flags))
                self._first = False
        for index in range(start, end + 1):
            self._hear(events[index])
            self._bytes += events[index].ByteSize()
        self._read = end + 1
        jobs, self._jobs = self._jobs, []
        self._replies = {}  # what was said in an earlier task is in the history
        for event in ahead:
            if (found := patch_of(event)) is not None:
                jobs.append(_patch_job(found[0]))
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                accepted = event.workflow_execution_update_accepted_event_attributes
                jobs.append(_update_job(accepted.accepted_request, validate=False))
        if not replaying:
            jobs += [_update_job(update.request, validate=True) for update in updates]
        if self._expected:
            self._differs(f"nothing in the history matches {self._expected[0].key}")
        activation = Activation(
            at=events[end].event_time,
            length=end + 1,
            size=self._bytes,
            replaying=replaying,
            flags=tuple(self._flags),
            suggest_continue=end + 1 >= _SUGGEST_CONTINUE,
        )
        self._work(_Task(activation, jobs))

    def _work(self, task: _Task) -> None:
        """Tell the workflow, and hear it out: some of what it asks for is answered at once."""
        while True:
            message = task.activation.of(self._run_id, task.jobs)
            if self.instance is None:
                self.instance = self._host.instance(self._definition, message)
            answer = self.instance.activate(message)
            if answer.failure is not None:
                raise TaskFailed(answer.failure, cause=_UNHANDLED)
            self._versioning = answer.versioning or self._versioning
            fresh = dict.fromkeys(flag for flag in answer.flags if flag not in self._flags)
            self._flags.update(fresh)
            if not task.activation.replaying:
                self._new_flags.update(fresh)
            task.jobs = []
            self._issue(answer.commands, task)
            self._expected = deque(command for command in self._expected if not command.dropped)
            if not task.jobs or self._finished:
                return

    # --- commands ---------------------------------------------------------------------------------------------------

    def _issue(self, commands: Iterable[Any], task: _Task) -> None:
        """Take the commands in order, what ends the run last."""
        ends = None
        for given in commands:
            variant = given.WhichOneof("variant")
            check(variant, given)
            if variant in TERMINAL:
                ends = ends or given
            elif (handle := _HANDLERS.get(variant)) is not None:
                handle(self, given, task)
            else:
                raise refused(f"the workflow's command {variant!r}")
        if ends is not None and not self._finished:
            self._finished = True
            self._expected.append(TERMINAL[ends.WhichOneof("variant")](ends))

    def _schedule_activity(self, given: Any, task: _Task) -> None:
        made = issued.activity(given)
        self._activities[made.number] = _Remote(made.number, given.schedule_activity, made)
        self._expected.append(made)

    def _cancel_activity(self, given: Any, task: _Task) -> None:
        remote = self._activities.get(given.request_cancel_activity.seq)
        if remote is None or remote.deaf:
            return
        if remote.event == 0:
            remote.issued.dropped = True
        elif remote.asked.cancellation_type != ABANDON and not remote.told_to_cancel:
            remote.told_to_cancel = True
            self._expected.append(issued.cancel_activity(remote.event))
        if remote.event == 0 or remote.asked.cancellation_type in (ABANDON, TRY_CANCEL):
            remote.deaf = True
            job = Job()
            job.resolve_activity.seq = remote.number
            job.resolve_activity.result.cancelled.failure.CopyFrom(cancelled_activity(remote))
            task.jobs.append(job)

    def _start_timer(self, given: Any, task: _Task) -> None:
        made = issued.timer(given)
        self._timers[made.number] = made
        self._expected.append(made)

    def _cancel_timer(self, given: Any, task: _Task) -> None:
        number = given.cancel_timer.seq
        made = self._timers.pop(number, None)
        if made is None:
            return
        if any(made is command for command in self._expected):
            made.dropped = True
        else:
            self._expected.append(issued.cancel_timer(number))

    def _start_child(self, given: Any, task: _Task) -> None:
        made = issued.child(given)
        self._children[made.number] = _Remote(made.number, given.start_child_workflow_execution, made)
        self._expected.append(made)

    def _cancel_child(self, given: Any, task: _Task) -> None:
        asked = given.cancel_child_workflow_execution
        remote = self._children.get(asked.child_workflow_seq)
        if remote is None or remote.deaf:
            return
        job = Job()
        if remote.event == 0:
            remote.deaf = remote.issued.dropped = True
            start = job.resolve_child_workflow_execution_start
            start.seq = remote.number
            start.cancelled.failure.CopyFrom(before_start(remote, asked.reason, self._namespace))
            task.jobs.append(job)
            return
        kind = remote.asked.cancellation_type
        if kind != CHILD_ABANDON and not remote.told_to_cancel:
            remote.told_to_cancel = True
            workflow_id = remote.asked.workflow_id
            self._expected.append(
                issued.cancel_external(
                    workflow_id, remote.run_id, namespace=self._namespace, reason=asked.reason, child=True
                )
            )
        if kind in (CHILD_ABANDON, CHILD_TRY_CANCEL):
            remote.deaf = True
            job.resolve_child_workflow_execution.seq = remote.number
            job.resolve_child_workflow_execution.result.cancelled.failure.CopyFrom(
                child_failure(remote, "cancelled", namespace=self._namespace)
            )
            task.jobs.append(job)

    def _signal(self, given: Any, task: _Task) -> None:
        made = issued.signal_external(given, namespace=self._namespace)
        self._signals[made.number] = made
        self._expected.append(made)

    def _cancel_signal(self, given: Any, task: _Task) -> None:
        number = given.cancel_signal_workflow.seq
        made = self._signals.get(number)
        if made is not None and any(made is command for command in self._expected):
            made.dropped = True
            job = Job()
            job.resolve_signal_external_workflow.seq = number
            job.resolve_signal_external_workflow.failure.message = "Signal was cancelled before being sent"
            job.resolve_signal_external_workflow.failure.canceled_failure_info.SetInParent()
            task.jobs.append(job)

    def _cancel_other(self, given: Any, task: _Task) -> None:
        asked = given.request_cancel_external_workflow_execution
        target = asked.workflow_execution
        self._expected.append(
            issued.cancel_external(
                target.workflow_id,
                target.run_id,
                namespace=target.namespace or self._namespace,
                reason=asked.reason,
                child=False,
                number=asked.seq,
            )
        )

    def _patch(self, given: Any, task: _Task) -> None:
        asked = given.set_patch_marker
        self._expected.append(issued.patch(asked.patch_id, deprecated=asked.deprecated))
        if asked.patch_id not in self._patches:
            self._patches.append(asked.patch_id)
            self._expected.append(issued.patches_in_use(self._patches))

    def _upsert(self, given: Any, task: _Task) -> None:
        self._expected.append(issued.search_attributes(given))

    def _memo(self, given: Any, task: _Task) -> None:
        self._expected.append(issued.memo(given))

    def _reply(self, given: Any, task: _Task) -> None:
        """An update's acceptance and its outcome are two messages; a rejection is known by its event's absence."""
        asked = given.update_response
        update_id = asked.protocol_instance_id
        if asked.HasField("accepted"):
            key = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, update_id)
            self._message(f"{update_id}/accept", key, Replied(update_id, accepted=True))
            self._accepted.add(update_id)
            return
        key = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED, update_id)
        if asked.HasField("completed"):
            self._message(f"{update_id}/complete", key, Replied(update_id, completed=asked.completed))
        elif update_id in self._accepted:
            self._message(f"{update_id}/complete", key, Replied(update_id, rejected=asked.rejected))
        else:
            self._replies[f"{update_id}/reject"] = Replied(update_id, rejected=asked.rejected)

    def _message(self, message_id: str, key: issued.Key, reply: Replied) -> None:
        self._replies[message_id] = reply
        self._expected.append(issued.message(message_id, key))

    @property
    def _accepted(self) -> set[str]:
        return self.__dict__.setdefault("_accepted_updates", set())  # type: ignore[no-any-return]

    # --- events -----------------------------------------------------------------------------------------------------

    def _hear(self, event: HistoryEvent) -> None:
        if event.event_type in COMMANDED:
            self._match(event)
        elif (hear := _HEARD.get(event.event_type)) is not None:
            hear(self, event)
        elif event.event_type not in _SILENT:
            raise refused(f"the event {EventType.Name(event.event_type)}")

    def _match(self, event: HistoryEvent) -> None:
        """Find the command of which an event came."""
        told = patch_of(event)
        key = key_of(event)
        while True:
            head = self._expected[0] if self._expected else None
            is_patch = head is not None and head.key[0] == EventType.EVENT_TYPE_MARKER_RECORDED
            if told is not None and told[1] and (head is None or head.key != key):
                self._skipped_upsert = True
                return  # a deprecated patch needs no call in the code any more
            if told is None and is_patch and key[0] != EventType.EVENT_TYPE_MARKER_RECORDED:
                self._drop_patch()
                continue
            break
        if told is None and self._skipped_upsert and _is_change_version(event):
            self._skipped_upsert = False
            return
        self._skipped_upsert = False
        if head is None:
            self._differs(f"event {event.event_id} says {key}, and the workflow asked for nothing more")
        elif head.key != key:
            self._differs(f"event {event.event_id} says {key}, and the workflow asked for {head.key}")
        else:
            self._expected.popleft()
            self._link(head, event.event_id)

    _skipped_upsert = False

    def _drop_patch(self) -> None:
        """A patch call that the history knows nothing of, and that must not matter to it."""
        self._expected.popleft()
        if self._expected and self._expected[0].key == (EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,):
            self._expected.popleft()

    def _link(self, made: Issued, event_id: int) -> None:
        if made.kind == "activity":
            self._activities[made.number].event = event_id
        elif made.kind == "child":
            self._children[made.number].event = event_id
        if made.kind:
            self._by_event[event_id] = (made.kind, made.number)

    def _differs(self, why: str) -> None:
        cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR
        raise TaskFailed(nondeterminism(why), cause=cause)

    def _started(self, event: HistoryEvent) -> None:
        self._jobs.append(initialize(event))

    def _activity_started(self, event: HistoryEvent) -> None:
        attributes = event.activity_task_started_event_attributes
        if (remote := self._activity(attributes.scheduled_event_id)) is not None:
            remote.started = event.event_id

    def _activity(self, scheduled_event_id: int) -> _Remote | None:
        kind, number = self._by_event.get(scheduled_event_id, ("", 0))
        return self._activities.get(number) if kind == "activity" else None

    def _activity_ended(self, event: HistoryEvent) -> None:
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        remote = self._activity(attributes.scheduled_event_id)
        if remote is None:
            self._differs(f"event {event.event_id} is of an activity that was never scheduled")
            return
        self._activities.pop(remote.number)
        if remote.deaf:
            return
        job = Job()
        job.resolve_activity.seq = remote.number
        result = job.resolve_activity.result
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            result.completed.SetInParent()
            if attributes.result.payloads:
                result.completed.result.CopyFrom(attributes.result.payloads[0])
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            result.cancelled.failure.CopyFrom(cancelled_activity(remote, attributes.details))
        else:
            timed_out = event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT
            message = "Activity task timed out" if timed_out else "Activity task failed"
            result.failed.failure.CopyFrom(
                activity_failure(remote, message, cause=attributes.failure, retry_state=attributes.retry_state)
            )
        self._jobs.append(job)

    def _timer_fired(self, event: HistoryEvent) -> None:
        number = int(event.timer_fired_event_attributes.timer_id)
        if self._timers.pop(number, None) is not None:
            job = Job()
            job.fire_timer.seq = number
            self._jobs.append(job)

    def _child(self, initiated_event_id: int) -> _Remote | None:
        kind, number = self._by_event.get(initiated_event_id, ("", 0))
        return self._children.get(number) if kind == "child" else None

    def _child_started(self, event: HistoryEvent) -> None:
        attributes = event.child_workflow_execution_started_event_attributes
        remote = self._child(attributes.initiated_event_id)
        if remote is None:
            return
        remote.started = event.event_id
        remote.run_id = attributes.workflow_execution.run_id
        if not remote.deaf:
            job = Job()
            job.resolve_child_workflow_execution_start.seq = remote.number
            job.resolve_child_workflow_execution_start.succeeded.run_id = remote.run_id
            self._jobs.append(job)

    def _child_not_started(self, event: HistoryEvent) -> None:
        attributes = event.start_child_workflow_execution_failed_event_attributes
        remote = self._child(attributes.initiated_event_id)
        if remote is None or remote.deaf:
            return
        self._children.pop(remote.number)
        job = Job()
        start = job.resolve_child_workflow_execution_start
        start.seq = remote.number
        start.failed.workflow_id = attributes.workflow_id
        start.failed.workflow_type = attributes.workflow_type.name
        start.failed.cause = CHILD_EXISTS
        self._jobs.append(job)

    def _child_ended(self, event: HistoryEvent) -> None:
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        remote = self._child(attributes.initiated_event_id)
        if remote is None:
            return
        self._children.pop(remote.number)
        if remote.deaf:
            return
        job = Job()
        job.resolve_child_workflow_execution.seq = remote.number
        result = job.resolve_child_workflow_execution.result
        how = _CHILD_ENDS[event.event_type]
        if how == "completed":
            result.completed.SetInParent()
            if attributes.result.payloads:
                result.completed.result.CopyFrom(attributes.result.payloads[0])
        elif how == "cancelled":
            result.cancelled.failure.CopyFrom(child_failure(remote, how, namespace=self._namespace))
        else:
            cause = attributes.failure if how == "failed" else None
            retry_state = getattr(attributes, "retry_state", None)
            result.failed.failure.CopyFrom(
                child_failure(remote, how, namespace=self._namespace, cause=cause, retry_state=retry_state)
            )
        self._jobs.append(job)

    def _external(self, event: HistoryEvent) -> None:
        """Another workflow has been told, or is not there."""
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        kind, number = self._by_event.get(attributes.initiated_event_id, ("", 0))
        job = Job()
        if kind == "signal":
            answer: Any = job.resolve_signal_external_workflow
        elif kind == "cancel":
            answer = job.resolve_request_cancel_external_workflow
        else:
            return
        answer.seq = number
        if event.event_type in _NOT_THERE:
            answer.failure.CopyFrom(external_not_found(kind))
        self._jobs.append(job)

    def _signaled(self, event: HistoryEvent) -> None:
        attributes = event.workflow_execution_signaled_event_attributes
        job = Job()
        job.signal_workflow.signal_name = attributes.signal_name
        job.signal_workflow.input.extend(attributes.input.payloads)
        job.signal_workflow.identity = attributes.identity
        job.signal_workflow.originating_event_id = event.event_id
        for name, payload in attributes.header.fields.items():
            job.signal_workflow.headers[name].CopyFrom(payload)
        self._jobs.append(job)

    def _cancel_requested(self, event: HistoryEvent) -> None:
        job = Job()
        job.cancel_workflow.reason = event.workflow_execution_cancel_requested_event_attributes.cause
        self._jobs.append(job)


_TASK_COMPLETED: Final = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_UNHANDLED: Final = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE

_HANDLERS: Final[dict[str, Callable[[Replica, Any, _Task], None]]] = {
    "schedule_activity": Replica._schedule_activity,
    "request_cancel_activity": Replica._cancel_activity,
    "start_timer": Replica._start_timer,
    "cancel_timer": Replica._cancel_timer,
    "start_child_workflow_execution": Replica._start_child,
    "cancel_child_workflow_execution": Replica._cancel_child,
    "signal_external_workflow_execution": Replica._signal,
    "cancel_signal_workflow": Replica._cancel_signal,
    "request_cancel_external_workflow_execution": Replica._cancel_other,
    "set_patch_marker": Replica._patch,
    "upsert_workflow_search_attributes": Replica._upsert,
    "modify_workflow_properties": Replica._memo,
    "update_response": Replica._reply,
}

_HEARD: Final[dict[int, Callable[[Replica, HistoryEvent], None]]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: Replica._started,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: Replica._activity_started,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: Replica._activity_ended,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: Replica._activity_ended,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: Replica._activity_ended,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED: Replica._activity_ended,
    EventType.EVENT_TYPE_TIMER_FIRED: Replica._timer_fired,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: Replica._child_started,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: Replica._child_not_started,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: Replica._child_ended,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: Replica._child_ended,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: Replica._child_ended,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: Replica._child_ended,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: Replica._child_ended,
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: Replica._external,
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: Replica._external,
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: Replica._external,
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: Replica._external,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: Replica._signaled,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: Replica._cancel_requested,
}

_SILENT: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
    }
)

_CHILD_ENDS: Final = {
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: "timed out",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: "terminated",
}

_NOT_THERE: Final = frozenset(
    {
        EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED,
    }
)


def _end_of_task(events: Sequence[HistoryEvent], start: int) -> int | None:
    """The place of the next start of a workflow task that came to something, or is the newest event."""
    commanded = False
    last = len(events) - 1
    for index in range(start, len(events)):
        kind = events[index].event_type
        commanded = commanded or kind in COMMANDED
        if kind != EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            continue
        if index == last:
            return index
        if events[index + 1].event_type != EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            continue
        # A task without any effect, directly followed by another one, is read together with it, as the SDK does.
        empty = not commanded and index + 2 <= last
        if empty and events[index + 2].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            continue
        return index
    return None


def _commanded_next(events: Sequence[HistoryEvent], start: int) -> list[HistoryEvent]:
    """The events that came of the commands of the workflow task whose start is at this place."""
    found = []
    for index in range(start + 1, len(events)):
        if events[index].event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            break
        if events[index].event_type in COMMANDED:
            found.append(events[index])
    return found


def _is_change_version(event: HistoryEvent) -> bool:
    fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    return issued.CHANGE_VERSION in fields


def _patch_job(patch_id: str) -> Job:
    job = Job()
    job.notify_has_patch.patch_id = patch_id
    return job


def _update_job(request: Request, *, validate: bool) -> Job:
    job = Job()
    update = job.do_update
    update.id = update.protocol_instance_id = request.meta.update_id
    update.name = request.input.name
    update.input.extend(request.input.args.payloads)
    for name, payload in request.input.header.fields.items():
        update.headers[name].CopyFrom(payload)
    update.meta.CopyFrom(request.meta)
    update.run_validator = validate
    return job
