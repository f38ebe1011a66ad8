"""The one thing a service adds to its client: everything the kit needs on workers and clients comes with it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import pydantic
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.common import VersioningBehavior
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Replayer, WorkerConfig, WorkflowReplayResult, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from kit.contract import Operation
from kit.errors import DefinitionError, KitError
from kit.ledger.holds import HoldStore, holds_of
from kit.ledger.protocol import Ledger
from kit.worker.activities import Served, activities_of
from kit.worker.connector import Connector
from kit.worker.context import elapsed
from kit.worker.guard import Guard
from kit.worker.holding import HoldWatch
from kit.worker.payloads import ModelPayloadConverter
from kit.worker.starting import StartInterceptor
from kit.workflow import ReconciliationWorkflow, SagaWorkflow
from kit.workflow.grouping import GroupWorkflow
from kit.workflow.incident import IncidentWorkflow
from kit.workflow.questioning import FindingsWorkflow
from kit.workflow.replay import Replay
from kit.workflow.sweeping import SweepWorkflow
from kit.workflow.unwind import UnwindPlanWorkflow, UnwindWorkflow

DEFAULT_RETENTION: Final = timedelta(days=90)
"""How long settled rows stay in the ledger when nothing is said."""

OWN_WORKFLOWS: Final[tuple[type, ...]] = (
    FindingsWorkflow,
    GroupWorkflow,
    IncidentWorkflow,
    Replay,
    SweepWorkflow,
    UnwindPlanWorkflow,
    UnwindWorkflow,
)
"""What the kit brings to every worker that has connectors and workflows."""


class ReliabilityPlugin(SimplePlugin):
    """Makes effects safe for every worker and client built from the client it is given to.

    ::

        client = await Client.connect(
            address, plugins=[ReliabilityPlugin(ledger=SqliteLedger("effects.db"), connectors=[...])]
        )
        worker = Worker(client, task_queue="orders", workflows=[Checkout])  # the plugin brings the activities

    It brings the connectors' activities, the kit's own workflows, a pydantic data converter, the sandbox pass-through
    of the kit and of the contracts' modules, and checks; it opens the ledger and the connectors with the worker and
    closes them after it.
    Conflicting settings are refused, not overridden.

    Args:
        ledger: The durable record of every effect, shared by all workers of a service. ``None`` only for a client that
            starts workflows and runs no worker.
        connectors: One for each operation the worker's workflows use.
        retention: How long settled rows are kept; at least any saga's deadline + replay window.
        holds: Where operators switch holds on and off; by default the ledger's own database. A client that runs no
            worker needs it to refuse the starts that a hold is on; the store is then opened by whoever gives it. A
            watch over a store, for tests in which nobody looks.
        tracing: Trace clients, workflows and activities with OpenTelemetry, through the process's tracer provider.
        clock: Seconds that only go forward, for circuit breakers and rate limits; for tests in which time is skipped.

    Raises:
        DefinitionError: Two connectors serve one operation, two operations share a key template, two dependencies
            share a name, or connectors come without a ledger. When a worker is built: a workflow uses an operation
            that has no connector, or the retention is too short.
    """

    def __init__(
        self,
        *,
        ledger: Ledger | None = None,
        connectors: Sequence[Connector] = (),
        retention: timedelta = DEFAULT_RETENTION,
        holds: HoldStore | HoldWatch | None = None,
        tracing: bool = False,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._served = _serve(connectors)
        self._connectors = tuple(connectors)
        self._ledger = ledger
        self._retention = retention
        self._holds = _watch(holds or holds_of(ledger))
        self._workers = 0
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()
        if self._served and ledger is None:
            raise DefinitionError(
                "ReliabilityPlugin",
                rule="connectors without a ledger: nothing would know which effects have happened",
                fix="give ledger=SqliteLedger(path) or ledger=PostgresLedger(dsn)",
            )
        activities: list[Callable[..., Any]] = []
        if ledger is not None:
            guard = Guard(ledger, retention=retention, clock=clock, holds=self._holds)
            activities = activities_of(guard, self._served, holds=None if self._holds is None else self._holds.store)
        super().__init__(
            "kit.ReliabilityPlugin",
            data_converter=_data_converter,
            interceptors=[StartInterceptor(self._holds), *([TracingInterceptor()] if tracing else [])],
            activities=activities,
            workflows=self._with_own,
            workflow_runner=self._workflow_runner,
            # A request that does not validate is a failed workflow with a clear error, not a task retried for ever.
            workflow_failure_exception_types=[pydantic.ValidationError, KitError],
            run_context=self._opened,
        )

    @property
    def holds(self) -> HoldWatch | None:
        """What this process knows of the holds; ``None`` where nobody can switch one on."""
        return self._holds

    @property
    def operations(self) -> dict[str, Operation[Any, Any]]:
        """The operations its connectors serve, by name."""
        return {name: operation for name, (operation, _) in self._served.items()}

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class. Checks every saga of the worker first."""
        for cls in config.get("workflows") or ():
            if issubclass(cls, SagaWorkflow):
                self._check(cls)
                _check_versioning(cls, config)
            if issubclass(cls, ReconciliationWorkflow):
                reconciliation = cls.__reconciliation__
                self._check_served(f"reconciliation {reconciliation.name!r}", reconciliation.operations)
        _version_own(config)
        return super().configure_worker(config)

    def _check(self, cls: type[SagaWorkflow]) -> None:
        saga = cls.__saga__
        self._check_served(f"saga {saga.name!r}", saga.operations)
        if self._served and self._retention < saga.deadline + saga.replay_window:
            raise DefinitionError(
                f"saga {saga.name!r}",
                rule=f"the ledger's retention of {self._retention} is shorter than its deadline + replay window "
                f"({saga.deadline} + {saga.replay_window})",
                fix="raise retention=, or shorten deadline= or replay_window=",
            )

    def _check_served(self, subject: str, operations: Mapping[str, Operation[Any, Any]]) -> None:
        for name, operation in operations.items():
            if name not in self._served:
                known = ", ".join(sorted(self._served)) or "none"
                raise DefinitionError(
                    subject,
                    rule=f"it uses {name!r}, which no connector of this worker serves (served: {known})",
                    fix="give the plugin the connector that serves it",
                )
            if self._served[name][0] is not operation:
                raise DefinitionError(
                    subject,
                    rule=f"its {name!r} is not the operation that {type(self._served[name][1]).__name__} serves",
                    fix="import the one contract in both places",
                )

    def _with_own(self, workflows: Sequence[type] | None) -> Sequence[type]:
        """A worker's workflows and the kit's own; none for one that only carries activities out."""
        own = [cls for cls in OWN_WORKFLOWS if cls not in (workflows or ())]
        return [*workflows, *own] if workflows and self._served else list(workflows or ())

    def _workflow_runner(self, runner: WorkflowRunner | None) -> WorkflowRunner:
        if runner is None:
            runner = SandboxedWorkflowRunner()
        if not isinstance(runner, SandboxedWorkflowRunner):
            return runner
        # Why each is safe in a workflow: `kit` is deterministic on its workflow side (the import contracts keep I/O
        # out of it, and a test loads it and looks); a contract module is pure data. Both are the same in every run,
        # so building them anew for each run only costs time (0.5 ms per model).
        passed = {"kit", "structlog"}
        for operation, _ in self._served.values():
            models = (operation.request, operation.result)
            passed.update(m.__module__ for m in models if m not in (None, type(None)) and m.__module__ != "__main__")
        return dataclasses.replace(runner, restrictions=runner.restrictions.with_passthrough_modules(*sorted(passed)))

    @asynccontextmanager
    async def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        """See base class. A replay carries nothing out, so nothing is opened for it."""
        async with next(replayer, histories) as results:
            yield results

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Open with the first worker, close with the last: workers of several queues may share the plugin."""
        async with self._opening:
            if self._workers == 0:
                self._closing = await self._open()
            self._workers += 1
        try:
            yield
        finally:
            async with self._opening:
                self._workers -= 1
                if self._workers == 0:
                    await self._closing.aclose()

    async def _open(self) -> AsyncExitStack:
        async with AsyncExitStack() as stack:
            if self._ledger is not None:
                await stack.enter_async_context(self._ledger)
            if self._holds is not None:
                await stack.enter_async_context(self._holds.watching())
            databases = {id(c.database): c.database for c in self._connectors if c.database is not None}
            for database in databases.values():
                await stack.enter_async_context(database)
            for connector in self._connectors:
                await stack.enter_async_context(connector)
            return stack.pop_all()


def _check_versioning(cls: type[SagaWorkflow], config: WorkerConfig) -> None:
    """Refuse what the server would refuse at every workflow task, for ever."""
    definition = workflow._Definition.from_class(cls)
    deployment = config.get("deployment_config")
    declared = definition is not None and bool(definition.versioning_behavior)
    if declared and not (deployment and deployment.use_worker_versioning):
        raise DefinitionError(
            f"saga {cls.__name__!r}",
            rule="it declares a versioning behavior, but this worker has no deployment version, so the server would "
            "refuse every workflow task",
            fix="give the worker deployment_config=WorkerDeploymentConfig(..., use_worker_versioning=True), or drop "
            "versioning_behavior= from @workflow.defn",
        )


def _version_own(config: WorkerConfig) -> None:
    """Pin the kit's own workflows where workers have versions: they cannot declare it, for others have none.

    The worker's default says it for them. Where one of the service's own workflows relies on there being none, nothing
    is changed: the SDK refuses that workflow.
    """
    deployment = config.get("deployment_config")
    if deployment is None or not deployment.use_worker_versioning or deployment.default_versioning_behavior:
        return
    definitions = [workflow._Definition.from_class(cls) for cls in config.get("workflows") or ()]
    if all(definition is not None and definition.versioning_behavior for definition in definitions):
        config["deployment_config"] = dataclasses.replace(
            deployment, default_versioning_behavior=VersioningBehavior.PINNED
        )


def _watch(holds: HoldStore | HoldWatch | None) -> HoldWatch | None:
    if holds is None or isinstance(holds, HoldWatch):
        return holds
    return HoldWatch(holds)


_CONVERTER: Final = DataConverter(payload_converter_class=ModelPayloadConverter)


def _data_converter(given: DataConverter | None) -> DataConverter:
    if given is None or given is DataConverter.default:
        return _CONVERTER
    if given.payload_converter_class is DefaultPayloadConverter:
        return dataclasses.replace(given, payload_converter_class=ModelPayloadConverter)
    if issubclass(given.payload_converter_class, PydanticPayloadConverter):
        return given
    raise DefinitionError(
        "ReliabilityPlugin",
        rule=f"the client's payload converter {given.payload_converter_class.__name__!r} does not know pydantic models",
        fix="derive it from temporalio.contrib.pydantic.PydanticPayloadConverter (codecs are not affected)",
    )


def _serve(connectors: Sequence[Connector]) -> Served:
    served: Served = {}
    templates: dict[str, str] = {}
    dependencies: dict[str, Any] = {}
    for connector in connectors:
        for name, handlers in connector.handlers.items():
            operation = handlers.operation
            if name in served:
                raise DefinitionError(
                    "ReliabilityPlugin",
                    rule=f"{name!r} is served by both {type(served[name][1]).__name__} and {type(connector).__name__}",
                    fix="give one connector for each operation",
                )
            if operation.key is not None and operation.key in templates:
                raise DefinitionError(
                    "ReliabilityPlugin",
                    rule=f"{templates[operation.key]!r} and {name!r} share the key template {operation.key!r}, so the "
                    "second effect would be refused as the first",
                    fix="begin each template with its verb, e.g. 'authorize:{order_id}'",
                )
            if dependencies.setdefault(operation.dependency.name, operation.dependency) is not operation.dependency:
                raise DefinitionError(
                    "ReliabilityPlugin",
                    rule=f"two dependencies are named {operation.dependency.name!r}",
                    fix="import the one dependency everywhere, or rename one",
                )
            if operation.key is not None:
                templates[operation.key] = name
            served[name] = (operation, connector)
    return served
