"""``kit incident``: open an incident, walk it from stage to stage, and close it with the evidence."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.discovery import find_workflows, operating
from kit.operate.incident import IncidentRefused, advance, close, note, open_incident, read_incident, story
from kit.operate.reconciling import check_names, reconciliation_of, type_of
from kit.operate.service import Operating
from kit.workflow.incident import IncidentRecord, IncidentRequest, Word

incident = App(name="incident", help="Walk an incident: contain, restore, reconcile, verify, closed.")

Flag = Parameter(negative="")
Who = Annotated[str | None, Parameter()]


@incident.command(name="open")
async def open_(
    title: str,
    /,
    *,
    why: str,
    who: Who = None,
    invariant: Annotated[list[str] | None, Parameter(negative="")] = None,
    hold: Annotated[list[str] | None, Parameter(negative="")] = None,
    workflow: str | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Open an incident, at the stage "contain".

    Args:
        title: What is wrong.
        why: How it was noticed.
        who: Who opens it; by default the user of this computer.
        invariant: What must hold at its end, by name; may be given several times. By default every invariant.
        hold: A hold to be switched on, as in operation:payments.capture; may be given several times.
        workflow: The reconciliation's workflow type, where the service has several.
        json: Print one JSON document.
    """
    found = reconciliation_of(find_workflows(), workflow)
    check_names(found, invariant or ())
    request = IncidentRequest(
        title=title,
        who=who or getpass.getuser(),
        why=why,
        reconciliation=type_of(found),
        invariants=tuple(invariant or ()),
        holds=tuple(hold or ()),
    )
    return await _told(lambda service: open_incident(service, request), json=json)


@incident.command
async def status(incident_id: str, /, *, json: Annotated[bool, Flag] = False) -> int:
    """Print how an incident stands: its log and its evidence.

    Args:
        incident_id: As "open" has printed it.
        json: Print one JSON document.
    """
    return await _told(lambda service: read_incident(service, incident_id), json=json)


@incident.command(name="note")
async def add_note(incident_id: str, text: str, /, *, who: Who = None, json: Annotated[bool, Flag] = False) -> int:
    """Add a note to an incident's log.

    Args:
        incident_id: Which incident.
        text: What is to be remembered.
        who: Who says so; by default the user of this computer.
        json: Print one JSON document.
    """
    word = Word(who=who or getpass.getuser(), why=text)
    return await _told(lambda service: note(service, incident_id, word), json=json)


@incident.command(name="advance")
async def go_on(incident_id: str, /, *, why: str, who: Who = None, json: Annotated[bool, Flag] = False) -> int:
    """Go to the next stage. Entering "reconcile" runs the reconciliation, which repairs and asks.

    Args:
        incident_id: Which incident.
        why: What has been done.
        who: Who says so; by default the user of this computer.
        json: Print one JSON document.
    """
    word = Word(who=who or getpass.getuser(), why=why)
    return await _told(lambda service: advance(service, incident_id, word), json=json)


@incident.command(name="close")
async def end(incident_id: str, /, *, why: str, who: Who = None, json: Annotated[bool, Flag] = False) -> int:
    """Close an incident. Refused, with exit code 1, while an invariant is violated, a task is open, or its hold is on.

    Args:
        incident_id: Which incident.
        why: What makes it over.
        who: Who says so; by default the user of this computer.
        json: Print one JSON document.
    """
    word = Word(who=who or getpass.getuser(), why=why)
    return await _told(lambda service: close(service, incident_id, word), json=json)


async def _told(ask: Callable[[Operating], Awaitable[IncidentRecord]], *, json: bool) -> int:
    try:
        async with operating() as service:
            record = await ask(service)
    except IncidentRefused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(record.model_dump_json(indent=2) if json else story(record).rstrip())
    return 0
