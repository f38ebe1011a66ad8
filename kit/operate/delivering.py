"""Delivering change events to entities: from outside, and without waiting for a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy

from kit.errors import DefinitionError
from kit.workflow import EVENT_SIGNAL, Entity, EntityEvent


async def deliver(
    client: Client,
    run: Callable[[Any, Any], Any],
    entity: Entity[Any],
    event: EntityEvent[Any],
    *,
    id: str,
    task_queue: str,
    **options: Any,
) -> WorkflowHandle[Any, Any]:
    """Send an entity a change event, and start the entity if it is not there: one request, a signal-with-start.

    Guarantee: when it returns, the event is durable, whether a worker is up or not. Sending it again, for as long as
    the entity lives, changes nothing: the entity knows it. Not guaranteed: that it has been applied; the update
    ``kit_apply`` of the handle waits for that.

    Args:
        client: A client with the kit's plugin.
        run: The entity's run method, such as ``CrmSync.run``.
        entity: What an entity begins with that is not there yet; of no account where one is.
        event: The change.
        id: The entity's workflow id, built from its business id: ``"crm-sync-" + account_id``.
        task_queue: Where the service's workers take their tasks from.
        options: Further options of ``Client.start_workflow``.

    Returns:
        The entity: its latest run, whichever that is.

    Raises:
        DefinitionError: The id is empty.
        StartHeld: A hold refuses to start the entity; the event was not delivered.
        RPCError: The server did not answer; whether the event was taken in is unknown, and sending it again is safe.
    """
    if not id.strip():
        raise DefinitionError("deliver", rule=f"id={id!r} is empty", fix="build it from the entity's business id")
    await client.start_workflow(
        run,
        entity,
        id=id,
        task_queue=task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal=EVENT_SIGNAL,
        start_signal_args=[event],
        **options,
    )
    return client.get_workflow_handle_for(run, id)
