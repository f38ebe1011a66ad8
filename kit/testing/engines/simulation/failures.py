"""Failures that the SDK's core words, as workflow code sees them."""

from __future__ import annotations

from typing import Any, Final

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure


def nondeterminism(why: str) -> Failure:
    """The workflow does something else than its history says."""
    return Failure(message=f"Nondeterminism error: {why}", source="simulation")


def activity_failure(remote: Any, message: str, *, cause: Failure | None, retry_state: RetryState.ValueType) -> Failure:
    """An activity that came to nothing."""
    failure = Failure(message=message)
    if cause is not None:
        failure.cause.CopyFrom(cause)
    info = failure.activity_failure_info
    info.activity_id = remote.asked.activity_id
    info.activity_type.name = remote.asked.activity_type
    info.scheduled_event_id = remote.event
    info.started_event_id = remote.started
    info.retry_state = retry_state
    return failure


def cancelled_activity(remote: Any, details: Payloads | None = None) -> Failure:
    """An activity that was cancelled."""
    cause = Failure()
    cause.canceled_failure_info.SetInParent()
    if details is not None and details.payloads:
        cause.canceled_failure_info.details.CopyFrom(details)
    state = RetryState.RETRY_STATE_CANCEL_REQUESTED
    return activity_failure(remote, "Activity cancelled", cause=cause, retry_state=state)


def child_failure(
    remote: Any,
    how: str,
    *,
    namespace: str,
    cause: Failure | None = None,
    retry_state: RetryState.ValueType | None = None,
) -> Failure:
    """A child workflow that came to nothing; ``how`` is how it ended."""
    failure = Failure(message=f"Child Workflow execution {how}")
    if cause is None:
        cause = _child_cause(how)
    failure.cause.CopyFrom(cause)
    _child_info(failure, remote, namespace)
    default = RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE
    failure.child_workflow_execution_failure_info.retry_state = default if retry_state is None else retry_state
    return failure


def _child_cause(how: str) -> Failure:
    cause = Failure()
    if how == "cancelled":
        cause.canceled_failure_info.SetInParent()
    elif how == "timed out":
        cause.message = "Timed out"
        cause.timeout_failure_info.timeout_type = TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    else:
        cause.message = "Terminated"
        cause.terminated_failure_info.SetInParent()
    return cause


def before_start(remote: Any, reason: str, namespace: str) -> Failure:
    """A child workflow that was cancelled before the server heard of it."""
    failure = Failure(message=f"Child Workflow Execution cancelled before scheduled: {reason}")
    failure.cause.canceled_failure_info.SetInParent()
    _child_info(failure, remote, namespace)
    failure.child_workflow_execution_failure_info.retry_state = RetryState.RETRY_STATE_NON_RETRYABLE_FAILURE
    return failure


def _child_info(failure: Failure, remote: Any, namespace: str) -> None:
    info = failure.child_workflow_execution_failure_info
    info.namespace = namespace
    info.workflow_execution.workflow_id = remote.asked.workflow_id
    info.workflow_execution.run_id = remote.run_id
    info.workflow_type.name = remote.asked.workflow_type
    info.initiated_event_id = remote.event
    info.started_event_id = remote.started


_NOT_FOUND: Final = {
    "signal": "Unable to signal external workflow because it was not found",
    "cancel": "Unable to cancel external workflow because not found",
}
"""The SDK's own words."""


def external_not_found(kind: str) -> Failure:
    """Another workflow was to be told something and is not there."""
    failure = Failure(message=_NOT_FOUND[kind], source="CoreSDK")
    failure.application_failure_info.type = "ExternalWorkflowExecutionNotFound"
    return failure


def timeout(kind: TimeoutType.ValueType, *, details: Payloads | None = None) -> Failure:
    """A time limit of an activity that passed, as the server words it, with what its last heartbeat said."""
    name = TimeoutType.Name(kind).removeprefix("TIMEOUT_TYPE_").title().replace("_", "")
    failure = Failure(message=f"activity {name} timeout", source="Server")
    failure.timeout_failure_info.timeout_type = kind
    if details is not None and details.payloads:
        failure.timeout_failure_info.last_heartbeat_details.CopyFrom(details)
    return failure
