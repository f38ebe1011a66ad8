"""A reconciliation's report in Markdown: for the Temporal UI, for an incident, for a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from kit.contract import Record
from kit.workflow.findings import Checked, Finding, ReconciliationReport, Standing

MOST_SHOWN: Final = 100
"""How many findings are written out; the JSON has all that the run has kept."""


def markdown(report: ReconciliationReport) -> str:
    """The report as a page: the verdict, what was compared, each invariant, each finding with its evidence."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: ReconciliationReport) -> Iterator[str]:
    ended = "still at work" if report.ended_at is None else f"ended {_time(report.ended_at)}"
    yield f"# Reconciliation {report.workflow_id}"
    yield ""
    yield f"**{_verdict(report)}** Asked for by {report.who}: {report.why}. Began {_time(report.started_at)}, {ended}."
    yield "It repaired what it could." if report.repairing else "It only looked."
    yield ""
    yield "| invariant | severity | owner | result | repaired | asked | in flight |"
    yield "|---|---|---|---|---|---|---|"
    for each in report.invariants:
        numbers = [each.findings.get(one, 0) for one in (Standing.REPAIRED, Standing.ASKED, Standing.IN_FLIGHT)]
        cells = (each.invariant, each.severity, each.owner, _result(each), *map(str, numbers))
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""
    yield "| compared | pages | records | looked at again |"
    yield "|---|---|---|---|"
    for two in report.compared:
        pages, records = f"{two.left_pages} and {two.right_pages}", f"{two.left_records} and {two.right_records}"
        yield f"| {_cell(two.left)} with {_cell(two.right)} | {pages} | {records} | {two.suspects} |"
    if report.dropped:
        yield ""
        yield f"{report.dropped} more ids differ and were not looked at: that many are an incident."
    for finding in report.findings[:MOST_SHOWN]:
        yield from _finding(finding)
    if len(report.findings) > MOST_SHOWN:
        yield ""
        yield f"{len(report.findings) - MOST_SHOWN} further findings are in the JSON report."


def _finding(finding: Finding) -> Iterator[str]:
    yield ""
    yield f"## {finding.key}: {finding.invariant}"
    yield ""
    yield f"{finding.text} *{finding.standing.value.replace('_', ' ')}*" + (
        f": {finding.reason}." if finding.reason else "."
    )
    yield ""
    yield f"- seen {_time(finding.seen_at)}, first {_time(finding.first_seen_at)}"
    for side, records in (("left", finding.pair.left), ("right", finding.pair.right)):
        said = "; ".join(map(_record, records)) or "knows nothing of it"
        yield f"- {side}: {said}"
    for run in finding.runs:
        yield f"- `{run.key}` is {run.state}, by run `{run.workflow_id}`, which is {run.status}"
    if finding.repair is not None:
        why = f" ({finding.repair.reason})" if finding.repair.reason else ""
        yield f"- repair: {finding.repair.operation} under `{finding.repair.key}`: {finding.repair.outcome}{why}"
    if finding.task is not None:
        yield f"- asked in `{finding.task}`"


def _record(record: Record) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in sorted(record.facts.items()))
    since = f" since {_time(record.since)}" if record.since else ""
    return f"{record.state}{since}" + (f" ({facts})" if facts else "")


def _result(checked: Checked) -> str:
    if checked.unchecked is not None:
        return f"not checked: {checked.unchecked}"
    return "holds" if checked.holds else "**does not hold**"


def _verdict(report: ReconciliationReport) -> str:
    if report.ended_at is None:
        return "Not finished."
    if report.holds:
        return "Every invariant holds."
    wrong = sum(finding.standing.violates for finding in report.findings)
    unchecked = sum(each.unchecked is not None for each in report.invariants)
    return f"{wrong} findings stand, {unchecked} invariants were not checked."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
