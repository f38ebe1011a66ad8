"""The sweeper's schedule: one per task queue, so that services that share a namespace sweep for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from kit.errors import DefinitionError
from kit.operate.service import Operating
from kit.workflow.sweeping import SWEEP_WORKFLOW, SweepRequest

DEFAULT_INTERVAL: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Sweeping:
    """How the sweeper stands.

    Attributes:
        every: How often it sweeps.
        last: The workflow id of its last sweep.
        last_at: When that was.
        next_at: When it sweeps again.
    """

    every: timedelta
    last: str | None
    last_at: datetime | None
    next_at: datetime | None


def schedule_id(operating: Operating) -> str:
    """The id of a service's sweeper, in Temporal's list of schedules."""
    return f"kit-sweeper:{operating.task_queue}"


async def sweep_on(
    operating: Operating, request: SweepRequest, *, every: timedelta = DEFAULT_INTERVAL
) -> ScheduleHandle:
    """Switch the sweeper on, or change how it sweeps.

    Args:
        operating: The service.
        request: Which runs it looks for.
        every: How often.

    Raises:
        DefinitionError: The interval is not positive, or reaches farther than a sweep looks back.
    """
    if not timedelta(0) < every <= request.window - request.rest:
        raise DefinitionError(
            "sweeper",
            rule=f"every={every} must be positive and at most window - rest ({request.window} - {request.rest}), or a "
            "run that was cut off between two sweeps would never be looked at",
            fix="sweep more often, or look farther back",
        )
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            SWEEP_WORKFLOW, request, id=f"sweep:{operating.task_queue}", task_queue=operating.task_queue
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )
    try:
        return await operating.client.create_schedule(schedule_id(operating), schedule)
    except ScheduleAlreadyRunningError:
        handle = operating.client.get_schedule_handle(schedule_id(operating))

        def changed(known: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule)

        await handle.update(changed)
        return handle


async def sweep_off(operating: Operating) -> bool:
    """Switch the sweeper off. Returns whether it was on. A sweep that is under way goes on."""
    try:
        await operating.client.get_schedule_handle(schedule_id(operating)).delete()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def sweeping(operating: Operating) -> Sweeping | None:
    """How the sweeper stands; ``None`` when it is off."""
    try:
        found = await operating.client.get_schedule_handle(schedule_id(operating)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    last = found.info.recent_actions[-1] if found.info.recent_actions else None
    return Sweeping(
        every=found.schedule.spec.intervals[0].every,
        last=getattr(last.action, "workflow_id", None) if last else None,
        last_at=last.started_at if last else None,
        next_at=found.info.next_action_times[0] if found.info.next_action_times else None,
    )
