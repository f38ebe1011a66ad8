"""An activity as the server sees it: attempts, time limits, retries, cancellation.

An attempt ends at the server in one way only: with its report, or when a time limit passes. What a worker reports of
an attempt that the server has given up is not heard. In the history an activity's start is written when it ends, as the
real server does, so that retries leave no events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    ActivityTaskCanceledEventAttributes,
    ActivityTaskCancelRequestedEventAttributes,
    ActivityTaskCompletedEventAttributes,
    ActivityTaskFailedEventAttributes,
    ActivityTaskStartedEventAttributes,
    ActivityTaskTimedOutEventAttributes,
    HistoryEvent,
)

from kit.testing.engines.simulation.clock import VirtualLoop
from kit.testing.engines.simulation.failures import timeout
from kit.testing.engines.simulation.history import IDENTITY

_ZERO: Final = timedelta(0)


class Owner(Protocol):
    """The run an activity belongs to, as far as the activity needs it."""

    loop: VirtualLoop

    def write(self, attributes: Any, *, at: Timestamp | None = None) -> HistoryEvent:
        """Write an event."""

    def activity_ended(self, activity: Activity) -> None:
        """Forget the activity, and let the workflow know of its end."""

    def repeats(self, activity: Activity) -> None:
        """An attempt has failed, and there will be another."""

    def dispatch(self, activity: Activity) -> None:
        """Give the next attempt to a worker."""

    def afterwards(self, happens: Callable[[], None]) -> None:
        """Let something happen once all commands of the task are carried out; never if one of them closes the run."""


class Activity:
    """One activity of a run.

    Args:
        owner: The run.
        scheduled: Its first event.
    """

    def __init__(self, owner: Owner, scheduled: HistoryEvent) -> None:
        self.owner = owner
        self.event = scheduled
        self.asked = scheduled.activity_task_scheduled_event_attributes
        self.schedule_to_close = self.asked.schedule_to_close_timeout.ToTimedelta()
        """For all attempts together; zero for no limit."""
        self.start_to_close = self.asked.start_to_close_timeout.ToTimedelta()
        """For one attempt."""
        self.heartbeat_limit = self.asked.heartbeat_timeout.ToTimedelta()
        """Between two heartbeats; zero for no limit."""
        self.attempt = 1
        self.heartbeat: Payloads | None = None
        self.last_failure: Failure | None = None
        self.cancel_requested = 0
        self.ended = False
        self.with_cancel: Callable[[], None] | None = None
        self.scheduled_at = self.queued_at = owner.loop.time()
        self.started_at: Timestamp | None = None
        self._limits: dict[int, asyncio.TimerHandle] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._queue()  # first, for of two limits that pass at one instant the server hears of this one's
        self._limit(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, self.schedule_to_close)

    @property
    def running(self) -> bool:
        """Whether a worker has an attempt."""
        return self.started_at is not None

    def due(self) -> list[tuple[int, float]]:
        """When something happens to it by itself: its limits, by kind, and as kind 0 its next attempt."""
        limits = sorted((int(kind), handle.when()) for kind, handle in self._limits.items())
        return limits if self._retry is None else [(0, self._retry.when()), *limits]

    @property
    def queued(self) -> bool:
        """Whether an attempt waits for a worker to take it."""
        return not self.ended and not self.running and self._retry is None

    # --- attempts ---------------------------------------------------------------------------------------------------

    def _queue(self) -> None:
        self._retry = None
        self.queued_at = self.owner.loop.time()
        self._limit(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, self.asked.schedule_to_start_timeout.ToTimedelta())
        self.owner.dispatch(self)

    def start(self) -> None:
        """A worker takes the next attempt."""
        self.started_at = self.owner.loop.stamp()
        self._unlimit(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START)
        self._limit(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, self.start_to_close)
        self._limit(TimeoutType.TIMEOUT_TYPE_HEARTBEAT, self.heartbeat_limit)

    def current(self, attempt: int) -> bool:
        """Whether the server still waits for this attempt."""
        return not self.ended and self.running and attempt == self.attempt

    def beat(self, attempt: int, details: Payloads) -> bool:
        """Record a heartbeat.

        Returns:
            Whether the attempt shall be cancelled: by request, or because the server knows it no more.
        """
        if not self.current(attempt):
            return True
        self.heartbeat = details
        self._limit(TimeoutType.TIMEOUT_TYPE_HEARTBEAT, self.heartbeat_limit)
        return self.cancel_requested > 0

    def complete(self, attempt: int, result: Payload | None) -> None:
        """A worker reports a result."""
        if self.current(attempt):
            started = self._write_start()
            self._end(
                ActivityTaskCompletedEventAttributes(
                    result=None if result is None else Payloads(payloads=[result]),
                    scheduled_event_id=self.event.event_id,
                    started_event_id=started,
                    identity=IDENTITY,
                )
            )

    def fail(self, attempt: int, failure: Failure) -> None:
        """A worker reports a failure."""
        if not self.current(attempt):
            return
        state, delay = self._may_retry(failure)
        if delay is not None:
            self._again(failure, delay)
            return
        started = self._write_start()
        self._end(
            ActivityTaskFailedEventAttributes(
                failure=failure,
                scheduled_event_id=self.event.event_id,
                started_event_id=started,
                identity=IDENTITY,
                retry_state=state,
            )
        )

    def cancelled(self, attempt: int, details: Payloads | None) -> None:
        """A worker reports that the attempt let itself be cancelled."""
        if self.current(attempt):
            if not self.cancel_requested:
                self.fail(attempt, Failure(message="Cancelled without a request", source="Server"))
                return
            self._end_cancelled(self._write_start(), details)

    def request_cancel(self, task_completed: int) -> None:
        """The workflow requests its cancellation: heard at the next heartbeat, or at once while no attempt runs."""
        event = self.owner.write(
            ActivityTaskCancelRequestedEventAttributes(
                scheduled_event_id=self.event.event_id, workflow_task_completed_event_id=task_completed
            )
        )
        self.cancel_requested = event.event_id
        if not self.running:
            self.owner.afterwards(lambda: self._end_cancelled(0, None))

    def abandon(self) -> None:
        """Its run has closed: nobody waits for it any more."""
        self.ended = True
        self._stop()

    # --- ends -------------------------------------------------------------------------------------------------------

    def _may_retry(self, failure: Failure) -> tuple[RetryState.ValueType, timedelta | None]:
        """Why there is no further attempt, or after which time there is one."""
        policy = self.asked.retry_policy
        if self.cancel_requested:
            return RetryState.RETRY_STATE_CANCEL_REQUESTED, None
        if _final(failure, policy.non_retryable_error_types):
            return RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE, None
        if policy.maximum_attempts and self.attempt >= policy.maximum_attempts:
            return RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED, None
        delay = self._delay(failure)
        over = self.scheduled_at + self.schedule_to_close.total_seconds()
        if self.schedule_to_close and self.owner.loop.time() + delay.total_seconds() > over:
            return RetryState.RETRY_STATE_TIMEOUT, None
        return RetryState.RETRY_STATE_IN_PROGRESS, delay

    def _delay(self, failure: Failure) -> timedelta:
        info = failure.application_failure_info
        if failure.HasField("application_failure_info") and info.HasField("next_retry_delay"):
            return info.next_retry_delay.ToTimedelta()
        policy = self.asked.retry_policy
        longest = policy.maximum_interval.ToTimedelta()
        try:
            delay = policy.initial_interval.ToTimedelta() * policy.backoff_coefficient ** (self.attempt - 1)
        except OverflowError:
            return longest
        return min(delay, longest) if longest else delay

    def _again(self, failure: Failure, delay: timedelta) -> None:
        self.last_failure = failure
        self.started_at = None
        self.attempt += 1
        for kind in (TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, TimeoutType.TIMEOUT_TYPE_HEARTBEAT):
            self._unlimit(kind)
        self._retry = self.owner.loop.call_later(delay.total_seconds(), self._queue)
        self.owner.repeats(self)

    def _limit(self, kind: TimeoutType.ValueType, limit: timedelta) -> None:
        self._unlimit(kind)
        if limit > _ZERO:
            self._limits[kind] = self.owner.loop.call_later(limit.total_seconds(), self._passed, kind)

    def _unlimit(self, kind: TimeoutType.ValueType) -> None:
        if (handle := self._limits.pop(kind, None)) is not None:
            handle.cancel()

    def _passed(self, kind: TimeoutType.ValueType) -> None:
        """A time limit has passed."""
        self._limits.pop(kind, None)
        failure = timeout(kind, details=self.heartbeat)
        state = RetryState.RETRY_STATE_TIMEOUT
        if kind in (TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, TimeoutType.TIMEOUT_TYPE_HEARTBEAT):
            state, delay = self._may_retry(failure)
            if delay is not None:
                self._again(failure, delay)
                return
        if state == RetryState.RETRY_STATE_TIMEOUT and kind != TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
            failure = timeout(_WHOLE, details=self.heartbeat)
            failure.message = _NO_TIME_LEFT
        if self.last_failure is not None:
            failure.cause.CopyFrom(self.last_failure)
        started = self._write_start() if self.running else 0
        self._end(
            ActivityTaskTimedOutEventAttributes(
                failure=failure,
                scheduled_event_id=self.event.event_id,
                started_event_id=started,
                retry_state=state,
            )
        )

    def _write_start(self) -> int:
        """Write the start of the attempt that is the last; returns the event's id."""
        started = ActivityTaskStartedEventAttributes(
            scheduled_event_id=self.event.event_id,
            identity=IDENTITY,
            request_id=f"{self.event.event_id}-{self.attempt}",
            attempt=self.attempt,
            last_failure=self.last_failure,
        )
        return self.owner.write(started, at=self.started_at).event_id

    def _end_cancelled(self, started: int, details: Payloads | None) -> None:
        self._end(
            ActivityTaskCanceledEventAttributes(
                details=details,
                latest_cancel_requested_event_id=self.cancel_requested,
                scheduled_event_id=self.event.event_id,
                started_event_id=started,
                identity=IDENTITY,
            )
        )

    def _end(self, attributes: Any) -> None:
        self.ended = True
        self._stop()
        self.owner.write(attributes)
        if self.with_cancel is not None:
            self.with_cancel()
        self.owner.activity_ended(self)

    def _stop(self) -> None:
        for kind in tuple(self._limits):
            self._limits.pop(kind).cancel()
        if self._retry is not None:
            self._retry.cancel()


_WHOLE: Final = TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE

_NO_TIME_LEFT: Final = (
    "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
)
"""The server's words for an attempt that timed out too late for another one, and for the limit of all of them."""


def _final(failure: Failure, declared: Any) -> bool:
    """Whether a failure allows no further attempt."""
    if failure.HasField("application_failure_info"):
        info = failure.application_failure_info
        return info.non_retryable or info.type in declared
    if failure.HasField("timeout_failure_info"):
        kind = TimeoutType.Name(failure.timeout_failure_info.timeout_type)
        name = kind.removeprefix("TIMEOUT_TYPE_").title().replace("_", "")
        return f"TemporalTimeout:{name}" in declared
    return failure.HasField("terminated_failure_info") or failure.HasField("canceled_failure_info")
