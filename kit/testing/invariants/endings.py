"""Endings: every run ends or asks somebody, and says of itself what is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from kit.contract import Outcome
from kit.testing.faults import FaultKind
from kit.testing.invariants.case import TURNED, Case, is_settled, step_place
from kit.testing.runs import Ending
from kit.workflow import Status, Task
from kit.workflow.tasks import PARKED_MEMO

_SAID: Final = {
    Ending.COMPLETED: Status.COMPLETED,
    Ending.COMPENSATED: Status.COMPENSATED,
    Ending.CANCELLED: Status.CANCELLED,
}
"""What a saga says of itself at each ending."""


def completes(case: Case) -> Iterator[str]:
    """Without a fault a run ends as its subject says: it completes."""
    run, expected = case.run, case.subject.ending
    parked_before = case.when == "end" and run.tasks  # then it was judged when it parked
    if not run.scenario.faults and run.ending is not expected and not parked_before:
        wanted = "" if expected is Ending.COMPLETED else f", not {expected.value}"
        yield f"nothing went wrong, and the run ended {run.ending.value}{wanted}: {run.error or _questions(case)}"


def ends(case: Case) -> Iterator[str]:
    """A run ends, or waits for a person who can end it; and it fails only as it may."""
    run = case.run
    if run.ending is Ending.STUCK:
        yield f"the run neither ends nor waits for anybody: {run.error}"
    if run.ending is Ending.PARKED and not (_open(case) or run.tasks):
        yield "the run waits, and asks nobody"
    elif run.ending is Ending.PARKED and case.when == "end":
        yield f"everything is well, a person has answered again and again, and the run still waits: {_questions(case)}"
    if run.ending is Ending.FAILED and case.is_saga:
        residue = run.summary is not None and run.summary.status is Status.RESIDUE
        if not residue and run.seen:
            yield f"the saga failed without turning round: {run.error}"


def asks_well(case: Case) -> Iterator[str]:
    """What a person is asked can be found, can be answered, and is true."""
    if case.is_saga and case.tasks and case.run.ending is not Ending.TERMINATED:
        asked, shown = sorted(task.id for task in _open(case)), _memo(case)
        if shown != asked:
            yield f"the run asks {asked}, and its memo, by which operators find it, says {shown}"
    steps = {step["number"]: step for step in case.steps}
    for task in _open(case):
        missing = [name for name in ("question", "owner", "choices") if not getattr(task, name)]
        if missing:
            yield f"task {task.id!r} about {task.operation} has no {' and no '.join(missing)}"
        step = steps.get(task.step)
        if step is None or task.failure is None or task.undo or case.is_others(step_place(step)):
            continue
        said = task.failure.outcome
        if said in (Outcome.REFUSED, Outcome.NOT_STARTED) and case.stands(step):
            yield f"a person is told that {task.operation} is {said.value}, but it stands (key {step['key']!r})"
        elif said is Outcome.DONE and not case.stands(step):
            yield f"a person is told that {task.operation} is done, but no effect stands (key {step['key']!r})"


def says_so(case: Case) -> Iterator[str]:
    """The summary of a closed saga says how it ended, and what has become of every step."""
    run, said = case.run, case.run.summary
    if not case.is_saga or run.ending not in _SAID or (said is None and case.strikes(FaultKind.HANDED_OVER)):
        return
    if said is None:
        yield f"the run ended {run.ending.value}, and has no summary"
        return
    if said.status is not _SAID[run.ending]:
        yield f"the run ended {run.ending.value}, and says that it is {said.status.value}"
    if run.ending in TURNED and not case.stays:
        for step in case.steps:
            if not is_settled(step):
                yield f"the run ended {run.ending.value}, and says that {step['operation']} is {step['outcome']!r}"
        if said.residue:
            yield f"the run ended {run.ending.value}, and says that it has left {said.residue}"


def _open(case: Case) -> list[Task]:
    return [task for task in case.tasks if task.open]


def _questions(case: Case) -> str:
    return "; ".join(task.question for task in _open(case)) or "no question"


def _memo(case: Case) -> list[str]:
    """The open tasks of a run, as its memo tells them to operators."""
    shown: list[str] = []
    for event in case.history.events:
        upserted = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        if PARKED_MEMO in upserted:
            shown = json.loads(upserted[PARKED_MEMO].data or b"[]") or []
    return shown
