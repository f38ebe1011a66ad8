"""How a run stands, in words: the step table of the Temporal UI and the summary every closed run carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from kit.contract import Outcome
from kit.workflow.steps import Phase, Step, UndoState
from kit.workflow.tasks import DECIDE_UPDATE, Choice, Task


class Status(StrEnum):
    """How a run stands. A closed vocabulary."""

    RUNNING = "running"
    """Going forward."""
    UNDOING = "undoing"
    """Turned round: settling and undoing."""
    COMMITTED = "committed"
    """The business result stands; what was held back is being carried out."""
    COMPLETED = "completed"
    """Everything is done."""
    COMPENSATED = "compensated"
    """Nothing is left."""
    CANCELLED = "cancelled"
    """Nothing is left, because somebody asked for it."""
    RESIDUE = "residue"
    """A person left an effect in place."""


class RunSummary(BaseModel):
    """How a run stands or ended. The details of every error that closes a saga."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: str
    run_id: str
    workflow_type: str
    correlation_id: str
    status: Status
    parked: bool
    reason_code: str | None
    duration_ms: int
    retry_count: int
    compensation_count: int
    key_outputs: dict[str, Any]
    steps: list[dict[str, Any]]
    residue: list[str]
    tasks: list[Task]


_NEXT: Final = {
    Status.RUNNING: "Nothing to do: it is going forward.",
    Status.UNDOING: "Nothing to do: it is undoing what it did.",
    Status.COMMITTED: "Nothing to do: the business result stands, the rest is on its way.",
    Status.COMPLETED: "Nothing to do.",
    Status.COMPENSATED: "Nothing to do: no effect is left.",
    Status.CANCELLED: "Nothing to do: no effect is left.",
    Status.RESIDUE: "An effect was left in place by decision; see the table.",
}


def outcome_word(step: Step) -> str:
    """What has become of one step, in a word or two."""
    if step.undo is not UndoState.NONE:
        return {
            UndoState.RUNNING: "undoing …",
            UndoState.UNDONE: "↩ undone",
            UndoState.NOTHING: "∅ nothing to undo",
            UndoState.LEFT: "⚠ left in place",
        }[step.undo]
    if step.skipped:
        return "skipped by decision"
    match step.outcome:
        case None:
            return "running …"
        case Outcome.DONE:
            return "✓ done"
        case Outcome.REFUSED:
            return "✗ refused, no effect"
        case Outcome.NOT_STARTED if step.phase is Phase.AFTER_COMMIT and step.failure is None:
            return "held back"
        case Outcome.NOT_STARTED:
            return "✗ not started"
        case Outcome.UNKNOWN:
            return "? unknown, may have happened"


def details(
    *,
    status: Status,
    owner: str,
    runbook: str | None,
    reason: str | None,
    steps: Sequence[Step],
    tasks: Iterable[Task],
    misfits: Sequence[str] = (),
) -> str:
    """The current details of a run, in Markdown: state, what to do next, and a table of steps."""
    waiting = [task for task in tasks if task.open]
    state = "parked: waits for a person" if waiting else status.value
    lines = [f"**{state}**" + (f" ({reason})" if reason else "")]
    lines.extend(_ask(task) for task in waiting)
    if not waiting:
        lines.append(_NEXT[status])
    lines.extend(f"- An answer came by signal and changed nothing: {misfit}" for misfit in misfits)
    lines.append("")
    lines.append("| # | step | state | attempts | key | why |")
    lines.append("|---|---|---|---|---|---|")
    for step in steps:
        why = f"{step.failure.kind}: {step.failure.reason}" if step.failure else ""
        tries = str(step.attempts or "") + (f" + {step.undo_attempts} undo" if step.undo_attempts else "")
        number = f"{step.number}" if step.replaces is None else f"{step.number} (edits {step.replaces})"
        lines.append(f"| {number} | {step.summary} | {outcome_word(step)} | {tries} | `{step.key}` | {why} |")
    lines.append("")
    lines.append(f"Owner: {owner}" + (f" · Runbook: {runbook}" if runbook else ""))
    return "\n".join(lines)


def _ask(task: Task) -> str:
    choices = ", ".join(f"`{choice}`" for choice in task.choices)
    runbook = f" Runbook: {task.runbook}." if task.runbook else ""
    late = f"**Overdue since {task.due_at:%Y-%m-%d %H:%M} UTC.** " if task.overdue and task.due_at else ""
    late += f"Tell {task.escalation}. " if task.overdue and task.escalation else ""
    until = f" Until {task.expires_at:%Y-%m-%d %H:%M} UTC." if task.expires_at else ""
    fields = ["task_id", "choice", "who", "why"]
    fields += ["result"] if Choice.SUPPLY in task.choices else []
    fields += [f"edits (of {', '.join(task.editable)})"] if task.editable else []
    told = "".join(f", `{field}`" for field in fields)[2:]
    digest = f", `digest` {task.digest}" if task.digest else ""
    return (
        f"- {late}**{task.owner} decides** (task `{task.id}`): {task.question}{until} One of {choices}, as update "
        f"`{DECIDE_UPDATE}` with {told}{digest}.{runbook}"
    )


def row(step: Step) -> dict[str, Any]:
    """One step in a summary."""
    linked = {"replaces": step.replaces, "approval": step.approval, "child": step.child}
    return {
        "number": step.number,
        "operation": step.operation,
        "phase": step.phase.value,
        "key": step.key,
        "outcome": step.outcome.value if step.outcome else None,
        "undo": step.undo.value,
        "attempts": step.attempts,
        "reason": step.failure.reason if step.failure else None,
        **{name: value for name, value in linked.items() if value is not None},
    }
