"""``kit reconcile``: compare the systems of a service now, or on a schedule, and write the report."""

from __future__ import annotations

import getpass
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number
from temporalio.client import WorkflowFailureError

from kit.cli.discovery import find_workflows, operating
from kit.errors import DefinitionError
from kit.operate.reconciling import check_names, reconciliation_of, schedule_reconciliation, start_reconciliation
from kit.workflow import ReconciliationReport, ReconciliationRequest, ReconciliationWorkflow
from kit.workflow.reporting import markdown

OFF: Final = "off"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Flag = Parameter(negative="")


async def reconcile(
    *,
    invariant: Annotated[list[str] | None, Parameter(negative="")] = None,
    workflow: str | None = None,
    look: Annotated[bool, Flag] = False,
    at_most: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    rate: Annotated[int, Parameter(validator=Number(gt=0))] = 600,
    schedule: str | None = None,
    report: Path | None = None,
    who: str | None = None,
    why: str = "asked for on the command line",
    list: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Compare the systems of the service, repair what a rule decides, ask about the rest, and print the report.

    The exit code is 0 when every invariant was checked and holds, else 1.

    Args:
        invariant: Only this one, by its name; may be given several times.
        workflow: The reconciliation's workflow type, where the service has several.
        look: Only look: nothing is repaired and nobody is asked.
        at_most: The most repairs of each kind, where that is to differ from what the rules say.
        rate: The most questions a minute to the systems.
        schedule: Do it every 15m (s, m, h, d) from now on instead of now, or "off".
        report: A folder, in which report.md and report.json are written.
        who: Who asks; by default the user of this computer.
        why: Why; kept with the run.
        list: List the invariants instead.
        json: Print one JSON document.
    """
    found = reconciliation_of(find_workflows(), workflow)
    if list:
        return _list(found)
    request = ReconciliationRequest(
        invariants=tuple(invariant or ()),
        repair=not look,
        at_most=at_most,
        calls_a_minute=rate,
        who=who or getpass.getuser(),
        why=why,
    )
    check_names(found, request.invariants)
    if schedule is not None:
        every = None if schedule == OFF else _duration(schedule)
        async with operating() as service:
            schedule_id = await schedule_reconciliation(service, found, request, every=every)
        print(f"{schedule_id}: {'off' if every is None else f'every {every}'}")
        return 0
    try:
        async with operating() as service:
            result = await (await start_reconciliation(service, found, request)).result()
    except WorkflowFailureError as error:
        print(f"the reconciliation did not end: {error.cause}", file=sys.stderr)
        return 1
    if report is not None:
        _write(result, report)
    print(result.model_dump_json(indent=2) if json else markdown(result).rstrip())
    return 0 if result.holds else 1


def _list(found: type[ReconciliationWorkflow]) -> int:
    for each in found.__reconciliation__.invariants:
        repair = "asks" if each.repair is None else f"repairs by {each.repair.operation.name}, or asks"
        print(f"{each.name}\n  {each.severity}, {each.owner}: {each.left.name} with {each.right.name}; {repair}")
    return 0


def _duration(text: str) -> timedelta:
    written = re.fullmatch(r"(\d+)([smhd])", text)
    if written is None:
        raise DefinitionError(f"--schedule {text!r}", rule="it is no time", fix="write e.g. 15m, 1h, 1d, or off")
    return timedelta(**{_UNITS[written[2]]: int(written[1])})


def _write(result: ReconciliationReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(result), encoding="utf-8")
    (folder / "report.json").write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
