"""Tasks in words, tables and documents, as ``kit tasks`` prints them."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from kit.operate import OpenTask, TaskGroup
from kit.workflow import Choice, RunSummary, Task
from kit.workflow.grouping import MOST_TASKS, GroupReport

PIPE_WIDTH: Final = 250
"""Columns where nobody looks: nothing is cut off."""

TASK_HEAD: Final = ("WORKFLOW", "TASK", "ASKED (UTC)", "DUE", "OWNER", "FINGERPRINT")
GROUP_HEAD: Final = ("FINGERPRINT", "OPEN", "OVERDUE", "OLDEST", "OWNER", "CHOICES")
STEP_HEAD: Final = ("STEP", "OPERATION", "KEY", "OUTCOME", "UNDO", "ATTEMPTS", "WHY")

SHORTEST_DIGEST: Final = 8
"""So many characters of a digest are enough to type."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cut off at no width where nobody looks."""
    made = Table(*head, box=None, pad_edge=False, header_style="bold")
    for each in rows:
        made.add_row(*each)
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(made)


def _time(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M}"


def row(task: OpenTask, now: datetime) -> tuple[str, ...]:
    """An open task in a line."""
    notice = task.notice
    late = " overdue" if task.overdue(now) else ""
    until = f", expires {_time(notice.expires_at)}" if notice.expires_at else ""
    return (
        task.workflow_id,
        notice.id,
        _time(notice.opened_at),
        _time(notice.due_at) + late + until,
        notice.owner,
        notice.fingerprint,
    )


def group_row(group: TaskGroup, now: datetime) -> tuple[str, ...]:
    """A group in a line."""
    first = group.tasks[0].notice
    late = sum(task.overdue(now) for task in group.tasks)
    choices = ", ".join(group.choices)
    return (group.fingerprint, str(len(group.tasks)), str(late), _time(first.opened_at), first.owner, choices)


def step_row(step: dict[str, Any]) -> tuple[str, ...]:
    """A step in a line."""
    number = f"{step['number']} (edits {step['replaces']})" if step.get("replaces") else str(step["number"])
    known = (number, step["operation"], step["key"], step["outcome"] or "running", step["undo"], step["attempts"])
    return (*map(str, known), step["reason"] or "")


def document(task: OpenTask, now: datetime) -> dict[str, Any]:
    """An open task as JSON has it."""
    about = {"workflow_id": task.workflow_id, "run_id": task.run_id, "workflow_type": task.workflow_type}
    return {**about, **task.notice.model_dump(mode="json"), "overdue": task.overdue(now)}


def group_document(group: TaskGroup, now: datetime) -> dict[str, Any]:
    """A group as JSON has it."""
    return {
        "fingerprint": group.fingerprint,
        "open": len(group.tasks),
        "choices": list(group.choices),
        "tasks": [document(task, now) for task in group.tasks],
    }


def stands(summary: RunSummary) -> str:
    """How a run stands, in a word."""
    return "parked: it waits for a person" if summary.parked else summary.status.value


def full(task: Task, workflow_id: str) -> str:
    """Everything of a task, and what to type about it."""
    lines = [f"Task {task.id} ({task.kind.value}, {_state(task)})", "", f"  {task.question}", ""]
    facts = {
        "asked": f"{_time(task.opened_at)} UTC, of {task.owner}",
        "due": f"{_time(task.due_at)} UTC" if task.due_at else None,
        "expires": f"{_time(task.expires_at)} UTC" if task.expires_at else None,
        "escalation": task.escalation,
        "arguments": jsons.dumps(task.request) if task.request is not None else None,
        "editable": ", ".join(task.editable) or None,
        "digest": task.digest,
        "choices": ", ".join(task.choices),
        "runbook": task.runbook,
        "decide": f'kit tasks decide {task.choices[0].value} {workflow_id} {task.id} --why "..."'
        + (f" --digest {task.digest[:SHORTEST_DIGEST]}" if task.digest else "")
        if task.open
        else None,
    }
    lines += [f"  {name:<11}{told}" for name, told in facts.items() if told is not None]
    return "\n".join([*lines, ""])


def _state(task: Task) -> str:
    if task.decision is not None:
        return f"{task.decision.choice.value} by {task.decision.who}, because: {task.decision.why}"
    return "expired" if task.expired else "open"


def plan(group: TaskGroup, choice: Choice, rate: float) -> str:
    """What a decision about a group would do."""
    number = min(len(group.tasks), MOST_TASKS)
    first = group.tasks[0]
    if choice not in group.choices:
        return f"Not every task of {group.fingerprint} offers {choice.value!r}; all offer: {', '.join(group.choices)}."
    lines = [
        f"{number} of {len(group.tasks)} open tasks with the fingerprint {group.fingerprint}: {choice.value}.",
        f"First alone: task {first.notice.id} of {first.workflow_id}, the oldest.",
    ]
    if number > 1:
        took = timedelta(seconds=round((number - 1) / rate))
        lines[-1] += f" When it has gone through {number - 1} more follow at {rate:g} per second, which takes {took}."
    if choice is Choice.APPROVE:
        lines += [f"  {task.workflow_id}: {task.notice.question} ({task.notice.digest})" for task in group.tasks]
        lines.append(f"The digest of all of them is {group.digest}; approving them needs it.")
    return "\n".join([*lines, "Nothing has been decided. Add --yes to do it."])


def ended(report: GroupReport) -> str:
    """What came of a group."""
    lines = [f"{report.decided} of {report.tasks} decided."]
    if report.stopped is not None and report.first is not None:
        lines.append(f"Stopped: {report.stopped} (task {report.first.task_id} of {report.first.workflow_id}).")
    lines += [f"Not taken by {each.task.workflow_id}, task {each.task.task_id}: {each.why}" for each in report.declined]
    return "\n".join(lines)
