"""From the commands that workflow code gives to those that the server is given, each with what its event must say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

Key = tuple[object, ...]
"""What must be the same in a command and in the event that came of it, when a history is replayed."""

PATCH_MARKER: Final = "core_patch"
"""The name of the marker of `workflow.patched`."""

_PATCH_DATA: Final = "patch-data"
CHANGE_VERSION: Final = "TemporalChangeVersion"
"""The search attribute in which the SDK lists the patches of a run."""


@dataclass(slots=True)
class Issued:
    """A command, on its way to the server and back as an event.

    Attributes:
        command: For the server.
        key: What its event must say.
        kind: What the workflow's sequence number numbers, such as ``"activity"``; empty for nothing.
        number: That number.
        dropped: Cancelled before it was sent: the server never sees it.
    """

    command: Command
    key: Key
    kind: str = ""
    number: int = 0
    dropped: bool = False


def patch_of(event: HistoryEvent) -> tuple[str, bool] | None:
    """The patch a marker tells of, and whether it is deprecated; ``None`` for another event."""
    if event.event_type != EventType.EVENT_TYPE_MARKER_RECORDED:
        return None
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != PATCH_MARKER:
        return None
    data = json.loads(marker.details[_PATCH_DATA].payloads[0].data)
    return data["id"], data["deprecated"]


def _named(given: Any, command: Command) -> Command:
    if given.HasField("user_metadata"):
        command.user_metadata.CopyFrom(given.user_metadata)
    if given.event_group_markers:
        command.event_group_markers.extend(given.event_group_markers)
    return command


def activity(given: Any) -> Issued:
    """Schedule an activity."""
    asked = given.schedule_activity
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_id = asked.activity_id
    attributes.activity_type.name = asked.activity_type
    attributes.task_queue.name = asked.task_queue
    attributes.input.payloads.extend(asked.arguments)
    for name, payload in asked.headers.items():
        attributes.header.fields[name].CopyFrom(payload)
    for field in _TIMEOUTS:
        if asked.HasField(field):
            getattr(attributes, field).CopyFrom(getattr(asked, field))
    if asked.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(asked.retry_policy)
    if asked.HasField("priority"):
        attributes.priority.CopyFrom(asked.priority)
    key = (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, asked.activity_id, asked.activity_type)
    return Issued(_named(given, command), key, "activity", asked.seq)


_TIMEOUTS: Final = (
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "start_to_close_timeout",
    "heartbeat_timeout",
)


def cancel_activity(scheduled_event_id: int) -> Issued:
    """Request an activity's cancellation."""
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK)
    command.request_cancel_activity_task_command_attributes.scheduled_event_id = scheduled_event_id
    return Issued(command, (EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, scheduled_event_id))


def timer(given: Any) -> Issued:
    """Start a timer."""
    asked = given.start_timer
    command = Command(command_type=CommandType.COMMAND_TYPE_START_TIMER)
    command.start_timer_command_attributes.timer_id = str(asked.seq)
    command.start_timer_command_attributes.start_to_fire_timeout.CopyFrom(asked.start_to_fire_timeout)
    return Issued(_named(given, command), (EventType.EVENT_TYPE_TIMER_STARTED, str(asked.seq)), "timer", asked.seq)


def cancel_timer(number: int) -> Issued:
    """Cancel a timer."""
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_TIMER)
    command.cancel_timer_command_attributes.timer_id = str(number)
    return Issued(command, (EventType.EVENT_TYPE_TIMER_CANCELED, str(number)))


def child(given: Any) -> Issued:
    """Start a child workflow."""
    asked = given.start_child_workflow_execution
    command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    attributes = command.start_child_workflow_execution_command_attributes
    attributes.namespace = asked.namespace
    attributes.workflow_id = asked.workflow_id
    attributes.workflow_type.name = asked.workflow_type
    attributes.task_queue.name = asked.task_queue
    attributes.input.payloads.extend(asked.input)
    attributes.parent_close_policy = asked.parent_close_policy
    attributes.workflow_id_reuse_policy = asked.workflow_id_reuse_policy
    for field in (*_RUN_TIMEOUTS, "retry_policy", "search_attributes", "priority"):
        if asked.HasField(field):
            getattr(attributes, field).CopyFrom(getattr(asked, field))
    for name, payload in asked.headers.items():
        attributes.header.fields[name].CopyFrom(payload)
    for name, payload in asked.memo.items():
        attributes.memo.fields[name].CopyFrom(payload)
    key = (EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, asked.workflow_id, asked.workflow_type)
    return Issued(_named(given, command), key, "child", asked.seq)


_RUN_TIMEOUTS: Final = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout")


def cancel_external(
    workflow_id: str, run_id: str, *, namespace: str, reason: str, child: bool, number: int = 0
) -> Issued:
    """Request the cancellation of another workflow."""
    command = Command(command_type=CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.request_cancel_external_workflow_execution_command_attributes
    attributes.namespace = namespace
    attributes.workflow_id = workflow_id
    attributes.run_id = run_id
    attributes.reason = reason
    attributes.child_workflow_only = child
    key = (EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, workflow_id)
    return Issued(command, key, "" if child else "cancel", number)


def signal_external(given: Any, *, namespace: str) -> Issued:
    """Signal another workflow."""
    asked = given.signal_external_workflow_execution
    command = Command(command_type=CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)
    attributes = command.signal_external_workflow_execution_command_attributes
    attributes.namespace = namespace
    attributes.signal_name = asked.signal_name
    attributes.input.payloads.extend(asked.args)
    attributes.child_workflow_only = asked.WhichOneof("target") == "child_workflow_id"
    attributes.execution.workflow_id = asked.child_workflow_id or asked.workflow_execution.workflow_id
    attributes.execution.run_id = asked.workflow_execution.run_id
    for name, payload in asked.headers.items():
        attributes.header.fields[name].CopyFrom(payload)
    key = (
        EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
        attributes.execution.workflow_id,
        asked.signal_name,
    )
    return Issued(_named(given, command), key, "signal", asked.seq)


def patch(patch_id: str, *, deprecated: bool) -> Issued:
    """Record that a patch is in use."""
    command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
    attributes = command.record_marker_command_attributes
    attributes.marker_name = PATCH_MARKER
    attributes.details[_PATCH_DATA].CopyFrom(Payloads(payloads=[_json({"id": patch_id, "deprecated": deprecated})]))
    return Issued(command, (EventType.EVENT_TYPE_MARKER_RECORDED, patch_id))


def patches_in_use(patches: list[str]) -> Issued:
    """List the patches of the run where operators search."""
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    payload = _json(patches)
    payload.metadata["type"] = b"KeywordList"
    fields = command.upsert_workflow_search_attributes_command_attributes.search_attributes.indexed_fields
    fields[CHANGE_VERSION].CopyFrom(payload)
    return Issued(command, (EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,))


def _json(value: Any) -> Payload:
    data = json.dumps(value, separators=(",", ":")).encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def search_attributes(given: Any) -> Issued:
    """Change search attributes."""
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    command.upsert_workflow_search_attributes_command_attributes.search_attributes.CopyFrom(
        given.upsert_workflow_search_attributes.search_attributes
    )
    return Issued(_named(given, command), (EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,))


def memo(given: Any) -> Issued:
    """Change the memo."""
    command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    command.modify_workflow_properties_command_attributes.upserted_memo.CopyFrom(
        given.modify_workflow_properties.upserted_memo
    )
    return Issued(_named(given, command), (EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,))


def message(message_id: str, key: Key) -> Issued:
    """Mark the place of a message, the answer to an update, among the commands."""
    command = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
    command.protocol_message_command_attributes.message_id = message_id
    return Issued(command, key)


def complete(given: Any) -> Issued:
    """End the run with a result."""
    command = Command(command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION)
    attributes = command.complete_workflow_execution_command_attributes
    asked = given.complete_workflow_execution
    attributes.result.payloads.extend([asked.result] if asked.HasField("result") else [])
    return Issued(command, (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,))


def fail(given: Any) -> Issued:
    """End the run with a failure."""
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.CopyFrom(given.fail_workflow_execution.failure)
    return Issued(command, (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,))


def cancelled(given: Any) -> Issued:
    """End the run as cancelled."""
    command = Command(command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION)
    command.cancel_workflow_execution_command_attributes.SetInParent()
    return Issued(command, (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,))


def continue_as_new(given: Any) -> Issued:
    """End the run and go on as a new one. What is not said is taken over from this one by the server."""
    asked = given.continue_as_new_workflow_execution
    command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
    attributes = command.continue_as_new_workflow_execution_command_attributes
    attributes.workflow_type.name = asked.workflow_type
    attributes.task_queue.name = asked.task_queue
    attributes.input.payloads.extend(asked.arguments)
    for field in ("workflow_run_timeout", "workflow_task_timeout", "backoff_start_interval"):
        if asked.HasField(field):
            getattr(attributes, field).CopyFrom(getattr(asked, field))
    for field in ("retry_policy", "search_attributes"):
        if asked.HasField(field):
            getattr(attributes, field).CopyFrom(getattr(asked, field))
    for name, payload in asked.headers.items():
        attributes.header.fields[name].CopyFrom(payload)
    for name, payload in asked.memo.items():
        attributes.memo.fields[name].CopyFrom(payload)
    return Issued(command, (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,))


TERMINAL: Final[dict[str, Callable[[Any], Issued]]] = {
    "complete_workflow_execution": complete,
    "fail_workflow_execution": fail,
    "cancel_workflow_execution": cancelled,
    "continue_as_new_workflow_execution": continue_as_new,
}
"""Commands that end the run, by their name in the bridge."""


def _patch_key(event: HistoryEvent) -> Key:
    found = patch_of(event)
    return (EventType.EVENT_TYPE_MARKER_RECORDED, found[0] if found else None)


_KEYS: Final[dict[int, Callable[[HistoryEvent], Key]]] = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: lambda e: (
        e.event_type,
        e.activity_task_scheduled_event_attributes.activity_id,
        e.activity_task_scheduled_event_attributes.activity_type.name,
    ),
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: lambda e: (
        e.event_type,
        e.activity_task_cancel_requested_event_attributes.scheduled_event_id,
    ),
    EventType.EVENT_TYPE_TIMER_STARTED: lambda e: (e.event_type, e.timer_started_event_attributes.timer_id),
    EventType.EVENT_TYPE_TIMER_CANCELED: lambda e: (e.event_type, e.timer_canceled_event_attributes.timer_id),
    EventType.EVENT_TYPE_MARKER_RECORDED: _patch_key,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: lambda e: (
        e.event_type,
        e.start_child_workflow_execution_initiated_event_attributes.workflow_id,
        e.start_child_workflow_execution_initiated_event_attributes.workflow_type.name,
    ),
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: lambda e: (
        e.event_type,
        e.signal_external_workflow_execution_initiated_event_attributes.workflow_execution.workflow_id,
        e.signal_external_workflow_execution_initiated_event_attributes.signal_name,
    ),
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: lambda e: (
        e.event_type,
        e.request_cancel_external_workflow_execution_initiated_event_attributes.workflow_execution.workflow_id,
    ),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: lambda e: (
        e.event_type,
        e.workflow_execution_update_accepted_event_attributes.protocol_instance_id,
    ),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: lambda e: (
        e.event_type,
        e.workflow_execution_update_completed_event_attributes.meta.update_id,
    ),
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: lambda e: (e.event_type,),
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: lambda e: (e.event_type,),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: lambda e: (e.event_type,),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: lambda e: (e.event_type,),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: lambda e: (e.event_type,),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: lambda e: (e.event_type,),
}

COMMANDED: Final = frozenset(_KEYS)
"""Types of events that come of a command."""


def key_of(event: HistoryEvent) -> Key:
    """What the command must have said of which this event came."""
    return _KEYS[event.event_type](event)
