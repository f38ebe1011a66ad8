"""What an activity finds as its worker's client: looking at runs of the simulated server, and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, NoReturn

from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import WorkflowExecution, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from kit.testing.engines.simulation.execution import CLOSED, Execution
from kit.testing.engines.simulation.refusals import refused

if TYPE_CHECKING:
    from kit.testing.engines.simulation.server import SimulatedServer

_CHILDREN: Final = re.compile(r"ParentWorkflowId = '((?:[^']|'')*)'\Z")
"""The one visibility query that is understood."""

_STATUS: Final = {
    "completed": Status.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    "failed": Status.WORKFLOW_EXECUTION_STATUS_FAILED,
    "cancelled": Status.WORKFLOW_EXECUTION_STATUS_CANCELED,
    "terminated": Status.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    "continued as new": Status.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
    "timed out": Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
}


class SimulatedClient:
    """A client of the simulated server, as far as it is simulated: descriptions of runs, and lists of children.

    Visibility is never behind here, as a real one may be. Everything else is refused: it would leave the process.
    """

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server

    def __getattr__(self, name: str) -> NoReturn:
        error = refused(f"a client in an activity (activity.client().{name})")
        self._server.loop.fail(error)
        raise error

    def get_workflow_handle(self, workflow_id: str) -> _Described:
        """The latest run of a workflow id, to be described."""
        return _Described(self._server, workflow_id)

    async def list_workflows(self, query: str) -> AsyncIterator[WorkflowExecution]:
        """The children of a run, latest first."""
        asked = _CHILDREN.match(query)
        if asked is None:
            error = refused(f"the visibility query {query!r} in an activity")
            self._server.loop.fail(error)
            raise error
        parent = asked[1].replace("''", "'")
        for run in reversed(self._server.executions):
            if run.parent is not None and run.parent.execution.id == parent:
                yield WorkflowExecution._from_raw_info(
                    _info(run), namespace=self._server.worker.namespace, converter=self._server.converter
                )


class _Described:
    """The handle of a run that can only be described."""

    def __init__(self, server: SimulatedServer, workflow_id: str) -> None:
        self._server = server
        self._id = workflow_id

    async def describe(self) -> WorkflowExecutionDescription:
        """Describe the latest run.

        Raises:
            RPCError: There is none.
        """
        try:
            run = self._server.handle(self._id).execution
        except KeyError:
            raise RPCError(f"workflow not found for ID: {self._id}", RPCStatusCode.NOT_FOUND, b"") from None
        return await WorkflowExecutionDescription._from_raw_description(
            DescribeWorkflowExecutionResponse(workflow_execution_info=_info(run)),
            namespace=self._server.worker.namespace,
            converter=self._server.converter,
        )


def _info(run: Execution) -> Any:
    info = WorkflowExecutionInfo(status=Status.WORKFLOW_EXECUTION_STATUS_RUNNING, memo=run.memo)
    info.execution.workflow_id, info.execution.run_id = run.id, run.run_id
    info.type.name = run.type
    info.start_time.CopyFrom(run.first.event_time)
    info.history_length = len(run.log.events)
    info.first_run_id = run.started.first_execution_run_id
    if run.parent is not None:
        above = run.parent.execution
        info.parent_execution.workflow_id, info.parent_execution.run_id = above.id, above.run_id
    if not run.open:
        event = run.closed.result()
        info.close_time.CopyFrom(event.event_time)
        info.status = _STATUS[CLOSED[event.event_type]]
    return info
