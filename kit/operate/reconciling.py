"""Run a reconciliation now, or on a schedule."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta

from temporalio import workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from kit.errors import DefinitionError
from kit.operate.service import Operating
from kit.workflow import ReconciliationReport, ReconciliationRequest, ReconciliationWorkflow


def reconciliation_of(workflows: Iterable[type], name: str | None = None) -> type[ReconciliationWorkflow]:
    """The reconciliation of a service, by its workflow type; without a name the only one.

    Raises:
        DefinitionError: There is none of that name, or several and none is named.
    """
    known = {type_of(cls): cls for cls in workflows if issubclass(cls, ReconciliationWorkflow)}
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is None or name not in known:
        raise DefinitionError(
            f"reconciliation {name!r}",
            rule=f"the service has {', '.join(known) or 'none'}",
            fix="name one of them" if known else "give its workers a kit.workflow.ReconciliationWorkflow",
        )
    return known[name]


def type_of(reconciliation: type[ReconciliationWorkflow]) -> str:
    """The workflow type of a reconciliation."""
    definition = workflow._Definition.from_class(reconciliation)
    if definition is None or definition.name is None:
        raise DefinitionError(
            f"reconciliation {reconciliation.__name__!r}", rule="it is no workflow", fix="mark it with @workflow.defn"
        )
    return definition.name


def check_names(reconciliation: type[ReconciliationWorkflow], names: Iterable[str]) -> None:
    """Refuse the name of an invariant that a reconciliation does not check.

    Raises:
        DefinitionError: With the names that there are.
    """
    known = [each.name for each in reconciliation.__reconciliation__.invariants]
    for name in names:
        if name not in known:
            raise DefinitionError(
                f"invariant {name!r}", rule=f"there are: {'; '.join(known)}", fix="name one of them in full"
            )


async def start_reconciliation(
    operating: Operating, reconciliation: type[ReconciliationWorkflow], request: ReconciliationRequest
) -> WorkflowHandle[ReconciliationWorkflow, ReconciliationReport]:
    """Start a reconciliation now. Several at once do no harm: what two of them find is repaired once, by its key."""
    kind = type_of(reconciliation)
    return await operating.client.start_workflow(
        kind,
        _of(operating, request),
        id=f"reconcile-{kind}-{uuid.uuid4().hex[:12]}",
        task_queue=operating.task_queue,
        result_type=ReconciliationReport,
        static_summary=f"Reconcile for {request.who}: {request.why}",
    )


async def schedule_reconciliation(
    operating: Operating,
    reconciliation: type[ReconciliationWorkflow],
    request: ReconciliationRequest,
    *,
    every: timedelta | None,
) -> str:
    """Run a reconciliation on a schedule, or (``every=None``) no more. Returns the schedule's id, one per type.

    A run that is still at work when the next is due is not joined by it: that one is left out.

    Raises:
        DefinitionError: ``every`` is not positive.
    """
    schedule_id = f"reconcile-{type_of(reconciliation)}"
    handle = operating.client.get_schedule_handle(schedule_id)
    if every is None:
        try:
            await handle.delete()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return schedule_id
    if every <= timedelta(0):
        raise DefinitionError(f"schedule {schedule_id!r}", rule=f"every={every!r} is not positive", fix="use e.g. 15m")
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            type_of(reconciliation), _of(operating, request), id=schedule_id, task_queue=operating.task_queue
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        await operating.client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:

        async def replaced(known: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule=schedule)

        await handle.update(replaced)
    return schedule_id


def _of(operating: Operating, request: ReconciliationRequest) -> ReconciliationRequest:
    """A request of this service."""
    return request if request.service else request.model_copy(update={"service": operating.task_queue})
