"""The story of one run, as text: what went wrong, what was called, what each provider saw, what the saga decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from kit.testing.report import words
from kit.testing.report.source import excerpt
from kit.testing.runs import Line, Run, Truth

_WIDTH = 118
"""Where a line of a terminal ends."""


def narrate(run: Run) -> str:
    """Tell one run from its start to its end.

    The parts, each left out when it would be empty: what goes wrong; the timeline (time since the start on the engine's
    clock, who, what, and the workflow's line that was awaiting); what each system did by its own records; what the
    ledger says; what the saga decided step by step; what a person is asked; what is violated; and the command that runs
    it again.
    """
    parts = [
        _head(run),
        _part("What goes wrong", _faults(run)),
        _part("What happened", _timeline(run.story)),
        _part("What each system did, by its own records", _truth(run.truth)),
        _part("What the ledger says", _ledger(run)),
        _part("What the saga decided", _decisions(run)),
        _part("What a person is asked", _tasks(run)),
        _part("What does not hold", _violations(run)),
        f"Run it again: {words.command(run.workflow, run.scenario)}\n",
    ]
    return "\n".join(part for part in parts if part)


def ending(run: Run) -> str:
    """How a run ended, in a sentence without its full stop."""
    text = words.ENDINGS[run.ending]
    return text if run.repaired is None else f"{text}; after the answer: {words.ENDINGS[run.repaired]}"


def lanes(story: Iterable[Line], *, first: Sequence[str], last: Sequence[str]) -> list[str]:
    """The lanes of a story: some first, the systems as they come, some last."""
    found = dict.fromkeys(line.lane for line in story)
    systems = [lane for lane in found if lane not in (*first, *last)]
    return [*(lane for lane in first if lane in found), *systems, *(lane for lane in last if lane in found)]


def _head(run: Run) -> str:
    said = "" if run.safe else f", {words.count(len(run.violations), 'violation')}"
    return f"{run.workflow} under {run.scenario}: {ending(run)}{said}\n"


def _part(title: str, lines: Iterable[str]) -> str:
    told = "\n".join(f"  {line}" for line in lines)
    return f"{title}\n{told}\n" if told else ""


def _faults(run: Run) -> Iterator[str]:
    for fault in run.scenario.faults:
        missed = " (never reached: nothing went wrong there)" if fault in run.unreached else ""
        yield f"{fault.point}: {words.fault(fault.kind)}{missed}"


def _timeline(story: Sequence[Line]) -> Iterator[str]:
    times = [words.span(line.at) for line in story]
    wide = max((len(time) for time in times), default=0)
    lane = max((len(line.lane) for line in story), default=0)
    awaiting = None
    for line, time in zip(story, times, strict=True):
        mark = "✗" if line.fault is not None else " "
        before = f"{mark} {time:>{wide}}  {line.lane:<{lane}}  "
        first, *more = wrap(line.text, _WIDTH - len(before)) or [""]
        yield before + first
        yield from (" " * len(before) + text for text in more)
        if line.source is not None and line.source != awaiting:
            awaiting = line.source
            found = excerpt(line.source)
            yield " " * len(before) + f"at {found.where}" + (f": {found.meant}" if found.meant else "")


def _truth(truth: Sequence[Truth]) -> Iterator[str]:
    wide = max((len(effect.system) for effect in truth), default=0)
    for effect in sorted(truth, key=lambda effect: effect.order):
        yield f"{effect.system:<{wide}}  {'live' if effect.live else 'gone'}  {effect.text} (key {effect.key})"


def _ledger(run: Run) -> Iterator[str]:
    for row in run.rows:
        reason = f", {row.reason}" if row.reason else ""
        yield f"{row.key}: {row.state.value}{reason}, {words.count(row.attempts, 'attempt')}"


def _decisions(run: Run) -> Iterator[str]:
    if run.summary is not None:
        for step in run.summary.steps:
            outcome = step["outcome"] or "at work"
            undo = "" if step["undo"] == "none" else f", undo: {step['undo']}"
            reason = f" ({step['reason']})" if step["reason"] else ""
            attempts = words.count(step["attempts"], "attempt")
            yield f"{step['number']}. {step['operation']} [{step['phase']}]: {outcome}{reason}, {attempts}{undo}"
    error = words.short(" ".join((run.error or "").split()))
    yield ending(run)[:1].upper() + ending(run)[1:] + (f". {error}" if error else ".")


def _tasks(run: Run) -> Iterator[str]:
    for task in run.tasks:
        yield f"{task.owner}: {task.question}"
        yield f"  one of {', '.join(task.choices)}" + (f"; runbook {task.runbook}" if task.runbook else "")


def _violations(run: Run) -> Iterator[str]:
    for violation in run.violations:
        yield f"{violation.invariant} ({violation.when}): {violation.text}"
