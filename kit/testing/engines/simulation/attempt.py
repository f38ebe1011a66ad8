"""An attempt of an activity as its worker makes it: real code and interceptors, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, timedelta
from typing import Any, Final

import temporalio.exceptions
from temporalio.activity import ActivityCancellationDetails, Info
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.common import Priority, RetryPolicy
from temporalio.converter import DataConverter
from temporalio.testing import ActivityEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.bridge import COMPLETED_ELSEWHERE
from kit.testing.engines.simulation.refusals import refused
from kit.testing.wire import WorkerLost

current_activity: Final[ContextVar[Activity]] = ContextVar("current_activity")
"""The activity whose attempt is running here."""

THROTTLE: Final = 0.8
"""The part of the heartbeat timeout for which a worker holds further heartbeats back (the SDK's core)."""

DEFAULT_THROTTLE: Final = timedelta(seconds=30)
"""How long it holds them back where there is no heartbeat timeout."""

LONGEST_THROTTLE: Final = timedelta(seconds=60)

GRACE: Final = timedelta(seconds=5)
"""How long after its time limit a worker lets an attempt run before it cancels it (the SDK's core)."""


class _Inbound(ActivityInboundInterceptor):
    """The innermost: calls the activity."""

    def __init__(self) -> None:  # deliberately not the base class's, which wants a next one
        self.outbound: ActivityOutboundInterceptor | None = None

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self.outbound = outbound

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        result = input.fn(*input.args)
        return await result if asyncio.iscoroutine(result) else result


class _Outbound(ActivityOutboundInterceptor):
    """The innermost on the way out."""

    def __init__(self, info: Info, heartbeat: Callable[..., None]) -> None:
        self._info = info
        self._heartbeat = heartbeat

    def info(self) -> Info:
        return self._info

    def heartbeat(self, *details: Any) -> None:
        self._heartbeat(*details)


class Attempt:
    """One attempt.

    Args:
        activity: Of which activity.
        definition: What the SDK knows of its function; ``None`` when the worker has none of that name.
        converter: Of payloads and failures.
        interceptors: The worker's, outermost first.
        workflow: The id, run id and type of its run.
        client: What it finds as its worker's client.
    """

    def __init__(
        self,
        activity: Activity,
        definition: Any,
        *,
        converter: DataConverter,
        interceptors: Sequence[Interceptor],
        workflow: tuple[str, str, str],
        namespace: str,
        task_queue: str,
        client: Any,
    ) -> None:
        self._activity = activity
        self._number = activity.attempt
        self._definition = definition
        self._converter = converter
        self._interceptors = interceptors
        self._workflow = workflow
        self._namespace = namespace
        self._task_queue = task_queue
        self._environment = ActivityEnvironment(client=client)
        self._loop = activity.owner.loop
        self._beaten: Payloads | None = None
        self._hold: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._by_request = False

    async def run(self) -> None:
        """Make it, and report what came of it."""
        current_activity.set(self._activity)
        limit = self._activity.start_to_close
        self._watch = self._loop.call_later((limit + GRACE).total_seconds(), self._overdue) if limit else None
        lost = False
        try:
            result = await self._executed()
            payload = self._converter.payload_converter.to_payloads([result])[0]
        except asyncio.CancelledError as error:
            self._report(error)
            if not self._environment._cancelled:
                raise  # the whole simulation ends, and this attempt with it
        except WorkerLost:
            lost = True  # nobody is left who could report it
        except COMPLETED_ELSEWHERE:
            self._loop.fail(refused(f"{self._activity.asked.activity_type.name!r}, completed from elsewhere,"))
        except Exception as error:  # a worker reports whatever an activity raises
            self._report(error)
        else:
            self._flush()
            self._activity.complete(self._number, payload)
        finally:
            if not lost:  # of which the SDK's core would still send what it holds back
                self._let_go()

    def _let_go(self) -> None:
        for handle in (self._watch, self._hold):
            if handle is not None:
                handle.cancel()

    async def _executed(self) -> Any:
        asked = self._activity.asked
        if self._definition is None:
            raise temporalio.exceptions.ApplicationError(
                f"Activity function {asked.activity_type.name} is not registered on this worker", type="NotFoundError"
            )
        info = self._info()
        environment = self._environment
        environment.info = info
        environment.payload_converter = self._converter.payload_converter
        arguments = self._arguments()

        async def execute() -> Any:
            root = _Inbound()
            inbound: ActivityInboundInterceptor = root
            for interceptor in reversed(self._interceptors):
                inbound = interceptor.intercept_activity(inbound)
            inbound.init(_Outbound(info, self._beat))
            if root.outbound is not None:
                environment.on_heartbeat = root.outbound.heartbeat
            given = ExecuteActivityInput(
                fn=self._definition.fn, args=arguments, executor=None, headers=asked.header.fields
            )
            return await inbound.execute_activity(given)

        return await environment.run(execute)

    def _arguments(self) -> list[Any]:
        payloads = self._activity.asked.input.payloads
        types = self._definition.arg_types
        if types is not None and len(types) != len(payloads):
            types = None
        try:
            return self._converter.payload_converter.from_payloads(payloads, types) if payloads else []
        except Exception as error:
            raise temporalio.exceptions.ApplicationError("Failed decoding arguments") from error

    def _info(self) -> Info:
        activity, asked = self._activity, self._activity.asked
        workflow_id, run_id, workflow_type = self._workflow
        now = self._loop.now()
        beaten = activity.heartbeat
        details = self._converter.payload_converter.from_payloads(beaten.payloads) if beaten else []
        return Info(
            activity_id=asked.activity_id,
            activity_type=asked.activity_type.name,
            attempt=activity.attempt,
            current_attempt_scheduled_time=now - timedelta(seconds=self._loop.time() - activity.queued_at),
            heartbeat_details=details,
            heartbeat_timeout=activity.heartbeat_limit or None,
            is_local=False,
            namespace=self._namespace,
            schedule_to_close_timeout=activity.schedule_to_close or None,
            scheduled_time=activity.event.event_time.ToDatetime(tzinfo=UTC),
            start_to_close_timeout=activity.start_to_close or None,
            started_time=now,
            task_queue=self._task_queue,
            task_token=f"{run_id}-{activity.event.event_id}-{activity.attempt}".encode(),
            workflow_id=workflow_id,
            workflow_namespace=self._namespace,
            workflow_run_id=run_id,
            workflow_type=workflow_type,
            priority=Priority._from_proto(asked.priority),
            retry_policy=RetryPolicy.from_proto(asked.retry_policy),
        )

    # --- reports ----------------------------------------------------------------------------------------------------

    def _report(self, error: BaseException) -> None:
        if not self._activity.current(self._number):
            return
        self._flush()
        cancelled = isinstance(error, asyncio.CancelledError | temporalio.exceptions.CancelledError)
        if cancelled and self._by_request:
            self._activity.cancelled(self._number, None)
            return
        failure = Failure()
        _untraced(error)
        self._converter.failure_converter.to_failure(error, self._converter.payload_converter, failure)
        self._activity.fail(self._number, failure)

    def _beat(self, *details: Any) -> None:
        """Pass a heartbeat on, or hold it back for a while after the last one."""
        self._beaten = Payloads(payloads=self._converter.payload_converter.to_payloads(details))
        if self._hold is None:
            self._send()

    def _send(self) -> None:
        self._hold = None
        if self._beaten is None:
            return
        details, self._beaten = self._beaten, None
        limit = self._activity.heartbeat_limit
        hold = min(limit * THROTTLE, LONGEST_THROTTLE) if limit else DEFAULT_THROTTLE
        self._hold = self._loop.call_later(hold.total_seconds(), self._send)
        if self._activity.beat(self._number, details):
            self._cancel()

    def _flush(self) -> None:
        """What was held back reaches the server before the report does."""
        if self._beaten is not None:
            self._activity.beat(self._number, self._beaten)
            self._beaten = None

    def _cancel(self) -> None:
        self._by_request = self._activity.current(self._number)
        details = ActivityCancellationDetails(cancel_requested=self._by_request, not_found=not self._by_request)
        self._environment.cancel(details)

    def _overdue(self) -> None:
        self._environment.cancel(ActivityCancellationDetails(timed_out=True))
        self._let_go()


def _untraced(error: BaseException) -> None:
    """Take the stack traces from an error and from what led to it: formatting them is a quarter of a failing run.

    Nothing reads them in a history: a workflow never sees them, and the story names the line of a bug itself.
    """
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            waiting += (one.__cause__, one.__context__)
