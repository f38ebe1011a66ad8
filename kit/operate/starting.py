"""Start once: the run of a business event is named by the event, so a second delivery finds the first run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime

from kit.errors import DefinitionError
from kit.telemetry import Event, count, names, process_log

ResultT = TypeVar("ResultT")

_log: Final = process_log("kit.operate")


@dataclass(frozen=True, slots=True)
class Started(Generic[ResultT]):
    """The run of a business event.

    Attributes:
        handle: The run: wait for its result, query it, cancel it.
        duplicate: The event had come before; ``handle`` is the first delivery's run, open or closed.
    """

    handle: WorkflowHandle[Any, ResultT]
    duplicate: bool


async def start_once(
    client: Client,
    run: Callable[[Any, Any], Any],
    request: Any,
    *,
    id: str,
    task_queue: str,
    **options: Any,
) -> Started[Any]:
    """Start a workflow for a business event, unless an earlier delivery of the same event has.

    Guarantee: one run per ``id`` for as long as the server keeps closed runs (the namespace's retention), however
    often and from however many processes this is called, and whatever became of the first run. After that the ledger
    still keeps its effects to one, for as long as its own retention. Not guaranteed: that the second delivery carried
    the same request; it is not compared, and the first one counts.

    Args:
        client: A client with the kit's plugin.
        run: The workflow's run method, such as ``Checkout.run``.
        request: Its argument.
        id: The business event's own id, prefixed with what is done about it: ``"checkout-" + order_id``.
        task_queue: Where the service's workers take their tasks from.
        options: Further options of ``Client.start_workflow``, but for those that say what a second start means.

    Raises:
        DefinitionError: The id is empty, or an option contradicts starting once.
        RPCError: The server did not answer; whether the run has started is unknown, and calling again is safe.
    """
    if not id.strip():
        raise DefinitionError("start_once", rule=f"id={id!r} is empty", fix="use the business event's own id")
    if forbidden := sorted({"id_reuse_policy", "id_conflict_policy"} & set(options)):
        raise DefinitionError(
            "start_once",
            rule=f"{', '.join(forbidden)} would let a second run start",
            fix="drop it, or start it plainly",
        )
    try:
        handle = await client.start_workflow(
            run,
            request,
            id=id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            **options,
        )
    except WorkflowAlreadyStartedError as known:
        runtime = client.service_client.config.runtime or Runtime.default()
        count(runtime.metric_meter, names.STARTS_PREVENTED, workflow_type=known.workflow_type)
        _log.info(Event.START_PREVENTED, workflow_id=id, run_id=known.run_id)
        return Started(client.get_workflow_handle_for(run, id, run_id=known.run_id), duplicate=True)
    return Started(handle, duplicate=False)
