"""The simulated worker: which workflows and activities it has, and how it makes instances and attempts of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.converter import DataConverter
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, WorkflowInterceptorClassInput, WorkflowRunner

from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.attempt import Attempt
from kit.testing.engines.simulation.bridge import Host, WorkflowDefinition, activity_definition, workflow_definition
from kit.testing.engines.simulation.refusals import refused
from kit.testing.engines.simulation.replica import Replica


class SimulatedWorker:
    """A worker of one task queue.

    Args:
        workflows: Workflow classes.
        activities: Activity functions.
        converter: Of payloads and failures; without a codec, as nothing leaves the process.
        interceptors: Outermost first.
        failure_types: Exceptions that fail a workflow rather than its task.
        runner: The SDK's sandbox; none unless given.
        client: What its activities find as its client.
    """

    def __init__(
        self,
        *,
        workflows: Sequence[type],
        activities: Sequence[Callable[..., Any]] = (),
        converter: DataConverter,
        interceptors: Sequence[Interceptor] = (),
        failure_types: Sequence[type[BaseException]] = (),
        runner: WorkflowRunner | None = None,
        namespace: str = "default",
        task_queue: str = "simulation",
        client: Any = None,
    ) -> None:
        if converter.payload_codec is not None:
            raise refused("a payload codec", fix="give the world's client none: nothing leaves the process here")
        self.converter = converter
        self.namespace = namespace
        self.task_queue = task_queue
        self._client = client
        self._interceptors = tuple(interceptors)
        externs: dict[str, Callable[..., Any]] = {}
        given = WorkflowInterceptorClassInput(unsafe_extern_functions=externs)
        classes = [found for i in interceptors if (found := i.workflow_interceptor_class(given)) is not None]
        self._host = Host(
            namespace=namespace,
            task_queue=task_queue,
            converter=converter,
            interceptor_classes=classes,
            extern_functions=externs,
            failure_types=failure_types,
            runner=runner or UnsandboxedWorkflowRunner(),
        )
        self._workflows: dict[str | None, Any] = {}
        for cls in workflows:
            definition = workflow_definition(cls)
            self._host.prepare(definition)
            self._workflows[definition.name] = definition
        if any(activity_definition(fn).name is None for fn in activities):
            raise refused("a dynamic activity")
        self._activities = {(found := activity_definition(fn)).name: found for fn in activities}

    def definition(self, workflow_type: str) -> WorkflowDefinition | None:
        """What runs a workflow type; ``None`` when the worker does not have it."""
        return self._workflows.get(workflow_type) or self._workflows.get(None)

    def replica(self, definition: WorkflowDefinition, *, run_id: str) -> Replica:
        """A new copy of a run."""
        return Replica(self._host, definition, run_id=run_id, namespace=self.namespace)

    def workflow(self, name: str) -> type | None:
        """The class of a workflow type, if it is here."""
        found = self._workflows.get(name)
        return None if found is None else found.cls

    @property
    def activations(self) -> int:
        """How often its workflow code was run."""
        return self._host.activations

    @property
    def workflows(self) -> list[str]:
        """The names of its workflows."""
        return sorted(str(name) for name in self._workflows)

    def attempt(self, activity: Activity, *, workflow: tuple[str, str, str]) -> Attempt:
        """An attempt of an activity."""
        return Attempt(
            activity,
            self._activities.get(activity.asked.activity_type.name),
            converter=self.converter,
            interceptors=self._interceptors,
            workflow=workflow,
            namespace=self.namespace,
            task_queue=self.task_queue,
            client=self._client,
        )
