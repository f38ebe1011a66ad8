"""What a workflow asks of the server, in words: the same words for a command of the code and for a recorded event."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

PATCH_MARKER: Final = "core_patch"
LOCAL_MARKER: Final = "core_local_activity"
_PATCHES: Final = "TemporalChangeVersion"
"""The search attribute that the SDK writes with a patch's marker."""


@dataclass(frozen=True, slots=True)
class Activity:
    """How an activity was, or would be, scheduled.

    Attributes:
        id: The activity's id in its run: the number of the ask, from 1.
        name: Its type.
        arguments: As documents; what is not JSON is shown as ``<encoding, n bytes>``.
        options: Timeouts in seconds and retry rules, by name; what is not set is not there.
    """

    id: str
    name: str
    arguments: list[Any]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that the workflow asks for.

    Attributes:
        verb: What, such as ``"schedule"``.
        what: Of what, such as an activity's type. Two asks are the same when both are.
        event: The id of the event that recorded it; 0 for a command.
        activity: The activity, when one is scheduled.
    """

    verb: str
    what: str = ""
    event: int = field(default=0, compare=False)
    activity: Activity | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Such as ``schedule payments.capture``."""
        return f"{self.verb} {self.what}".strip()


def commanded(commands: Iterable[WorkflowCommand]) -> list[Ask]:
    """What the code asks for, in order; answers to queries and updates, and what only cancels, are left out."""
    return [ask for command in commands if (ask := _command(command)) is not None]


def recorded(events: Iterable[HistoryEvent]) -> dict[int, list[Ask]]:
    """What was asked for by the workflow tasks of a history, by the id of the event at which each was taken up."""
    listed = list(events)
    started = {
        event.event_id: event.workflow_task_completed_event_attributes.started_event_id
        for event in listed
        if event.HasField("workflow_task_completed_event_attributes")
    }
    found: dict[int, list[Ask]] = {task: [] for task in started.values()}
    for event in listed:
        name = event.WhichOneof("attributes")
        told = getattr(event, name) if name else None
        task = started.get(getattr(told, "workflow_task_completed_event_id", 0))
        if task is not None and (ask := _event(event, name or "", told)) is not None:
            found[task].append(ask)
    return found


def _command(command: WorkflowCommand) -> Ask | None:
    kind = command.WhichOneof("variant")
    told: Any = getattr(command, kind) if kind else None
    match kind:
        case "schedule_activity":
            activity = Activity(
                str(told.seq), told.activity_type, [document(p) for p in told.arguments], _options(told)
            )
            return Ask("schedule", told.activity_type, activity=activity)
        case "schedule_local_activity":
            return Ask("schedule locally", told.activity_type)
        case "start_timer":
            return Ask("start a timer of", _duration(told.start_to_fire_timeout.ToTimedelta()))
        case "start_child_workflow_execution":
            return Ask("start the child workflow", told.workflow_type)
        case "signal_external_workflow_execution":
            return Ask("signal another workflow:", told.signal_name)
        case "set_patch_marker":
            return Ask("record the patch", repr(told.patch_id))
        case "modify_workflow_properties":
            return Ask("change the memo", ", ".join(sorted(told.upserted_memo.fields)))
        case "upsert_workflow_search_attributes":
            return Ask("change search attributes", ", ".join(sorted(told.search_attributes.indexed_fields)))
        case "schedule_nexus_operation":
            return Ask("call the Nexus operation", f"{told.service}.{told.operation}")
        case _:
            return Ask(_CLOSING[kind]) if kind in _CLOSING else None


def _event(event: HistoryEvent, name: str, told: Any) -> Ask | None:
    at = event.event_id
    match name.removesuffix("_event_attributes"):
        case "activity_task_scheduled":
            arguments = [document(payload) for payload in told.input.payloads]
            activity = Activity(told.activity_id, told.activity_type.name, arguments, _options(told))
            return Ask("schedule", told.activity_type.name, at, activity)
        case "timer_started":
            return Ask("start a timer of", _duration(told.start_to_fire_timeout.ToTimedelta()), at)
        case "start_child_workflow_execution_initiated":
            return Ask("start the child workflow", told.workflow_type.name, at)
        case "signal_external_workflow_execution_initiated":
            return Ask("signal another workflow:", told.signal_name, at)
        case "marker_recorded":
            return _marker(told, at)
        case "workflow_properties_modified":
            return Ask("change the memo", ", ".join(sorted(told.upserted_memo.fields)), at)
        case "upsert_workflow_search_attributes":
            names = sorted(told.search_attributes.indexed_fields)
            return None if _PATCHES in names else Ask("change search attributes", ", ".join(names), at)
        case "nexus_operation_scheduled":
            return Ask("call the Nexus operation", f"{told.service}.{told.operation}", at)
        case short:
            return Ask(_CLOSED[short], event=at) if short in _CLOSED else None


def _marker(told: Any, at: int) -> Ask | None:
    details = told.details
    if told.marker_name == PATCH_MARKER:
        data = document(details["patch-data"].payloads[0]) if "patch-data" in details else {}
        return Ask("record the patch", repr(data.get("id", "")), at)
    if told.marker_name == LOCAL_MARKER:
        data = document(details["data"].payloads[0]) if "data" in details else {}
        return Ask("schedule locally", str(data.get("activity_type", "")), at)
    return None


_CLOSING: Final = {
    "complete_workflow_execution": "complete the workflow",
    "fail_workflow_execution": "fail the workflow",
    "cancel_workflow_execution": "close the workflow as cancelled",
    "continue_as_new_workflow_execution": "continue as new",
}
_CLOSED: Final = {
    "workflow_execution_completed": "complete the workflow",
    "workflow_execution_failed": "fail the workflow",
    "workflow_execution_canceled": "close the workflow as cancelled",
    "workflow_execution_continued_as_new": "continue as new",
}


def _options(told: Any) -> dict[str, Any]:
    """The options that the code decides. What the server fills in by itself is not compared."""
    found: dict[str, Any] = {}
    for name in ("start_to_close_timeout", "schedule_to_close_timeout", "heartbeat_timeout"):
        seconds = getattr(told, name).ToTimedelta().total_seconds()
        if seconds:
            found[name] = seconds
    if told.HasField("retry_policy"):
        policy = told.retry_policy
        found["retry_policy"] = {
            "initial_interval": policy.initial_interval.ToTimedelta().total_seconds(),
            "backoff_coefficient": policy.backoff_coefficient,
            "maximum_interval": policy.maximum_interval.ToTimedelta().total_seconds(),
            "maximum_attempts": policy.maximum_attempts,
            "non_retryable_error_types": sorted(policy.non_retryable_error_types),
        }
    return found


def document(payload: Payload) -> Any:
    """A payload as a document."""
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass  # shown as what it is not: text
    return f"<{encoding or 'no encoding'}, {len(payload.data)} bytes>"


def _duration(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
