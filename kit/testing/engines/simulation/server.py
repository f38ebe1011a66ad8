"""The simulated server: runs by id, what passes between them, and a handle for whoever started one."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import ParentClosePolicy, TaskQueueKind
from temporalio.api.history.v1 import (
    ChildWorkflowExecutionCanceledEventAttributes,
    ChildWorkflowExecutionCompletedEventAttributes,
    ChildWorkflowExecutionFailedEventAttributes,
    ChildWorkflowExecutionStartedEventAttributes,
    ChildWorkflowExecutionTerminatedEventAttributes,
    ChildWorkflowExecutionTimedOutEventAttributes,
    ExternalWorkflowExecutionCancelRequestedEventAttributes,
    ExternalWorkflowExecutionSignaledEventAttributes,
    HistoryEvent,
    RequestCancelExternalWorkflowExecutionFailedEventAttributes,
    SignalExternalWorkflowExecutionFailedEventAttributes,
    StartChildWorkflowExecutionFailedEventAttributes,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.worker import Interceptor, WorkflowRunner

from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.answers import Answers
from kit.testing.engines.simulation.bridge import workflow_type
from kit.testing.engines.simulation.client import SimulatedClient
from kit.testing.engines.simulation.clock import Turns, VirtualLoop
from kit.testing.engines.simulation.execution import CLOSED, Execution, Parent
from kit.testing.engines.simulation.handle import SimulatedHandle
from kit.testing.engines.simulation.history import IDENTITY
from kit.testing.engines.simulation.worker import SimulatedWorker

Boundary = Callable[[SimulatedHandle], None]
"""Called after each workflow task: the instants at which a worker may be lost without the workflow's noticing."""

TASK_TIMEOUT: Final = timedelta(seconds=10)
"""The default time limit of a workflow task, which the simulation never needs."""


class SimulatedServer:
    """A Temporal server with one worker, in virtual time. Made on a `VirtualLoop` (`run_virtually`).

    Modelled are activities (retries, the four time limits, heartbeats, cancellation), timers, signals, updates,
    queries, child workflows, continue-as-new, memo, search attributes, patches, run time limits, cancellation,
    termination, and failing workflow tasks. What is not (local activities, Nexus, schedules, workflow retries, cron,
    resets) raises `UnsupportedScenario` where it is asked for. A workflow task takes no time, and neither does the
    server.

    Args:
        workflows: The worker's.
        activities: The worker's; async functions, or others that do not block.
        data_converter: Without a codec.
        interceptors: The worker's, outermost first.
        workflow_failure_exception_types: Exceptions that fail a workflow rather than its task.
        seed: Decides who is first at one instant; 0 for the order in which things became ready.
        cached: Whether the worker keeps workflows; else each task replays its run from the start.
        on_boundary: Called after each workflow task.
        workflow_runner: The SDK's sandbox; none unless given.
        answers: What workflow code is known to answer.
    """

    def __init__(
        self,
        *,
        workflows: Sequence[type],
        activities: Sequence[Callable[..., Any]] = (),
        data_converter: DataConverter = DataConverter.default,
        interceptors: Sequence[Interceptor] = (),
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        seed: int = 0,
        cached: bool = True,
        on_boundary: Boundary | None = None,
        workflow_runner: WorkflowRunner | None = None,
        answers: Answers | None = None,
        namespace: str = "default",
        task_queue: str = "simulation",
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a SimulatedServer lives on a VirtualLoop: call run_virtually(main())")
        self.loop = loop
        self.turns = Turns(loop, seed=seed)
        self.cached = cached
        self.answers = answers
        self.namespace = namespace
        self.task_queue = task_queue
        self.on_boundary = on_boundary
        self.before_attempt: Callable[[Execution, Activity], bool] | None = None
        self.on_scheduled: Callable[[Execution, HistoryEvent], None] | None = None
        self.on_ended: Callable[[Execution, Activity], None] | None = None
        self.on_repeat: Callable[[], None] | None = None
        self._worker_options: dict[str, Any] = {
            "activities": activities,
            "converter": data_converter,
            "interceptors": interceptors,
            "failure_types": workflow_failure_exception_types,
            "runner": workflow_runner,
            "namespace": namespace,
            "task_queue": task_queue,
            "client": SimulatedClient(self),
        }
        self.converter = data_converter
        self.worker = SimulatedWorker(workflows=workflows, **self._worker_options)
        self.executions: list[Execution] = []
        self._current: dict[str, Execution] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._context = contextvars.copy_context()
        self._runs = 0
        self.tasks = 0
        """How many workflow tasks there were."""
        self._activations = 0

    @property
    def activations(self) -> int:
        """How often workflow code was run, replays included."""
        return self._activations + self.worker.activations

    # --- what a client does -----------------------------------------------------------------------------------------

    def start(
        self,
        workflow: Any,
        *args: Any,
        id: str,
        memo: Mapping[str, Any] | None = None,
        id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED,
        run_timeout: timedelta | None = None,
        execution_timeout: timedelta | None = None,
        start_delay: timedelta | None = None,
        static_summary: str | None = None,
        static_details: str | None = None,
    ) -> SimulatedHandle:
        """Start a workflow.

        Args:
            workflow: Its class, its run method or its name.
            *args: Its arguments.
            id: The workflow id.
            memo: As for `temporalio.client.Client.start_workflow`; so are all that follow.
            id_reuse_policy: When there was a run of this id.
            id_conflict_policy: When there is one.
            run_timeout: For one run.
            execution_timeout: For the run and those it continues as.
            start_delay: Until its first workflow task.
            static_summary: Its title.
            static_details: Its description.

        Raises:
            WorkflowAlreadyStartedError: As the policies say.
        """
        name = workflow_type(workflow)
        known = self._reuse(id, name, id_reuse_policy, id_conflict_policy)
        if known is not None:
            return SimulatedHandle(self, known)
        convert = self.converter.payload_converter
        started = self._started(name, id)
        if args:
            started.input.payloads.extend(convert.to_payloads(args))
        for key, value in (memo or {}).items():
            started.memo.fields[key].CopyFrom(convert.to_payload(value))
        if run_timeout:
            started.workflow_run_timeout.FromTimedelta(run_timeout)
        if execution_timeout:
            started.workflow_execution_timeout.FromTimedelta(execution_timeout)
        metadata = {
            key: convert.to_payload(text)
            for key, text in (("summary", static_summary), ("details", static_details))
            if text
        }
        run_id = self.next_run_id()
        _identify(started, run_id)
        execution = self._new(
            run_id=run_id, started=started, metadata=metadata or None, delay=start_delay or timedelta(0)
        )
        return SimulatedHandle(self, execution)

    def _reuse(
        self, id: str, name: str, reuse: WorkflowIDReusePolicy, conflict: WorkflowIDConflictPolicy
    ) -> Execution | None:
        """The run that a start gives instead of a new one."""
        found = self._current.get(id)
        if found is None:
            return None
        if found.open:
            if conflict == WorkflowIDConflictPolicy.USE_EXISTING:
                return found
            if conflict == WorkflowIDConflictPolicy.TERMINATE_EXISTING or (
                reuse == WorkflowIDReusePolicy.TERMINATE_IF_RUNNING
            ):
                found.terminate("TerminateIfRunning WorkflowIdReusePolicy")
                return None
            raise WorkflowAlreadyStartedError(id, name, run_id=found.run_id)
        ended_well = CLOSED[found.closed.result().event_type] == "completed"
        if reuse == WorkflowIDReusePolicy.REJECT_DUPLICATE or (
            reuse == WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY and ended_well
        ):
            raise WorkflowAlreadyStartedError(id, name, run_id=found.run_id)
        return None

    def handle(self, id: str) -> SimulatedHandle:
        """The newest run of a workflow id.

        Raises:
            KeyError: There is none.
        """
        return SimulatedHandle(self, self._current[id])

    def knows(self, id: str) -> bool:
        """Whether there has been a run of a workflow id."""
        return id in self._current

    def evict(self, id: str | None = None) -> None:
        """Let the worker forget one run, or all: as after a restart."""
        for execution in self.executions:
            if id in (None, execution.id):
                execution.evict()

    def deploy(self, workflows: Sequence[type]) -> None:
        """Another worker takes over, with these workflows and an empty cache; runs that were stuck are tried again."""
        self.evict()
        self._activations += self.worker.activations
        self.worker = SimulatedWorker(workflows=workflows, **self._worker_options)
        for execution in self.executions:
            execution.retry()

    def shutdown(self) -> None:
        """End the worker: every attempt that still runs is cancelled, every workflow is let go."""
        for task in self._attempts:
            task.cancel()
        self.evict()

    # --- runs -------------------------------------------------------------------------------------------------------

    def serves(self, task_queue: str) -> bool:
        """Whether a worker polls this task queue."""
        return task_queue == self.task_queue

    def next_run_id(self) -> str:
        """A run id, in the form of the server's and the same in each simulation."""
        self._runs += 1
        return f"01900000-0000-7000-8000-{self._runs:012x}"

    def _started(self, name: str, id: str) -> WorkflowExecutionStartedEventAttributes:
        started = WorkflowExecutionStartedEventAttributes(workflow_id=id, identity=IDENTITY, attempt=1)
        started.workflow_type.name = name
        started.task_queue.name = self.task_queue
        started.task_queue.kind = TaskQueueKind.TASK_QUEUE_KIND_NORMAL
        started.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
        return started

    def _new(self, **given: Any) -> Execution:
        execution = Execution(self, **given)
        self.executions.append(execution)
        self._current[execution.id] = execution
        return execution

    def attempt(self, run: Execution, activity: Activity, *, asked: bool = False) -> None:
        """Let the worker make the next attempt of an activity, unless the hook (not ``asked`` yet) takes it."""
        if activity.ended or activity.running:
            return
        if not asked and self.before_attempt is not None and self.before_attempt(run, activity):
            return
        activity.start()
        attempt = self.worker.attempt(activity, workflow=(run.id, run.run_id, run.type))
        # Another attempt's report may have led to this one: nothing of that one's context is this one's.
        task = self.loop.create_task(attempt.run(), context=self._context.copy())
        self._attempts.add(task)
        task.add_done_callback(self._attempted)

    def _attempted(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.fail(error)  # the simulation's own: what an activity raises is reported

    @property
    def alive(self) -> int:
        """How many attempts have neither ended nor been given up by their worker."""
        return sum(not task.done() for task in self._attempts)

    def boundary(self, run: Execution) -> None:
        """A workflow task is done."""
        self.tasks += 1
        if self.on_boundary is not None:
            self.on_boundary(SimulatedHandle(self, run))

    def scheduled(self, run: Execution, event: HistoryEvent) -> None:
        """An activity has been scheduled."""
        if self.on_scheduled is not None:
            self.on_scheduled(run, event)

    def ended(self, run: Execution, activity: Activity) -> None:
        """An activity has ended."""
        if self.on_ended is not None:
            self.on_ended(run, activity)

    def repeats(self) -> None:
        """An attempt has failed, or is given up, and there will be another."""
        if self.on_repeat is not None:
            self.loop.call_soon(self.on_repeat)  # by then the attempt that reports it is over

    # --- children and neighbours ------------------------------------------------------------------------------------

    def start_child(self, parent: Execution, event: HistoryEvent) -> None:
        """Start what a run asked for."""
        parent.starting.pop(event.event_id, None)
        if not parent.open:
            return
        asked = event.start_child_workflow_execution_initiated_event_attributes
        try:
            self._reuse(
                asked.workflow_id,
                asked.workflow_type.name,
                WorkflowIDReusePolicy(asked.workflow_id_reuse_policy or 1),
                WorkflowIDConflictPolicy.UNSPECIFIED,
            )
        except WorkflowAlreadyStartedError:
            parent.happened(
                StartChildWorkflowExecutionFailedEventAttributes(
                    namespace=asked.namespace,
                    workflow_id=asked.workflow_id,
                    workflow_type=asked.workflow_type,
                    cause=1,  # type: ignore[arg-type]  # it exists already
                    initiated_event_id=event.event_id,
                    workflow_task_completed_event_id=asked.workflow_task_completed_event_id,
                )
            )
            return
        run_id = self.next_run_id()
        started = _child_started(asked, parent, event)
        _identify(started, run_id)
        metadata = event.user_metadata if event.HasField("user_metadata") else None
        child = self._new(run_id=run_id, started=started, parent=Parent(parent, event.event_id), metadata=metadata)
        begun = parent.happened(
            ChildWorkflowExecutionStartedEventAttributes(
                namespace=asked.namespace,
                initiated_event_id=event.event_id,
                workflow_execution={"workflow_id": child.id, "run_id": child.run_id},  # type: ignore[arg-type]  # protobuf takes a mapping
                workflow_type=asked.workflow_type,
                header=asked.header,
            )
        )
        parent.children[event.event_id] = (child, begun.event_id)

    def signal_external(self, run: Execution, event: HistoryEvent) -> None:
        """Pass a workflow's signal on, unless the workflow has closed since."""
        if not run.open:
            return
        asked = event.signal_external_workflow_execution_initiated_event_attributes
        target = self._target(asked.workflow_execution.workflow_id, asked.workflow_execution.run_id)
        if target is None:
            failed: Any = SignalExternalWorkflowExecutionFailedEventAttributes(
                cause=_NOT_FOUND,  # type: ignore[arg-type]  # the enum's value
                workflow_task_completed_event_id=asked.workflow_task_completed_event_id,
                namespace=asked.namespace,
                workflow_execution=asked.workflow_execution,
                initiated_event_id=event.event_id,
            )
        else:
            target.happened(
                WorkflowExecutionSignaledEventAttributes(
                    signal_name=asked.signal_name,
                    input=asked.input if asked.HasField("input") else None,
                    header=asked.header,
                    identity=IDENTITY,
                    external_workflow_execution={"workflow_id": run.id, "run_id": run.run_id},  # type: ignore[arg-type]  # protobuf takes a mapping
                )
            )
            failed = ExternalWorkflowExecutionSignaledEventAttributes(
                initiated_event_id=event.event_id,
                namespace=asked.namespace,
                workflow_execution=asked.workflow_execution,
            )
        run.happened(failed)

    def cancel_external(self, run: Execution, event: HistoryEvent) -> None:
        """Pass a workflow's request for cancellation on, unless the workflow has closed since."""
        if not run.open:
            return
        asked = event.request_cancel_external_workflow_execution_initiated_event_attributes
        target = self._target(asked.workflow_execution.workflow_id, asked.workflow_execution.run_id)
        if target is None:
            answer: Any = RequestCancelExternalWorkflowExecutionFailedEventAttributes(
                cause=_NOT_FOUND,  # type: ignore[arg-type]  # the enum's value
                workflow_task_completed_event_id=asked.workflow_task_completed_event_id,
                namespace=asked.namespace,
                workflow_execution=asked.workflow_execution,
                initiated_event_id=event.event_id,
            )
        else:
            target.cancel(asked.reason, by=run, initiated=event.event_id)
            answer = ExternalWorkflowExecutionCancelRequestedEventAttributes(
                initiated_event_id=event.event_id,
                namespace=asked.namespace,
                workflow_execution=asked.workflow_execution,
            )
        run.happened(answer)

    def _target(self, workflow_id: str, run_id: str) -> Execution | None:
        found = self._current.get(workflow_id)
        if found is None or not found.open or run_id not in ("", found.run_id):
            return None
        return found

    def closed(self, run: Execution, event: HistoryEvent) -> None:
        """A run has ended: its parent hears of it, its children go as their policies say, a new run goes on."""
        how = CLOSED[event.event_type]
        if how == "continued as new":
            run.next = self._continued(run, event)
            return
        for child, _ in tuple(run.children.values()):
            self._orphan(child)
        if run.parent is not None and run.parent.execution.open:
            self._tell_parent(run, run.parent, event, how)

    def _orphan(self, child: Execution) -> None:
        child = self._current[child.id]
        if not child.open or child.parent is None:
            return
        event = child.parent.execution.log.events[child.parent.initiated - 1]
        policy = event.start_child_workflow_execution_initiated_event_attributes.parent_close_policy
        if policy == ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE:
            self.turns.soon(lambda: child.terminate("by parent close policy") if child.open else None)
        elif policy == ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL:
            self.turns.soon(lambda: child.cancel("by parent close policy"))

    def _tell_parent(self, run: Execution, parent: Parent, event: HistoryEvent, how: str) -> None:
        _, started = parent.execution.children.pop(parent.initiated)
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        told: dict[str, Any] = {
            "namespace": self.namespace,
            "workflow_execution": {"workflow_id": run.id, "run_id": run.run_id},
            "workflow_type": {"name": run.type},
            "initiated_event_id": parent.initiated,
            "started_event_id": started,
        }
        answer: Any
        if how == "completed":
            answer = ChildWorkflowExecutionCompletedEventAttributes(result=attributes.result, **told)
        elif how == "failed":
            answer = ChildWorkflowExecutionFailedEventAttributes(
                failure=attributes.failure, retry_state=attributes.retry_state, **told
            )
        elif how == "cancelled":
            answer = ChildWorkflowExecutionCanceledEventAttributes(**told)
        elif how == "timed out":
            answer = ChildWorkflowExecutionTimedOutEventAttributes(retry_state=attributes.retry_state, **told)
        else:
            answer = ChildWorkflowExecutionTerminatedEventAttributes(**told)
        self.turns.soon(lambda: _tell(parent.execution, answer))

    def _continued(self, run: Execution, event: HistoryEvent) -> Execution:
        asked = event.workflow_execution_continued_as_new_event_attributes
        started = self._started(asked.workflow_type.name, run.id)
        started.task_queue.CopyFrom(asked.task_queue)
        started.input.CopyFrom(asked.input)
        started.workflow_run_timeout.CopyFrom(asked.workflow_run_timeout)
        started.workflow_execution_timeout.CopyFrom(run.started.workflow_execution_timeout)
        started.continued_execution_run_id = run.run_id
        started.initiator = asked.initiator
        started.memo.CopyFrom(asked.memo)
        started.search_attributes.CopyFrom(asked.search_attributes)
        started.header.CopyFrom(asked.header)
        for field in ("parent_workflow_execution", "root_workflow_execution"):
            if run.started.HasField(field):
                getattr(started, field).CopyFrom(getattr(run.started, field))
        started.parent_workflow_namespace = run.started.parent_workflow_namespace
        started.parent_initiated_event_id = run.started.parent_initiated_event_id
        _identify(started, asked.new_execution_run_id, first=run.started.first_execution_run_id)
        metadata = run.first.user_metadata if run.first.HasField("user_metadata") else None
        delay = asked.backoff_start_interval.ToTimedelta()
        return self._new(
            run_id=asked.new_execution_run_id, started=started, parent=run.parent, metadata=metadata, delay=delay
        )


_NOT_FOUND: Final = 1
"""Why another workflow could not be told."""


def _tell(parent: Execution, attributes: Any) -> None:
    if parent.open:
        parent.happened(attributes)


def _identify(started: WorkflowExecutionStartedEventAttributes, run_id: str, *, first: str = "") -> None:
    started.original_execution_run_id = run_id
    started.first_execution_run_id = first or run_id


def _child_started(asked: Any, parent: Execution, event: HistoryEvent) -> WorkflowExecutionStartedEventAttributes:
    root = parent.started.root_workflow_execution
    started = WorkflowExecutionStartedEventAttributes(
        workflow_id=asked.workflow_id,
        workflow_type=asked.workflow_type,
        task_queue=asked.task_queue,
        input=asked.input if asked.HasField("input") else None,
        workflow_execution_timeout=asked.workflow_execution_timeout,
        workflow_run_timeout=asked.workflow_run_timeout,
        identity=IDENTITY,
        attempt=1,
        memo=asked.memo if asked.HasField("memo") else None,
        search_attributes=asked.search_attributes if asked.HasField("search_attributes") else None,
        header=asked.header,
        parent_workflow_namespace=asked.namespace,
        parent_workflow_execution={"workflow_id": parent.id, "run_id": parent.run_id},  # type: ignore[arg-type]  # protobuf takes a mapping
        parent_initiated_event_id=event.event_id,
        root_workflow_execution={"workflow_id": root.workflow_id or parent.id, "run_id": root.run_id or parent.run_id},  # type: ignore[arg-type]  # protobuf takes a mapping
    )
    started.workflow_task_timeout.FromTimedelta(asked.workflow_task_timeout.ToTimedelta() or TASK_TIMEOUT)
    return started
