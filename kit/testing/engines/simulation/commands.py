"""What the server makes of a workflow's commands: events, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads, RetryPolicy
from temporalio.api.enums.v1 import CommandType, ContinueAsNewInitiator, ParentClosePolicy, RetryState
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    MarkerRecordedEventAttributes,
    RequestCancelExternalWorkflowExecutionInitiatedEventAttributes,
    SignalExternalWorkflowExecutionInitiatedEventAttributes,
    StartChildWorkflowExecutionInitiatedEventAttributes,
    TimerCanceledEventAttributes,
    TimerFiredEventAttributes,
    TimerStartedEventAttributes,
    UpsertWorkflowSearchAttributesEventAttributes,
    WorkflowExecutionCanceledEventAttributes,
    WorkflowExecutionCompletedEventAttributes,
    WorkflowExecutionContinuedAsNewEventAttributes,
    WorkflowExecutionFailedEventAttributes,
    WorkflowExecutionUpdateAcceptedEventAttributes,
    WorkflowExecutionUpdateCompletedEventAttributes,
    WorkflowPropertiesModifiedEventAttributes,
)
from temporalio.api.update.v1 import Meta, Outcome

from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.history import IDENTITY
from kit.testing.engines.simulation.replica import Produced, Replied

if TYPE_CHECKING:
    from kit.testing.engines.simulation.execution import Execution

Carry = Callable[["Execution", Any, Command, int], None]


def carry_out(run: Execution, produced: Produced, *, completed: int) -> None:
    """Carry out what came of a workflow task.

    Args:
        run: The run.
        produced: Its commands and its answers to updates.
        completed: The event of the task's completion.
    """
    for command in produced.commands:
        if command.command_type == CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE:
            message = command.protocol_message_command_attributes.message_id
            _answer(run, produced.replies.pop(message))
        else:
            attributes = getattr(command, command.WhichOneof("attributes") or "")
            _CARRY[command.command_type](run, attributes, command, completed)
    for reply in produced.replies.values():
        _rejected(run, reply)


# --- updates --------------------------------------------------------------------------------------------------------


def _answer(run: Execution, reply: Replied) -> None:
    update = run.updates[reply.id]
    if reply.accepted:
        request = update.request
        event = run.log.add(
            WorkflowExecutionUpdateAcceptedEventAttributes(
                protocol_instance_id=request.id,
                accepted_request_message_id=f"{request.id}/request",
                accepted_request_sequencing_event_id=max(1, _last_task_scheduled(run)),
                accepted_request=request.request,
            )
        )
        update.accepted_event = event.event_id
        update.heard.set_result(None)
        return
    outcome = Outcome()
    if reply.completed is not None:
        outcome.success.payloads.append(reply.completed)
    elif reply.rejected is not None:
        outcome.failure.CopyFrom(reply.rejected)
    run.log.add(
        WorkflowExecutionUpdateCompletedEventAttributes(
            meta=Meta(update_id=reply.id, identity=IDENTITY),
            outcome=outcome,
            accepted_event_id=update.accepted_event,
        )
    )
    result = reply.completed if reply.completed is not None else reply.rejected
    if result is not None and not update.done.done():
        update.done.set_result(result)


def _last_task_scheduled(run: Execution) -> int:
    for event in reversed(run.log.events):
        if event.HasField("workflow_task_started_event_attributes"):
            return event.workflow_task_started_event_attributes.scheduled_event_id
    return 0


def _rejected(run: Execution, reply: Replied) -> None:
    """A rejected update leaves no trace."""
    update = run.updates.pop(reply.id)
    if reply.rejected is not None:
        update.heard.set_result(None)
        update.done.set_result(reply.rejected)


# --- activities and timers ------------------------------------------------------------------------------------------


def _schedule_activity(run: Execution, given: Any, command: Command, completed: int) -> None:
    run_limit = run.started.workflow_run_timeout.ToTimedelta()
    attributes = ActivityTaskScheduledEventAttributes(
        activity_id=given.activity_id,
        activity_type=given.activity_type,
        task_queue=given.task_queue,
        header=given.header,
        input=given.input if given.input.payloads else None,
        heartbeat_timeout=given.heartbeat_timeout,
        workflow_task_completed_event_id=completed,
        retry_policy=_defaults(given.retry_policy),
        priority=given.priority,
        use_workflow_build_id=True,
    )
    close = given.schedule_to_close_timeout.ToTimedelta() or run_limit
    start = given.schedule_to_start_timeout.ToTimedelta() or close
    attempt = given.start_to_close_timeout.ToTimedelta() or close
    if close:
        start, attempt = min(start, close), min(attempt, close)
    attributes.schedule_to_close_timeout.FromTimedelta(close)
    attributes.schedule_to_start_timeout.FromTimedelta(start)
    attributes.start_to_close_timeout.FromTimedelta(attempt)
    event = run.log.add(attributes, metadata=_metadata(command), groups=command.event_group_markers)
    run.activities[event.event_id] = Activity(run, event)
    run.server.scheduled(run, event)


def _defaults(given: RetryPolicy) -> RetryPolicy:
    """The server's defaults for what a retry policy does not say."""
    policy = RetryPolicy()
    policy.CopyFrom(given)
    if not policy.initial_interval.ToTimedelta():
        policy.initial_interval.FromTimedelta(timedelta(seconds=1))
    if not policy.backoff_coefficient:
        policy.backoff_coefficient = 2.0
    if not policy.maximum_interval.ToTimedelta():
        policy.maximum_interval.FromTimedelta(100 * policy.initial_interval.ToTimedelta())
    return policy


def _metadata(command: Command) -> Any:
    return command.user_metadata if command.HasField("user_metadata") else None


def _cancel_activity(run: Execution, given: Any, command: Command, completed: int) -> None:
    activity = run.activities.get(given.scheduled_event_id)
    if activity is not None:
        activity.request_cancel(completed)


def _start_timer(run: Execution, given: Any, command: Command, completed: int) -> None:
    event = run.log.add(
        TimerStartedEventAttributes(
            timer_id=given.timer_id,
            start_to_fire_timeout=given.start_to_fire_timeout,
            workflow_task_completed_event_id=completed,
        ),
        metadata=_metadata(command),
        groups=command.event_group_markers,
    )
    delay = given.start_to_fire_timeout.ToNanoseconds() / 1e9
    handle = run.loop.call_later(delay, _fire, run, given.timer_id)
    run.timers[given.timer_id] = (event.event_id, handle)


def _fire(run: Execution, timer_id: str) -> None:
    started, _ = run.timers.pop(timer_id)
    run.happened(TimerFiredEventAttributes(timer_id=timer_id, started_event_id=started))


def _cancel_timer(run: Execution, given: Any, command: Command, completed: int) -> None:
    started, handle = run.timers.pop(given.timer_id)
    handle.cancel()
    run.log.add(
        TimerCanceledEventAttributes(
            timer_id=given.timer_id,
            started_event_id=started,
            workflow_task_completed_event_id=completed,
            identity=IDENTITY,
        )
    )


# --- other workflows ------------------------------------------------------------------------------------------------


def _start_child(run: Execution, given: Any, command: Command, completed: int) -> None:
    event = run.log.add(
        StartChildWorkflowExecutionInitiatedEventAttributes(
            namespace=given.namespace,
            namespace_id=given.namespace,
            workflow_id=given.workflow_id,
            workflow_type=given.workflow_type,
            task_queue=given.task_queue,
            input=given.input if given.input.payloads else None,
            workflow_execution_timeout=given.workflow_execution_timeout,
            workflow_run_timeout=given.workflow_run_timeout,
            workflow_task_timeout=given.workflow_task_timeout,
            parent_close_policy=given.parent_close_policy or _TERMINATE,
            workflow_task_completed_event_id=completed,
            workflow_id_reuse_policy=given.workflow_id_reuse_policy,
            retry_policy=given.retry_policy if given.HasField("retry_policy") else None,
            header=given.header,
            memo=given.memo if given.HasField("memo") else None,
            search_attributes=given.search_attributes if given.HasField("search_attributes") else None,
            priority=given.priority if given.HasField("priority") else None,
        ),
        metadata=_metadata(command),
        groups=command.event_group_markers,
    )
    run.starting[event.event_id] = None
    run.server.turns.soon(lambda: run.server.start_child(run, event))


_TERMINATE: Final = ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE
"""What becomes of a child when its parent closes, unless the parent says otherwise."""


def _signal_external(run: Execution, given: Any, command: Command, completed: int) -> None:
    event = run.log.add(
        SignalExternalWorkflowExecutionInitiatedEventAttributes(
            workflow_task_completed_event_id=completed,
            namespace=given.namespace,
            workflow_execution=given.execution,
            signal_name=given.signal_name,
            input=given.input if given.input.payloads else None,
            child_workflow_only=given.child_workflow_only,
            header=given.header,
        ),
        groups=command.event_group_markers,
    )
    run.server.turns.soon(lambda: run.server.signal_external(run, event))


def _cancel_external(run: Execution, given: Any, command: Command, completed: int) -> None:
    event = run.log.add(
        RequestCancelExternalWorkflowExecutionInitiatedEventAttributes(
            workflow_task_completed_event_id=completed,
            namespace=given.namespace,
            workflow_execution={"workflow_id": given.workflow_id, "run_id": given.run_id},  # type: ignore[arg-type]  # protobuf takes a mapping
            child_workflow_only=given.child_workflow_only,
            reason=given.reason,
        )
    )
    run.server.turns.soon(lambda: run.server.cancel_external(run, event))


# --- the run itself -------------------------------------------------------------------------------------------------


def _marker(run: Execution, given: Any, command: Command, completed: int) -> None:
    run.log.add(
        MarkerRecordedEventAttributes(
            marker_name=given.marker_name, details=given.details, workflow_task_completed_event_id=completed
        )
    )


def _search_attributes(run: Execution, given: Any, command: Command, completed: int) -> None:
    for name, payload in given.search_attributes.indexed_fields.items():
        run.search_attributes.indexed_fields[name].CopyFrom(payload)
    run.log.add(
        UpsertWorkflowSearchAttributesEventAttributes(
            workflow_task_completed_event_id=completed, search_attributes=given.search_attributes
        )
    )


def _memo(run: Execution, given: Any, command: Command, completed: int) -> None:
    for name, payload in given.upserted_memo.fields.items():
        if payload.metadata.get("encoding") == b"binary/null":
            run.memo.fields.pop(name, None)
        else:
            run.memo.fields[name].CopyFrom(payload)
    run.log.add(
        WorkflowPropertiesModifiedEventAttributes(
            workflow_task_completed_event_id=completed, upserted_memo=given.upserted_memo
        )
    )


def _complete(run: Execution, given: Any, command: Command, completed: int) -> None:
    run.close(
        WorkflowExecutionCompletedEventAttributes(result=given.result, workflow_task_completed_event_id=completed)
    )


def _fail(run: Execution, given: Any, command: Command, completed: int) -> None:
    run.close(
        WorkflowExecutionFailedEventAttributes(
            failure=given.failure,
            retry_state=RetryState.RETRY_STATE_RETRY_POLICY_NOT_SET,
            workflow_task_completed_event_id=completed,
        )
    )


def _cancelled(run: Execution, given: Any, command: Command, completed: int) -> None:
    details: Payloads | None = given.details if given.HasField("details") else None
    run.close(WorkflowExecutionCanceledEventAttributes(details=details, workflow_task_completed_event_id=completed))


def _continue_as_new(run: Execution, given: Any, command: Command, completed: int) -> None:
    started = run.started
    run.close(
        WorkflowExecutionContinuedAsNewEventAttributes(
            new_execution_run_id=run.server.next_run_id(),
            workflow_type=given.workflow_type if given.workflow_type.name else started.workflow_type,
            task_queue=given.task_queue if given.task_queue.name else started.task_queue,
            input=given.input if given.input.payloads else None,
            workflow_run_timeout=_first(given, started, "workflow_run_timeout"),
            workflow_task_timeout=_first(given, started, "workflow_task_timeout"),
            workflow_task_completed_event_id=completed,
            backoff_start_interval=given.backoff_start_interval,
            initiator=_BY_WORKFLOW,
            header=given.header,
            memo=given.memo if given.memo.fields else started.memo,
            search_attributes=given.search_attributes if given.HasField("search_attributes") else run.search_attributes,
        )
    )


_BY_WORKFLOW: Final = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW


def _first(given: Any, started: Any, field: str) -> Any:
    return getattr(given, field) if given.HasField(field) else getattr(started, field)


_CARRY: Final[dict[int, Carry]] = {
    CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK: _schedule_activity,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK: _cancel_activity,
    CommandType.COMMAND_TYPE_START_TIMER: _start_timer,
    CommandType.COMMAND_TYPE_CANCEL_TIMER: _cancel_timer,
    CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION: _start_child,
    CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION: _signal_external,
    CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION: _cancel_external,
    CommandType.COMMAND_TYPE_RECORD_MARKER: _marker,
    CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: _search_attributes,
    CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES: _memo,
    CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION: _complete,
    CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION: _fail,
    CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION: _cancelled,
    CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: _continue_as_new,
}
