"""Submit: start once, and tell the caller how it stands: completed, or accepted and certain to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from kit.contract import FailureKind
from kit.operate.starting import start_once
from kit.workflow import SUMMARY_QUERY, RunSummary, Status

ResultT = TypeVar("ResultT")

DEFAULT_PATIENCE: Final = timedelta(seconds=5)
"""How long a caller waits when nothing is said."""

_BETWEEN_LOOKS: Final = 0.2
"""Seconds between two looks at a run that has not ended yet. A run that ends ends the wait at once."""

_ANSWERS_WITHIN: Final = timedelta(seconds=1)
"""How long a worker may take to say how a run stands; nobody waits for one that is not there."""


class SubmitState(StrEnum):
    """How what was submitted stands when the caller hears of it."""

    COMPLETED = "completed"
    """Everything is done."""
    ACCEPTED = "accepted"
    """It is durable and will go on by itself: a hold delays it, or it takes longer than the caller waits."""


@dataclass(frozen=True, slots=True)
class Submitted(Generic[ResultT]):
    """What became of a submission.

    Attributes:
        handle: The run.
        duplicate: The same event had been submitted before; this tells of its first run.
        state: How it stands.
        committed: The business result stands; at most what was held back for it is still to come.
        held: A hold is what it waits for.
        result: What the workflow returned; ``None`` while it is accepted.
    """

    handle: WorkflowHandle[Any, ResultT]
    duplicate: bool
    state: SubmitState
    committed: bool
    held: bool
    result: ResultT | None = None


async def submit(
    client: Client,
    run: Callable[[Any, Any], Any],
    request: Any,
    *,
    id: str,
    task_queue: str,
    patience: timedelta = DEFAULT_PATIENCE,
    **options: Any,
) -> Submitted[Any]:
    """Start a workflow once, and wait until it has completed or can only be told to be accepted.

    A caller hears ``accepted`` at once when a hold keeps a step waiting, and after ``patience`` in any case. It costs
    the run no event: what is looked at is what Temporal and the run say anyway.

    Args:
        client: A client with the kit's plugin.
        run: The workflow's run method, such as ``Checkout.run``.
        request: Its argument.
        id: The business event's own id, as for `start_once`.
        task_queue: Where the service's workers take their tasks from.
        patience: How long to wait for the end.
        options: Further options of ``Client.start_workflow``.

    Raises:
        DefinitionError: As `start_once`.
        StartHeld: A hold refuses new runs; nothing was started.
        WorkflowFailureError: The run ended without its business result, undone or cancelled; its cause says why.
        RPCError: The server did not answer; submitting again is safe.
    """
    started = await start_once(client, run, request, id=id, task_queue=task_queue, **options)
    loop = asyncio.get_running_loop()
    over = loop.time() + patience.total_seconds()
    ending = asyncio.ensure_future(started.handle.result())
    held = False
    try:
        while not held and (left := over - loop.time()) > 0:
            await asyncio.wait([ending], timeout=min(left, _BETWEEN_LOOKS))
            if ending.done():
                return Submitted(
                    started.handle,
                    started.duplicate,
                    SubmitState.COMPLETED,
                    committed=True,
                    held=False,
                    result=ending.result(),
                )
            held = await _is_held(started.handle)
    finally:
        ending.cancel()
    committed = await _is_committed(started.handle)
    return Submitted(started.handle, started.duplicate, SubmitState.ACCEPTED, committed=committed, held=held)


async def _is_held(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether a step of a run waits for the end of a hold, by the server's own account."""
    description = await handle.describe()
    failures = (pending.last_failure for pending in description.raw_description.pending_activities)
    return any(failure.application_failure_info.type.endswith(f".{FailureKind.HELD.value}") for failure in failures)


async def _is_committed(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether a run's business result stands; not, as long as no worker can be asked."""
    try:
        summary: RunSummary = await handle.query(SUMMARY_QUERY, result_type=RunSummary, rpc_timeout=_ANSWERS_WITHIN)
    except RPCError:
        return False
    return summary.status in (Status.COMMITTED, Status.COMPLETED)
