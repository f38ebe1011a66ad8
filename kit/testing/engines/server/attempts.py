"""What the server engine puts around activities: shorter attempts where one will hang, and a count of what is at work.

Time skipping never skips an attempt that is running, so one that hangs (a dead worker, a reply that never comes) is
waited for in real time. In a scenario with such a fault the activities it can strike get a short start-to-close timeout
when the workflow schedules them; leases and cut-offs follow the attempt's own timeout, so nothing else changes.

On a busy machine the server may end such an attempt although it has answered: what the guard says at nine tenths of it
then comes too late. That *disturbs* the scenario, and it is run again with longer attempts. It is noticed where

- an attempt answers after its timeout, and no fault has frozen it;
- an attempt answers for good in time, and another one follows all the same;
- an attempt fails in time, and the next one counts it among those that ended without a word;
- an attempt answers in time, and the history says that it timed out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from kit.contract import Role
from kit.contract.operation import UNDO_SUFFIX
from kit.testing.faults import Fault, FaultKind, Scenario

HANGING: Final = frozenset(
    {
        FaultKind.TOO_SLOW,
        FaultKind.LATE_AFTER_RETRY,
        FaultKind.LATE_AFTER_UNDO,
        FaultKind.UNRECORDED,
        FaultKind.STALLED,
        FaultKind.CRASH_BEFORE,
        FaultKind.CRASH_AFTER,
        FaultKind.CRASH_RECORDED,
    }
)
"""Faults under which an attempt lasts as long as it may, or longer."""


def struck(scenario: Scenario, kinds: frozenset[FaultKind]) -> frozenset[str]:
    """The activities whose attempts some kinds of fault can strike. A probe is made by an action and by its undo."""
    return frozenset(name for fault in scenario.faults if fault.kind in kinds for name in _activities_of(fault))


def _activities_of(fault: Fault) -> tuple[str, ...]:
    action = fault.point.operation
    undo = f"{action}{UNDO_SUFFIX}"
    return {Role.ACTION: (action,), Role.COMPENSATION: (undo,), Role.PROBE: (action, undo)}[fault.point.role]


@dataclass(slots=True)
class AtWork:
    """What the attempts of a scenario are doing.

    Attributes:
        stirred: Called whenever one begins or ends.
        frozen: The activities of which an attempt is frozen, and may answer after its timeout.
        running: How many are at work. One that has died with its worker is not.
        begun: How many there have been.
        disturbed: Why the machine was too slow: which attempt was not heard in time.
        latest: The latest instant that is known, by the server's clock.
    """

    stirred: Callable[[], None]
    frozen: frozenset[str] = frozenset()
    running: int = 0
    begun: int = 0
    disturbed: str | None = None
    latest: float = 0.0
    _answered: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    """By run and activity id, the last attempt that answered in time, and whether for good."""

    def begins(self, info: activity.Info) -> None:
        """An attempt begins: was the one before it heard?"""
        number, for_good = self._answered.get(_which(info), (0, False))
        counts = info.heartbeat_details[0] if info.heartbeat_details else {}
        unheard = number == info.attempt - 1 and isinstance(counts, dict) and 0 < sum(counts.values()) < number
        if for_good or unheard:
            self.disturbed = f"attempt {number} of {info.activity_type} was not heard in time"

    def answers(self, info: activity.Info, *, after: float, for_good: bool) -> None:
        """An attempt answers ``after`` so many seconds."""
        timeout = info.start_to_close_timeout
        if timeout is None or after < timeout.total_seconds():
            self._answered[_which(info)] = (info.attempt, for_good)
        elif info.activity_type not in self.frozen:
            self.disturbed = f"attempt {info.attempt} of {info.activity_type} was not heard in time"

    def timed_out(self, run_id: str, activity_id: str, attempt: int) -> None:
        """The history says that an attempt timed out."""
        if self._answered.get((run_id, activity_id), (0, False))[0] == attempt:
            self.disturbed = f"attempt {attempt} of activity {activity_id} was not heard in time"

    def clock(self) -> float:
        """Seconds that only go forward, by the server's clock: it skips time, and the attempt that asks knows it."""
        began = _began.get()
        if began is not None:
            started_at, since = began
            self.latest = max(self.latest, started_at + asyncio.get_running_loop().time() - since)
        return self.latest


_began: Final[ContextVar[tuple[float, float] | None]] = ContextVar("kit_server_attempt_began", default=None)
"""When the running attempt began: by the server's clock, and by the event loop's."""


def _which(info: activity.Info) -> tuple[str, str]:
    return (info.workflow_run_id or "", info.activity_id)


class Answers(Interceptor):
    """Stands outermost around every activity of a scenario: notes what is answered, and when."""

    def __init__(self, at_work: AtWork) -> None:
        self._at_work = at_work

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        at_work = self._at_work

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                info = activity.info()
                clock = asyncio.get_running_loop()
                began = clock.time()
                at_work.begins(info)
                try:
                    result = await super().execute_activity(input)
                except Exception as error:  # noted, and raised again
                    for_good = isinstance(error, ApplicationError) and error.non_retryable
                    at_work.answers(info, after=clock.time() - began, for_good=for_good)
                    raise
                at_work.answers(info, after=clock.time() - began, for_good=True)
                return result

        return Inbound(next)


class Counting(Interceptor):
    """Stands innermost around every activity of a scenario: counts what is at work.

    Args:
        at_work: Where it counts.
        begins: Awaited before each attempt.
    """

    def __init__(self, at_work: AtWork, *, begins: Callable[[activity.Info], Awaitable[None]]) -> None:
        self._at_work = at_work
        self._begins = begins

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        at_work, begins = self._at_work, self._begins

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                at_work.running += 1
                at_work.begun += 1
                at_work.stirred()
                info = activity.info()
                _began.set((info.started_time.timestamp(), asyncio.get_running_loop().time()))
                try:
                    await begins(info)
                    return await super().execute_activity(input)
                finally:
                    at_work.running -= 1
                    at_work.stirred()

        return Inbound(next)


class Scheduling(Interceptor):
    """Changes how a scenario's workflows schedule some activities.

    Args:
        short: The activities of which an attempt may hang.
        timeout: Their start-to-close timeout.
        gated: The activities that are held at a gate before each attempt.
        gate: The task queue that is the gate: nobody polls it.
    """

    def __init__(self, *, short: frozenset[str], timeout: timedelta, gated: frozenset[str], gate: str) -> None:
        self.short = short
        self.timeout = timeout
        self.gated = gated
        self.gate = gate

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        rules = self

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
                if input.activity in rules.short:
                    input.start_to_close_timeout = min(rules.timeout, input.start_to_close_timeout or timedelta.max)
                if input.activity in rules.gated:
                    input.task_queue = rules.gate
                return super().start_activity(input)

            def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
                if input.activity in rules.short:
                    input.start_to_close_timeout = min(rules.timeout, input.start_to_close_timeout or timedelta.max)
                return super().start_local_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound
