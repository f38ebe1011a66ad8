"""The one place that knows the SDK's insides: how a worker talks to a workflow instance and what a definition holds.

`temporalio.bridge.proto` and the names with an underscore are internal to the SDK, and may change with any release of
it; everything else of the simulation sees only what this module gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Final

import temporalio.activity
import temporalio.workflow
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.child_workflow import (
    ChildWorkflowCancellationType,
    StartChildWorkflowExecutionFailedCause,
)
from temporalio.bridge.proto.workflow_activation import (
    InitializeWorkflow,
    RemoveFromCache,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ActivityCancellationType
from temporalio.common import MetricMeter, Priority, RetryPolicy
from temporalio.converter import (
    DataConverter,
    decode_search_attributes,
    decode_typed_search_attributes,
)
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)

Job = WorkflowActivationJob
"""One thing a workflow is told in an activation."""

TRY_CANCEL: Final = ActivityCancellationType.TRY_CANCEL
ABANDON: Final = ActivityCancellationType.ABANDON
CHILD_TRY_CANCEL: Final = ChildWorkflowCancellationType.TRY_CANCEL
CHILD_ABANDON: Final = ChildWorkflowCancellationType.ABANDON
CHILD_EXISTS: Final = (
    StartChildWorkflowExecutionFailedCause.START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS
)

COMPLETED_ELSEWHERE: Final = temporalio.activity._CompleteAsyncError
"""What an activity raises that somebody else will complete."""

WorkflowDefinition = Any
"""What the SDK knows of a workflow class."""


def workflow_definition(cls: type) -> WorkflowDefinition:
    """What the SDK knows of a workflow class."""
    return temporalio.workflow._Definition.must_from_class(cls)


def workflow_type(run: Any) -> str:
    """The name of a workflow, given as a name, a class or a class's run method."""
    if isinstance(run, str):
        return run
    found = temporalio.workflow._Definition
    definition = found.must_from_class(run) if isinstance(run, type) else found.must_from_run_fn(run)
    if definition.name is None:
        raise TypeError("a dynamic workflow is started by the name it shall have")
    return definition.name


def handler_name(handler: Any) -> str:
    """The name of a signal, query or update, given as a name or as the handler's method."""
    if isinstance(handler, str):
        return handler
    if isinstance(handler, temporalio.workflow.UpdateMethodMultiParam) or hasattr(handler, "_defn"):
        return str(handler._defn.name)
    for kind in (temporalio.workflow._SignalDefinition, temporalio.workflow._QueryDefinition):
        if (definition := kind.from_fn(handler)) is not None:
            return str(definition.name)
    raise TypeError(f"{handler!r} is no handler of a signal, a query or an update")


def result_type(handler: Any) -> type | None:
    """What a query or an update answers, as far as its annotations tell."""
    definition = getattr(handler, "_defn", None) or temporalio.workflow._QueryDefinition.from_fn(handler)
    return getattr(definition, "ret_type", None)


def activity_definition(fn: Callable[..., Any]) -> Any:
    """What the SDK knows of an activity."""
    return temporalio.activity._Definition.must_from_callable(fn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What is the same in all activations of one workflow task.

    Attributes:
        at: When the workflow task was started.
        length: How many events the history had then.
        size: How many bytes.
        replaying: Whether the workflow's answer is known already.
        flags: The SDK's own marks of behaviour that the history carries.
        suggest_continue: Whether the history has become long.
    """

    at: Timestamp
    length: int
    size: int
    replaying: bool
    flags: Iterable[int] = ()
    suggest_continue: bool = False

    def of(self, run_id: str, jobs: Sequence[Job]) -> WorkflowActivation:
        """The message."""
        return WorkflowActivation(
            run_id=run_id,
            timestamp=self.at,
            is_replaying=self.replaying,
            history_length=self.length,
            history_size_bytes=self.size,
            continue_as_new_suggested=self.suggest_continue,
            available_internal_flags=self.flags,
            jobs=jobs,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a workflow said to an activation.

    Attributes:
        commands: `WorkflowCommand`s of the bridge, in order.
        flags: The SDK's marks that it has used.
        failure: Why the activation failed; then nothing else counts.
        versioning: How the workflow wants to be versioned; 0 for not at all.
    """

    commands: Sequence[Any]
    flags: Sequence[int]
    failure: Failure | None
    versioning: int


class Host:
    """What a worker has for all its workflow instances.

    Args:
        converter: Of payloads and failures; a codec is refused where one is given, as nothing leaves the process.
        interceptor_classes: Of the worker's interceptors.
        failure_types: Exceptions that fail a workflow rather than its task.
        runner: The SDK's sandbox, or none.
    """

    def __init__(
        self,
        *,
        namespace: str,
        task_queue: str,
        converter: DataConverter,
        interceptor_classes: Sequence[type[WorkflowInboundInterceptor]],
        extern_functions: dict[str, Callable[..., Any]],
        failure_types: Sequence[type[BaseException]],
        runner: WorkflowRunner,
    ) -> None:
        self._namespace = namespace
        self._task_queue = task_queue
        self._converter = converter
        self._interceptors = list(interceptor_classes)
        self._externs: dict[str, Callable[..., Any]] = {
            "__temporal_get_metric_meter": lambda: MetricMeter.noop,
            "__temporal_assert_local_activity_valid": lambda name: None,  # it is refused once it is asked for
            **extern_functions,
        }
        self._failure_types = list(failure_types)
        self._runner = runner
        self._unsandboxed = UnsandboxedWorkflowRunner()
        self.activations = 0
        """How often workflow code was run."""

    def prepare(self, definition: WorkflowDefinition) -> None:
        """Let the runner look at a workflow before any is started."""
        if definition.sandboxed:
            self._runner.prepare_workflow(definition)

    def instance(self, definition: WorkflowDefinition, activation: WorkflowActivation) -> Instance:
        """A new instance, for the first activation of a run."""
        init = next(job.initialize_workflow for job in activation.jobs if job.HasField("initialize_workflow"))
        runner = self._runner if definition.sandboxed else self._unsandboxed
        details = WorkflowInstanceDetails(
            payload_converter_factory=lambda: self._converter.payload_converter,
            failure_converter_class=self._converter.failure_converter_class,
            interceptor_classes=self._interceptors,
            defn=definition,
            info=self._info(init, activation),
            randomness_seed=init.randomness_seed,
            extern_functions=self._externs,
            disable_eager_activity_execution=False,
            worker_level_failure_exception_types=self._failure_types,
            patch_activation_callback=None,
            last_completion_result=init.last_completion_result,
            last_failure=init.continued_failure if init.HasField("continued_failure") else None,
        )
        return Instance(self, runner.create_instance(details))

    def _info(self, init: InitializeWorkflow, activation: WorkflowActivation) -> temporalio.workflow.Info:
        parent = root = None
        if init.HasField("parent_workflow_info"):
            given = init.parent_workflow_info
            parent = temporalio.workflow.ParentInfo(
                namespace=given.namespace, run_id=given.run_id, workflow_id=given.workflow_id
            )
        if init.HasField("root_workflow"):
            root = temporalio.workflow.RootInfo(
                run_id=init.root_workflow.run_id, workflow_id=init.root_workflow.workflow_id
            )
        return temporalio.workflow.Info(
            attempt=init.attempt,
            continued_run_id=init.continued_from_execution_run_id or None,
            cron_schedule=None,
            execution_timeout=_timedelta(init, "workflow_execution_timeout"),
            first_execution_run_id=init.first_execution_run_id,
            headers=dict(init.headers),
            namespace=self._namespace,
            original_execution_run_id=activation.run_id,
            parent=parent,
            root=root,
            raw_memo=dict(init.memo.fields),
            retry_policy=RetryPolicy.from_proto(init.retry_policy) if init.HasField("retry_policy") else None,
            run_id=activation.run_id,
            run_timeout=_timedelta(init, "workflow_run_timeout"),
            search_attributes=decode_search_attributes(init.search_attributes),
            start_time=activation.timestamp.ToDatetime(tzinfo=UTC),
            workflow_start_time=init.start_time.ToDatetime(tzinfo=UTC),
            task_queue=self._task_queue,
            task_timeout=init.workflow_task_timeout.ToTimedelta(),
            typed_search_attributes=decode_typed_search_attributes(init.search_attributes),
            workflow_id=init.workflow_id,
            workflow_type=init.workflow_type,
            priority=Priority._from_proto(init.priority),
        )


class Instance:
    """A live workflow."""

    def __init__(self, host: Host, instance: WorkflowInstance) -> None:
        self._host = host
        self._instance = instance

    def activate(self, activation: WorkflowActivation) -> Answer:
        """Tell it, and hear its answer."""
        # The instance is an event loop itself: it takes the place of the running one, and leaves none behind.
        self._host.activations += 1
        running = asyncio._get_running_loop()
        try:
            completion = self._instance.activate(activation)
        finally:
            asyncio._set_running_loop(running)
        if completion.HasField("failed"):
            return Answer((), (), completion.failed.failure, 0)
        done = completion.successful
        return Answer(done.commands, done.used_internal_flags, None, done.versioning_behavior)

    def evict(self, run_id: str) -> None:
        """Let it go. Its tasks are cancelled, so that nothing of it runs later."""
        job = Job(remove_from_cache=RemoveFromCache(message="evicted"))
        self.activate(WorkflowActivation(run_id=run_id, jobs=[job]))

    @property
    def coroutines(self) -> list[Any]:
        """The coroutines of its live tasks, in no order that means anything."""
        tasks: set[Any] = getattr(self._instance, "_tasks", set())
        return [task.get_coro() for task in tasks if not task.done()]


def _timedelta(message: Any, field: str) -> timedelta | None:
    if not message.HasField(field):
        return None
    found: Duration = getattr(message, field)
    return found.ToTimedelta()
