"""The first job of a run: everything its start event says."""

from __future__ import annotations

from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from kit.testing.engines.simulation.bridge import Job
from kit.testing.engines.simulation.seeds import randomness_seed

_SAME: Final = (
    "workflow_execution_timeout",
    "workflow_run_timeout",
    "workflow_task_timeout",
    "continued_failure",
    "last_completion_result",
    "retry_policy",
    "memo",
    "search_attributes",
    "priority",
)
"""Fields that the start event and the job have under the same name."""


def initialize(event: HistoryEvent) -> Job:
    """The job that starts a workflow."""
    attributes = event.workflow_execution_started_event_attributes
    job = Job()
    init = job.initialize_workflow
    init.workflow_type = attributes.workflow_type.name
    init.workflow_id = attributes.workflow_id
    init.arguments.extend(attributes.input.payloads)
    init.randomness_seed = randomness_seed(attributes.original_execution_run_id)
    init.identity = attributes.identity
    init.attempt = attributes.attempt
    init.first_execution_run_id = attributes.first_execution_run_id
    init.original_execution_run_id = attributes.original_execution_run_id
    init.continued_from_execution_run_id = attributes.continued_execution_run_id
    init.continued_initiator = attributes.initiator
    init.start_time.CopyFrom(event.event_time)
    for field in _SAME:
        if attributes.HasField(field):
            getattr(init, field).CopyFrom(getattr(attributes, field))
    for name, payload in attributes.header.fields.items():
        init.headers[name].CopyFrom(payload)
    if attributes.HasField("parent_workflow_execution"):
        parent = init.parent_workflow_info
        parent.namespace = attributes.parent_workflow_namespace
        parent.workflow_id = attributes.parent_workflow_execution.workflow_id
        parent.run_id = attributes.parent_workflow_execution.run_id
    if attributes.HasField("root_workflow_execution"):
        init.root_workflow.CopyFrom(attributes.root_workflow_execution)
    return job
