"""``kit unwind``: undo what closed runs have done."""

from __future__ import annotations

import getpass
import json as documents
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.discovery import operating
from kit.errors import DefinitionError
from kit.operate import Operating
from kit.operate.unwind_report import document, markdown, told, told_plan
from kit.operate.unwinding import Plan, State, Target, Unwinding, plan, target_of, targets

unwind = App(name="unwind", help="Undo what closed runs have done.")

Flag = Parameter(negative="")

_CLEAN = frozenset({State.UNWOUND, State.NOTHING})


@unwind.default
async def unwind_runs(
    workflow_id: str | None = None,
    *,
    query: str | None = None,
    run_id: str | None = None,
    yes: Annotated[bool, Flag] = False,
    why: str = "",
    who: str | None = None,
    rate: float = 5.0,
    at_once: int = 10,
    limit: int = 1000,
    report: tuple[Path, ...] = (),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Undo what closed runs have done, in reverse, from the ledger. Without --yes: say what would be undone, and how.

    Safe to interrupt and to run again: what is undone is not undone twice. The exit code is 0 when nothing is left, 1
    when something is: refused, left in place, or waiting for a person.

    Args:
        workflow_id: Of one run.
        query: Several runs instead: a visibility query, such as "WorkflowType = 'Checkout' AND StartTime > '...'".
            Open runs are never among them.
        run_id: Only what this run of the workflow id has done, and those it was continued from or as.
        yes: Carry it out.
        why: Why; kept in the history of every unwind. Needed with --yes.
        who: Who asks; by default the user of this machine.
        rate: At most so many unwinds are started in a second.
        at_once: At most so many are waited for at once.
        limit: At most so many runs are looked at.
        report: Write what was done into this file: JSON if it ends in .json, else Markdown. May be repeated.
        json: Print one JSON document.
    """
    if (workflow_id is None) == (query is None):
        raise DefinitionError(
            "kit unwind", rule="it takes a workflow id or a query, one of them", fix="write kit unwind WORKFLOW_ID"
        )
    if yes and not why.strip():
        raise DefinitionError(
            "kit unwind --yes", rule=f"why={why!r} is empty", fix="say why: --why 'build 7f3 charged twice'"
        )
    async with operating() as service:
        plans = await plan(service, await _targets(service, workflow_id, query, run_id, limit=limit))
        unwinding = Unwinding(service, who=who or getpass.getuser(), why=why, rate=rate, at_once=at_once)
        try:
            if yes:
                await unwinding.run(plans)
        finally:  # also when it is interrupted: what is known then is worth knowing
            _tell(plans, unwinding, carried_out=yes, files=report, as_json=json)
    if not yes:
        return 0
    return 0 if all(fate.state in _CLEAN for fate in unwinding.fates) else 1


async def _targets(
    service: Operating, workflow_id: str | None, query: str | None, run_id: str | None, *, limit: int
) -> list[Target]:
    if workflow_id is not None:
        return [await target_of(service, workflow_id, run_id=run_id)]
    return [target async for target in targets(service, query or "", limit=limit)]


def _tell(
    plans: Sequence[Plan], unwinding: Unwinding, *, carried_out: bool, files: Sequence[Path], as_json: bool
) -> None:
    at = datetime.now(UTC)
    facts = {"who": unwinding.who, "why": unwinding.why, "at": at}
    found = documents.dumps(document(plans, unwinding.fates, **facts), indent=2)  # type: ignore[arg-type] # three kinds
    for file in files:
        text = found if file.suffix == ".json" else markdown(unwinding.fates, **facts)  # type: ignore[arg-type] # same
        file.write_text(text, encoding="utf-8")
    if as_json:
        print(found)
        return
    for line in told(unwinding.fates) if carried_out else told_plan(plans):
        print(line)
    if not carried_out:
        print("Nothing has been done. To carry it out, add --yes --why '...'")
    elif (left := len(plans) - len(unwinding.fates)) > 0:
        print(f"Interrupted: of {left} runs nothing is known here. Run the same command again to go on.")
