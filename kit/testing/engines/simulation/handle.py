"""What one may do with a simulated run, as with a client's handle of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import WorkflowExecutionSignaledEventAttributes
from temporalio.api.update.v1 import Request
from temporalio.client import (
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import CancelledError, TerminatedError, TimeoutError, TimeoutType

from kit.testing.engines.simulation.bridge import Job, handler_name, result_type
from kit.testing.engines.simulation.execution import CLOSED, Execution
from kit.testing.engines.simulation.history import IDENTITY
from kit.testing.engines.simulation.replica import TaskFailed, UpdateRequest

if TYPE_CHECKING:
    from kit.testing.engines.simulation.server import SimulatedServer


class SimulatedHandle:
    """One run. All of it is done at once: where a coroutine is awaited, virtual time may pass."""

    def __init__(self, server: SimulatedServer, execution: Execution) -> None:
        self._server = server
        self.execution = execution

    @property
    def id(self) -> str:
        """The workflow id."""
        return self.execution.id

    @property
    def run_id(self) -> str:
        """The run id."""
        return self.execution.run_id

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.execution.open

    @property
    def closed_as(self) -> str | None:
        """How it ended, such as ``"failed"``; ``None`` while it is open."""
        return None if self.open else CLOSED[self.execution.closed.result().event_type]

    @property
    def stuck(self) -> str | None:
        """Why its workflow task fails again and again; ``None`` when it does not."""
        return self.execution.stuck

    def history(self) -> WorkflowHistory:
        """Its history so far, as the SDK's `Replayer` takes it."""
        return self.execution.log.exported(self.id)

    async def result(self, *, type: Any = None, follow_runs: bool = True) -> Any:
        """Wait for its end.

        Args:
            type: What the result is read as.
            follow_runs: Whether to wait for the run that it continues as.

        Raises:
            WorkflowFailureError: It did not complete.
            WorkflowContinuedAsNewError: It continues as another run, which is not followed.
        """
        execution = self.execution
        while True:
            event = await execution.closed
            if execution.next is None:
                break
            if not follow_runs:
                raise WorkflowContinuedAsNewError(execution.next.run_id)
            execution = execution.next
        match CLOSED[event.event_type]:
            case "completed":
                return self._read(event.workflow_execution_completed_event_attributes.result.payloads, type)
            case "failed":
                raise WorkflowFailureError(cause=self._error(event.workflow_execution_failed_event_attributes.failure))
            case "cancelled":
                raise WorkflowFailureError(cause=CancelledError("Workflow cancelled"))
            case "terminated":
                reason = event.workflow_execution_terminated_event_attributes.reason
                raise WorkflowFailureError(cause=TerminatedError(reason or "Workflow terminated"))
            case _:
                raise WorkflowFailureError(
                    cause=TimeoutError("Workflow timed out", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])
                )

    def cancel(self, reason: str = "") -> None:
        """Request its cancellation."""
        self.execution.cancel(reason)

    def terminate(self, reason: str = "") -> None:
        """End it without its knowing; nothing when it has ended."""
        if self.open:
            self.execution.terminate(reason)

    def signal(self, signal: Any, *args: Any) -> None:
        """Send a signal, by name or by its handler's method."""
        attributes = WorkflowExecutionSignaledEventAttributes(signal_name=handler_name(signal), identity=IDENTITY)
        if args:
            attributes.input.payloads.extend(self._converter.to_payloads(args))
        self.execution.happened(attributes)

    async def execute_update(self, update: Any, *args: Any, id: str | None = None) -> Any:
        """Send an update and wait for its outcome.

        Raises:
            WorkflowUpdateFailedError: It was rejected, or it failed.
        """
        sent = self.start_update(update, *args, id=id)
        done = await sent.done
        if isinstance(done, Failure):
            raise WorkflowUpdateFailedError(self._error(done))
        return self._read([done], result_type(update) if not isinstance(update, str) else None)

    def start_update(self, update: Any, *args: Any, id: str | None = None) -> Any:
        """Send an update without waiting; its ``heard`` and ``done`` are futures."""
        number = id or f"update-{len(self.execution.updates) + 1}"
        request = Request()
        request.meta.update_id = number
        request.meta.identity = IDENTITY
        request.input.name = handler_name(update)
        if args:
            request.input.args.payloads.extend(self._converter.to_payloads(args))
        return self.execution.update(UpdateRequest(number, request, len(self.execution.log.events)))

    def query(self, query: Any, *args: Any, type: Any = None) -> Any:
        """Ask the workflow; where the worker has forgotten the run, it is replayed for that.

        Raises:
            WorkflowQueryFailedError: The workflow does not know the question, or fails on it.
        """
        job = Job()
        job.query_workflow.query_id = "query"
        job.query_workflow.query_type = handler_name(query)
        if args:
            job.query_workflow.arguments.extend(self._converter.to_payloads(args))
        try:
            answer = self.execution.query(job)
        except TaskFailed as error:
            raise WorkflowQueryFailedError(str(error)) from error
        if answer.HasField("failed"):
            raise WorkflowQueryFailedError(answer.failed.message)
        kind = type or (result_type(query) if not isinstance(query, str) else None)
        return self._read([answer.succeeded.response], kind)

    def memo(self) -> dict[str, Any]:
        """Its memo now."""
        return {key: self._converter.from_payload(value) for key, value in self.execution.memo.fields.items()}

    @property
    def _converter(self) -> Any:
        return self._server.converter.payload_converter

    def _read(self, payloads: Sequence[Payload], kind: Any) -> Any:
        if not payloads:
            return None
        return self._converter.from_payloads(payloads, None if kind is None else [kind])[0]

    def _error(self, failure: Failure) -> BaseException:
        return self._server.converter.failure_converter.from_failure(failure, self._server.converter.payload_converter)
