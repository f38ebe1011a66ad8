"""What happens where a saga is started: refuse what cannot be undone, and tell the operator who owns it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import structlog
from temporalio import workflow
from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.runtime import Runtime

from kit.contract import stops_start
from kit.errors import DefinitionError, StartHeld
from kit.telemetry import CORRELATION_ID, CORRELATION_MEMO, Event, count, names
from kit.worker.holding import HoldWatch, log
from kit.workflow import EntityWorkflow, SagaDefinition, SagaWorkflow


def sagas() -> Iterator[tuple[str, SagaDefinition]]:
    """Every saga class known to this process, by workflow type."""
    for name, cls in _below(SagaWorkflow):
        yield name, cls.__saga__


def entities() -> set[str]:
    """The workflow types of the entities known to this process."""
    return {name for name, _ in _below(EntityWorkflow)}


def _below(base: type[SagaWorkflow]) -> Iterator[tuple[str, type[SagaWorkflow]]]:
    waiting = list(base.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        definition = workflow._Definition.from_class(cls)
        if definition is not None and definition.name is not None:
            yield definition.name, cls


class StartInterceptor(Interceptor):
    """Checks and describes the sagas that a client starts.

    Args:
        holds: What is known of the holds; ``None`` where nobody can switch one on.
    """

    def __init__(self, holds: HoldWatch | None = None) -> None:
        self._holds = holds

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """See base class."""
        return _Outbound(next, self._holds)


class _Outbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, holds: HoldWatch | None) -> None:
        super().__init__(next)
        self._holds = holds

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        """See base class."""
        saga = dict(sagas()).get(input.workflow)
        if saga is not None:
            if self._holds is not None:
                await refuse_held(self._holds, input, saga)
            _prepare(input, saga)
        return await super().start_workflow(input)


async def refuse_held(watch: HoldWatch, start: StartWorkflowInput, saga: SagaDefinition) -> None:
    """Refuse a start that a hold is on. When nobody can say, it goes on: the worker's guard has the last word.

    Raises:
        StartHeld: With the hold.
    """
    await watch.fresh()
    now = datetime.now(UTC)
    tenant = saga.tenant_of(start.args[0] if start.args else None)
    for hold in watch.holds:
        if hold.accepts or not stops_start(
            hold, workflow_type=start.workflow, tenant=tenant, operations=saga.operations.values(), now=now
        ):
            continue
        runtime = Runtime.default()
        scope = hold.scope.value
        count(runtime.metric_meter, names.STARTS_HELD, workflow_type=start.workflow, scope=scope)
        log.warning(
            Event.START_HELD,
            workflow_type=start.workflow,
            workflow_id=start.id,
            scope=scope,
            held=hold.name,
            reason=hold.reason,
        )
        raise StartHeld(start.workflow, scope=scope, name=hold.name, reason=hold.reason, who=hold.who, until=hold.until)


def _prepare(start: StartWorkflowInput, saga: SagaDefinition) -> None:
    timeout = start.run_timeout or start.execution_timeout
    if timeout:  # zero means none: so the command line and the UI say it
        raise DefinitionError(
            f"start of saga {saga.name!r}",
            rule=f"a run or execution timeout of {timeout} ends a saga without running any code, so nothing is undone",
            fix=f"start it without; its deadline is {saga.deadline}",
        )
    start.static_summary = start.static_summary or f"{saga.name} {start.id}"
    start.static_details = start.static_details or "\n".join(
        line
        for line in (
            f"**Owner:** {saga.owner}",
            f"**Runbook:** {saga.runbook}" if saga.runbook else "",
            f"**Deadline:** {saga.deadline} to the pivot; undone in reverse when it cannot go forward.",
            "How it stands and what to do next: *Current details*.",
        )
        if line
    )
    correlation = structlog.contextvars.get_contextvars().get(CORRELATION_ID)
    if correlation is not None:
        start.memo = {CORRELATION_MEMO: str(correlation), **(start.memo or {})}
