"""The gist of a run: all that is deterministic in it, without ids, instants, durations and names of attempts.

The same scenario on the same code has the same gist, whichever engine runs it. Covered are: how it ended (also after a
person's answers) and with what result; the commands it gave, by type and name, as a multiset; each step's outcome, undo
and reason; what a person was asked; every request that reached the wire, and what was known of it; the providers' own
records; the states of the ledgers; how the run of a second start ended; which invariants do not hold. Not covered are:
the order of what runs at the same time (and so, which of two runs came first, and how far the siblings of a step were
when the run was terminated), how many workflow tasks it took, the number of attempts that made no request (a wait for a
lease), and every duration.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.history.v1 import History

from kit.testing.runs import Ending, Run

Counted = tuple[tuple[str, int], ...]
"""Words, sorted, with how often each occurs."""

_COMMANDS: Final[dict[str, Callable[[Any], str]]] = {
    "activity_task_scheduled_event_attributes": lambda e: f"activity {e.activity_type.name}",
    "timer_started_event_attributes": lambda e: "timer",
    "timer_canceled_event_attributes": lambda e: "cancel timer",
    "start_child_workflow_execution_initiated_event_attributes": lambda e: f"child {e.workflow_type.name}",
    "signal_external_workflow_execution_initiated_event_attributes": lambda e: f"signal {e.signal_name}",
    "request_cancel_external_workflow_execution_initiated_event_attributes": lambda e: "cancel of a workflow",
    "upsert_workflow_search_attributes_event_attributes": lambda e: "search attributes",
    "workflow_properties_modified_event_attributes": lambda e: "memo",
    "workflow_execution_completed_event_attributes": lambda e: "complete",
    "workflow_execution_failed_event_attributes": lambda e: "fail",
    "workflow_execution_canceled_event_attributes": lambda e: "close as cancelled",
    "workflow_execution_continued_as_new_event_attributes": lambda e: "continue as new",
}
"""Events that are a command of the workflow's. A request to cancel an activity is none of them: whether a sibling is
still at work when a step fails depends on who was quicker."""


@dataclass(frozen=True, slots=True)
class Gist:
    """What two runs of one scenario must have in common; see the module."""

    ending: str
    repaired: str
    result: str
    commands: Counted
    steps: tuple[tuple[Any, ...], ...]
    tasks: tuple[tuple[Any, ...], ...]
    seen: Counted
    truth: tuple[tuple[Any, ...], ...]
    rows: tuple[tuple[Any, ...], ...]
    duplicates: tuple[tuple[str, str, str], ...]
    violations: tuple[tuple[str, str], ...]

    def differences(self, other: Gist) -> list[str]:
        """In which parts, and how, another one differs; empty when it does not."""
        return [
            f"{part}: {mine!r} against {theirs!r}"
            for part in self.__dataclass_fields__
            if (mine := getattr(self, part)) != (theirs := getattr(other, part))
        ]


def gist_of(run: Run) -> Gist:
    """The gist of a run."""
    steps = run.summary.steps if run.summary else []
    rows = sorted((row.operation, row.key, row.state.value, row.result or b"") for row in run.rows)
    return Gist(
        ending=run.ending.value,
        repaired=run.repaired.value if run.repaired else "",
        result=run.result or "",
        commands=commands_of(History.FromString(run.history)),
        steps=tuple(_step(step, run) for step in steps),
        tasks=tuple(sorted((task.id, task.operation, task.undo, tuple(task.choices)) for task in run.tasks)),
        seen=_counted(f"{seen.point} {seen.key} {seen.fault or ''} {seen.outcome or ''}" for seen in run.seen),
        truth=tuple(sorted((effect.system, effect.operation, effect.key, effect.live) for effect in run.truth)),
        rows=tuple(rows),
        duplicates=tuple(_beside(duplicate) for duplicate in run.duplicates),
        violations=tuple(sorted({(violation.invariant, violation.when) for violation in run.violations})),
    )


def _beside(duplicate: Run) -> tuple[str, str, str]:
    repaired = duplicate.repaired.value if duplicate.repaired else ""
    return (duplicate.ending.value, repaired, duplicate.result or "")


def _step(step: dict[str, Any], run: Run) -> tuple[Any, ...]:
    said = (step["number"], step["operation"], step["phase"], step["key"])
    return said if run.ending is Ending.TERMINATED else (*said, step["outcome"], step["undo"], step["reason"])


def fingerprint(run: Run) -> str:
    """The digest of a run's gist, 16 hexadecimal digits."""
    return hashlib.sha256(repr(gist_of(run)).encode()).hexdigest()[:16]


def commands_of(history: History) -> Counted:
    """The commands a workflow gave, by type and name, with how often each."""
    found = []
    for event in history.events:
        attributes = event.WhichOneof("attributes")
        if attributes in _COMMANDS:
            found.append(_COMMANDS[attributes](getattr(event, attributes)))
    return _counted(found)


def _counted(words: Any) -> Counted:
    return tuple(sorted(Counter(words).items()))
