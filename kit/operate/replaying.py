"""Feeding a replay: reading what came in the past, and handing it over page by page, again after every interruption."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from kit.errors import DefinitionError, KitError
from kit.workflow.batches import (
    PAGE_UPDATE,
    REDRIVE_PRIORITY,
    REPLAY_QUERY,
    REPLAY_WORKFLOW,
    PastEvent,
    ReplayPage,
    ReplayReport,
    ReplayRequest,
    replay_id,
)

PAGE: Final = 100
"""Events in a page: some 100 kB with requests of 1 kB."""


@dataclass(frozen=True, slots=True)
class Past:
    """What came in the past, as it will be re-driven.

    Attributes:
        events: By time; at the same instant as they stand in the file.
        duplicates: How many lines said again what an earlier line had said, and are left out.
        reordered: How many lines stood before an earlier event's.
        digest: Of what the file says: the same events have the same.
    """

    events: tuple[PastEvent, ...]
    duplicates: int
    reordered: int
    digest: str

    @property
    def workflows(self) -> dict[str, int]:
        """Events by type of workflow."""
        return dict(Counter(event.workflow for event in self.events))

    @property
    def entities(self) -> int:
        """How many entities they are about."""
        return len({event.entity for event in self.events})


def read_past(file: Path) -> Past:
    """Read past events: one JSON document of `kit.workflow.PastEvent` per line.

    Two lines are the same event when all they say is the same. Two different lines may name one workflow id: for an
    entity that is the rule; for any other workflow the first one counts and the second finds its run.

    Raises:
        DefinitionError: A line is no event; names the line, what is wrong, and how a line looks.
    """
    events: dict[bytes, PastEvent] = {}
    lines = file.read_bytes().splitlines()
    written = reordered = 0
    latest = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = PastEvent.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise DefinitionError(
                f"line {number} of {file}",
                rule=f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}; it is {line[:120]!r}",
                fix='write {"workflow": ..., "workflow_id": ..., "entity": ..., "at": "2026-01-31T12:00:00Z", '
                '"request": {...}}',
            ) from error
        written += 1
        reordered += latest is not None and event.at < latest
        latest = event.at if latest is None else max(latest, event.at)
        said = json.dumps(event.model_dump(mode="json"), sort_keys=True).encode()
        events.setdefault(hashlib.sha256(said).digest(), event)
    return Past(
        events=tuple(sorted(events.values(), key=lambda event: event.at)),  # stable: the file's order at one instant
        duplicates=written - len(events),
        reordered=reordered,
        digest=hashlib.sha256(b"".join(sorted(events))).hexdigest()[:12],
    )


class ReplayRefused(KitError):
    """A batch cannot be fed: another process feeds it, or it is another batch of the same name."""


async def replay_batch(
    client: Client,
    past: Past,
    request: ReplayRequest,
    *,
    task_queue: str,
    workflow_type: str = REPLAY_WORKFLOW,
    page: int = PAGE,
    progress: Callable[[int, int], object] | None = None,
) -> ReplayReport:
    """Re-drive past events, or go on with a batch of this name that was interrupted. Returns when all is dealt with.

    Safe to kill at any point and to call again with the same arguments: the batch on the cluster knows which page comes
    next. What was handed over is re-driven even while nobody feeds.

    Args:
        client: With the kit's plugin.
        past: The events.
        request: The batch.
        task_queue: Where the service's workers take their tasks from.
        workflow_type: Of a subclass of `kit.workflow.ReplayWorkflow`.
        page: Events in a page; the same in every call for one batch.
        progress: Told after each page how many events were handed over, and of how many.

    Raises:
        ReplayRefused: A batch of this name was ended from outside, is another one, or is fed by another process.
        RPCError: The server did not answer; calling again goes on.
    """
    handle = await _begin(client, request, past, task_queue=task_queue, workflow_type=workflow_type)
    feeder = f"{socket.gethostname()}/{os.getpid()}"
    pages = [past.events[at : at + page] for at in range(0, len(past.events), page)] or [()]
    report: ReplayReport = await handle.query(REPLAY_QUERY, result_type=ReplayReport)
    number = report.next_page
    while number <= len(pages):
        given = ReplayPage(number=number, feeder=feeder, events=list(pages[number - 1]), last=number == len(pages))
        number = await _hand_over(handle, given)
        if progress is not None:
            progress(sum(len(each) for each in pages[: number - 1]), len(past.events))
    ended: ReplayReport = await handle.result()
    return ended


async def _begin(
    client: Client, request: ReplayRequest, past: Past, *, task_queue: str, workflow_type: str
) -> WorkflowHandle[object, ReplayReport]:
    """Start the batch, or find the one that was begun."""
    id = replay_id(request.name)
    handle = client.get_workflow_handle(id, result_type=ReplayReport)
    try:
        await client.start_workflow(
            workflow_type,
            request,
            id=id,
            task_queue=task_queue,
            memo={"kit.replay_digest": past.digest},
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            priority=Priority(priority_key=REDRIVE_PRIORITY),
            static_summary=f"Replay {request.name}: {len(past.events)} events, at most {request.rate:g} per second",
            static_details=f"**Asked by:** {request.who}\n\n**Why:** {request.why}",
        )
    except WorkflowAlreadyStartedError:
        found = await handle.describe()
        if await found.memo_value("kit.replay_digest", "") != past.digest:
            raise ReplayRefused(
                f"there has been a batch {request.name!r} of other events (run {found.run_id}): give this one another "
                "name"
            ) from None
        if found.status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
            raise ReplayRefused(
                f"batch {request.name!r} of these events has been ended from outside (run {found.run_id}): give "
                "another name to begin again; what is known to have happened is not started twice"
            ) from None
    return handle


async def _hand_over(handle: WorkflowHandle[object, ReplayReport], page: ReplayPage) -> int:
    """Hand a page over, however long the batch takes to have room. Returns the number of the page that comes next."""
    while True:
        try:
            following: int = await handle.execute_update(
                PAGE_UPDATE, page, id=f"page-{page.number}-{page.feeder}", result_type=int
            )
        except WorkflowUpdateFailedError as error:
            raise ReplayRefused(str(error.cause)) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # it has closed: this page was the last one, and its reply lost
                return page.number + 1
            raise
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            continue  # it waits for room; asking again under the same id is the same question
        else:
            return following
