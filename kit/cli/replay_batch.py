"""``kit replay-batch``: re-drive past events, slowly, in order per entity, and go on after an interruption."""

from __future__ import annotations

import getpass
import json as jsons
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from kit.cli.discovery import operating
from kit.errors import DefinitionError
from kit.operate.replaying import Past, ReplayRefused, read_past, replay_batch
from kit.workflow.batches import REPLAY_WORKFLOW, Redriven, ReplayReport, ReplayRequest

Flag = Parameter(negative="")

_FINE = (Redriven.COMPLETED, Redriven.DUPLICATE, Redriven.DELIVERED, Redriven.LEFT_OUT)


async def replay_events(
    file: Path,
    /,
    *,
    why: str,
    name: str | None = None,
    who: str | None = None,
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    since: str | None = None,
    until: str | None = None,
    ledger_since: str | None = None,
    patience: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    workflow: str = REPLAY_WORKFLOW,
    yes: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Re-drive past events. Without ``--yes`` only says what would be done.

    The same command again goes on where an interrupted one stopped. The exit code is 1 when an event needs somebody, or
    the batch is refused.

    Args:
        file: One event per line, as JSON: workflow, workflow_id, entity, at, request; for entities also event.
        why: Why it is done; kept with the batch.
        name: Of the batch; by default the file's name and a digest of its events.
        who: Who asks; by default the user of this computer.
        rate: Events per second at most.
        since: Leave out what came before it, as in 2026-01-31T00:00:00Z.
        until: The cutoff: leave out what came at or after it.
        ledger_since: From when on the ledger knows every effect; by default for as long as it keeps rows.
        patience: Seconds to wait for one run before the later events of its entity are left for another batch.
        workflow: The type of a batch workflow of your own.
        yes: Do it.
        json: Print one JSON document.
    """
    past = read_past(file)
    request = ReplayRequest(
        name=name or f"{file.stem[:80]}-{past.digest}",
        who=who or getpass.getuser(),
        why=why,
        rate=rate,
        since=_instant("since", since),
        until=_instant("until", until),
        ledger_since=_instant("ledger-since", ledger_since),
        patience=timedelta(seconds=patience),
    )
    if not yes:
        _say(_plan(past, request) if not json else jsons.dumps(_counted(past, request), indent=2))
        return 0
    try:
        async with operating() as service:
            report = await replay_batch(
                service.client,
                past,
                request,
                task_queue=service.task_queue,
                workflow_type=workflow,
                progress=None if json else _progress,
            )
    except ReplayRefused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    _say(report.model_dump_json(indent=2) if json else _told(report))
    return 0 if all(fate in _FINE for fate in report.counts) else 1


def _instant(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return TypeAdapter(AwareDatetime).validate_python(text)
    except ValidationError as error:
        raise DefinitionError(
            f"--{option} {text!r}", rule="it is no instant with a time zone", fix="write it as 2026-01-31T00:00:00Z"
        ) from error


def _counted(past: Past, request: ReplayRequest) -> dict[str, object]:
    return {
        "name": request.name,
        "events": len(past.events),
        "within": sum(_within(request, event.at) for event in past.events),
        "workflows": past.workflows,
        "entities": past.entities,
        "duplicates": past.duplicates,
        "reordered": past.reordered,
        "seconds": len(past.events) / request.rate,
    }


def _within(request: ReplayRequest, at: datetime) -> bool:
    return (request.since is None or at >= request.since) and (request.until is None or at < request.until)


def _plan(past: Past, request: ReplayRequest) -> str:
    counted = _counted(past, request)
    types = ", ".join(f"{number:,} for {name}" for name, number in sorted(past.workflows.items())) or "none"
    return "\n".join(
        (
            f"Would replay batch {request.name!r}: {len(past.events):,} events about {past.entities:,} entities "
            f"({types}).",
            f"  left out: {len(past.events) - int(str(counted['within'])):,} outside the time span, "
            f"{past.duplicates:,} lines that say again what another says",
            f"  order: by time; {past.reordered:,} lines stood too late in the file",
            f"  speed: at most {request.rate:g} per second, so at least "
            f"{timedelta(seconds=round(len(past.events) / request.rate))}; behind live traffic",
            "An event whose run is known starts nothing, and an effect that the ledger knows does not happen again.",
            "Nothing was done. Add --yes to do it; the same command again goes on after an interruption.",
        )
    )


def _told(report: ReplayReport) -> str:
    counts = ", ".join(f"{number:,} {fate.value}" for fate, number in sorted(report.counts.items())) or "nothing"
    lines = [f"Batch {report.name!r}: {counts}."]
    lines += [
        f"  {remark.fate.value}: {remark.workflow_id} of {remark.entity}: {remark.why}" for remark in report.remarks
    ]
    if report.more:
        lines.append(f"  and {report.more:,} more; all of them are in the batch's history")
    return "\n".join(lines)


def _progress(handed_over: int, total: int) -> None:
    print(f"{handed_over:,} of {total:,} events handed over", file=sys.stderr)


def _say(text: str) -> None:
    print(text)
