"""Open an incident, walk it to its end, and close it with the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from kit.contract import Hold, HoldScope
from kit.errors import DefinitionError, KitError
from kit.operate.holds import hold_on, store_of
from kit.operate.service import Operating
from kit.workflow.incident import (
    ADVANCE_UPDATE,
    CLOSE_UPDATE,
    INCIDENT_QUERY,
    INCIDENT_WORKFLOW,
    NOTE_UPDATE,
    IncidentRecord,
    IncidentRequest,
    Word,
    line,
)
from kit.workflow.reporting import markdown


class IncidentRefused(KitError):
    """An incident does not do what was asked of it; the message says why. What was found is in its record."""


async def open_incident(operating: Operating, request: IncidentRequest) -> IncidentRecord:
    """Open an incident, with its holds on. They are switched on first: an incident that is open is contained.

    Raises:
        DefinitionError: A hold is not written as ``scope:name``.
        IncidentRefused: One of this title is open.
    """
    incident_id = incident_of(request.title)
    if not request.service:
        request = request.model_copy(update={"service": operating.task_queue})
    if await _is_open(operating, incident_id):
        raise IncidentRefused(f"{incident_id} is open: go on with it, or give this one another title")
    for hold in list(_holds(request, incident_id)):
        await hold_on(store_of(operating), hold)
    try:
        await operating.client.start_workflow(
            INCIDENT_WORKFLOW,
            request,
            id=incident_id,
            task_queue=operating.task_queue,
            static_summary=request.title,
        )
    except WorkflowAlreadyStartedError as error:
        raise IncidentRefused(f"{incident_id} is open: go on with it, or give this one another title") from error
    return await read_incident(operating, incident_id)


async def read_incident(operating: Operating, incident_id: str) -> IncidentRecord:
    """An incident's record, open or closed.

    Raises:
        IncidentRefused: There is none of that id.
    """
    try:
        record: IncidentRecord = await _handle(operating, incident_id).query(INCIDENT_QUERY, result_type=IncidentRecord)
    except RPCError as error:
        raise _unknown(incident_id, error) from error
    return record


async def note(operating: Operating, incident_id: str, word: Word) -> IncidentRecord:
    """Add a note to an incident's log."""
    return await _update(operating, incident_id, NOTE_UPDATE, word)


async def advance(operating: Operating, incident_id: str, word: Word) -> IncidentRecord:
    """Go to an incident's next stage; into ``reconcile`` by a reconciliation that repairs and asks.

    Raises:
        IncidentRefused: It is at its last stage, or the reconciliation could not be run.
    """
    return await _update(operating, incident_id, ADVANCE_UPDATE, word)


async def close(operating: Operating, incident_id: str, word: Word) -> IncidentRecord:
    """Close an incident, if at this moment everything holds and nothing is open.

    Raises:
        IncidentRefused: It cannot be closed: an invariant is violated or was not checked, a task is open, or one of its
            holds is on.
    """
    return await _update(operating, incident_id, CLOSE_UPDATE, word)


def story(record: IncidentRecord) -> str:
    """An incident as a page: where it stands, its log, and the reports it has collected."""
    return "\n".join(_lines(record)) + "\n"


def incident_of(title: str) -> str:
    """The workflow id of an incident, from its title."""
    return "incident-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80]


def _lines(record: IncidentRecord) -> Iterator[str]:
    request = record.request
    yield f"# {request.title}"
    yield ""
    yield f"`{record.id}` is at **{record.stage.value}**."
    if request.holds:
        yield f"It relies on the holds {', '.join(request.holds)}."
    yield ""
    yield from (f"- {line(one)}" for one in record.log)
    for evidence in record.evidence:
        yield ""
        yield f"Evidence at {evidence.at:%Y-%m-%d %H:%M:%S} UTC, in stage {evidence.stage.value}:"
        if evidence.open is not None:
            yield f"{len(evidence.open.tasks)} tasks open, {len(evidence.open.holds)} holds on."
        yield from (f"Refused: {reason}." for reason in evidence.refusals)
        yield ""
        yield markdown(evidence.report).rstrip()


def _holds(request: IncidentRequest, incident_id: str) -> Iterable[Hold]:
    for written in request.holds:
        scope, _, name = written.partition(":")
        if scope not in tuple(HoldScope) or not name:
            raise DefinitionError(
                f"hold {written!r}",
                rule="it is not written as scope:name",
                fix=f"use one of {', '.join(HoldScope)}, as in operation:payments.capture",
            )
        reason = f"{incident_id}: {request.title}"
        yield Hold(scope=HoldScope(scope), name=name, reason=reason, who=request.who, since=datetime.now(UTC))


async def _update(operating: Operating, incident_id: str, name: str, word: Word) -> IncidentRecord:
    try:
        record: IncidentRecord = await _handle(operating, incident_id).execute_update(
            name, word, result_type=IncidentRecord
        )
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        raise IncidentRefused(cause.message if isinstance(cause, ApplicationError) else str(cause)) from error
    except RPCError as error:
        raise _unknown(incident_id, error) from error
    return record


async def _is_open(operating: Operating, incident_id: str) -> bool:
    try:
        found = await _handle(operating, incident_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return found.status is WorkflowExecutionStatus.RUNNING


def _handle(operating: Operating, incident_id: str) -> WorkflowHandle[object, object]:
    return operating.client.get_workflow_handle(incident_id)


def _unknown(incident_id: str, error: RPCError) -> IncidentRefused:
    if error.status is RPCStatusCode.NOT_FOUND:
        return IncidentRefused(f"there is no open incident {incident_id!r}")
    raise error
