"""What the built-in invariants look at: one run of a scenario, and the world it leaves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from temporalio.api.history.v1 import History

from kit.contract import Effect, Operation, Outcome
from kit.ledger import Entry
from kit.testing.faults import FaultKind
from kit.testing.runs import Ending, Run, Seen, Truth
from kit.testing.world import Subject
from kit.workflow import Choice, EntityWorkflow, SagaWorkflow, Task
from kit.workflow.events import KEPT
from kit.workflow.steps import Phase, UndoState

Place = tuple[str, str]
"""An operation and a key: what names one effect."""

Step = Mapping[str, Any]
"""A step of a saga, as its summary tells it."""

WITHOUT_SUCCESS: Final = frozenset({Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED})
"""Endings that leave nothing behind."""

TURNED: Final = frozenset({Ending.COMPENSATED, Ending.CANCELLED})
"""Endings of a saga that has turned round."""


@dataclass(frozen=True)
class BuiltIn:
    """An invariant of every workflow.

    Attributes:
        name: What is said when it does not hold.
        holds: When it does, in words; the documentation shows it.
        check: Yields one sentence, with the values, for each thing that is wrong. Asked of every run of a scenario.
    """

    name: str
    holds: str
    check: Callable[[Case], Iterable[str]]


@dataclass(frozen=True)
class Case:
    """One run of a scenario, when it waits for a person or at the end.

    Attributes:
        subject: What was under faults.
        run: The run that is judged: the scenario's own, or a duplicate of it.
        when: ``"parked"`` or ``"end"``.
        operations: Of the world's connectors, by name.
        rows: Of the ledgers, by operation and key.
        others: The ids of the other runs of the scenario, and of their children.
        first: Whether it is the scenario's own run, which also answers for what belongs to nobody.
    """

    subject: Subject
    run: Run
    when: str
    operations: Mapping[str, Operation[Any, Any]]
    rows: Mapping[Place, Entry]
    others: frozenset[str] = frozenset()
    first: bool = True

    # -- what stands -----------------------------------------------------------------------------------------------

    @cached_property
    def live(self) -> tuple[Truth, ...]:
        """The effects that stand."""
        return tuple(effect for effect in self.run.truth if effect.live)

    @cached_property
    def standing(self) -> Mapping[Place, int]:
        """How many stand, by operation and key."""
        return Counter(map(place_of, self.live))

    def stands(self, step: Step) -> bool:
        """Whether a step's effect stands."""
        return step_place(step) in self.standing

    def is_others(self, place: Place) -> bool:
        """Whether an effect is another run's of the scenario, and not this one's as well, to have or to undo."""
        row = self.rows.get(place)
        return row is not None and not self.others.isdisjoint(row.sagas) and self.run.sagas.isdisjoint(row.sagas)

    # -- what the saga says ----------------------------------------------------------------------------------------

    @property
    def is_saga(self) -> bool:
        """Whether the workflow is one of the kit's."""
        return issubclass(self.subject.workflow, SagaWorkflow)

    @property
    def is_entity(self) -> bool:
        """Whether each of its events is a saga of its own: what earlier ones did stands, however the run ends."""
        return issubclass(self.subject.workflow, EntityWorkflow)

    @property
    def stays(self) -> bool:
        """Whether it ended with what its steps did: it completed, or is an entity that was asked to end."""
        ending = self.run.ending
        return ending is Ending.COMPLETED or (self.is_entity and ending is Ending.CANCELLED)

    @cached_property
    def memory(self) -> Mapping[str, Any]:
        """What the run of an entity was given of the runs before it, as `kit.workflow.Memory` names it."""
        events = self.history.events
        given = events[0].workflow_execution_started_event_attributes.input.payloads if events else ()
        memory: Mapping[str, Any] = json.loads(given[0].data).get("memory", {}) if given else {}
        return memory

    def given_up(self, row: Entry) -> bool:
        """Whether a row is of an event that its entity has undone, of whose steps the summary tells no more.

        An event that fails ends the entity's run, or is written down, and its steps are never told. So it is one of the
        event with which this run was begun, of another run; or of this run, and not told. What earlier runs have
        applied is told no more either.
        """
        if not self.is_entity or row.saga != self.run.workflow_id or self.run.summary is None:
            return False
        told = self.run.summary.steps
        if len(told) >= KEPT or (row.operation, row.key) in {step_place(step) for step in told}:
            return False
        stuck = self.memory.get("stuck") or {}
        earlier: int = self.memory.get("steps", 0)
        failed: str | None = stuck.get("event", {}).get("id")
        return row.step > earlier or row.correlation_id == failed

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the saga; none for another workflow.

        What only reads is left out: it leaves nothing. So are child sagas: their effects are their steps'.
        """
        steps = self.run.summary.steps if self.run.summary else ()
        return tuple(step for step in steps if not self._reads(step["operation"]) and "child" not in step)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """What the run has asked people, answered or not."""
        return tuple(self.run.summary.tasks) if self.run.summary else self.run.tasks

    @cached_property
    def history(self) -> History:
        """The run's history."""
        return History.FromString(self.run.history)

    def _reads(self, operation: str) -> bool:
        found = self.operations.get(operation)
        return found is not None and found.effect is Effect.READ

    # -- what people said ------------------------------------------------------------------------------------------

    def chose(self, *choices: Choice) -> bool:
        """Whether a person has decided one of these."""
        return any(task.decision is not None and task.decision.choice in choices for task in self.tasks)

    @cached_property
    def decided(self) -> frozenset[Place]:
        """The effects of which a person has said what is true: skipped or supplied."""
        return self._answered(lambda task, choice: choice in (Choice.SKIP, Choice.SUPPLY)) | self.left

    @cached_property
    def left(self) -> frozenset[Place]:
        """The effects that may stand because a person says so: a skipped step, an undo that is theirs now."""
        residue = set(self.run.summary.residue) if self.run.summary else set()
        answered = self._answered(lambda task, choice: choice is Choice.SKIP or (task.undo and choice is Choice.SUPPLY))
        return answered | {step_place(step) for step in self.steps if step["key"] in residue}

    def _answered(self, counts: Callable[[Task, Choice], bool]) -> frozenset[Place]:
        numbers = {task.step for task in self.tasks if task.decision and counts(task, task.decision.choice)}
        return frozenset(step_place(step) for step in self.steps if step["number"] in numbers)

    # -- what went wrong -------------------------------------------------------------------------------------------

    def strikes(self, *kinds: FaultKind) -> bool:
        """Whether the scenario has a fault of one of the kinds."""
        return any(fault.kind in kinds for fault in self.run.scenario.faults)

    @cached_property
    def seen(self) -> tuple[Seen, ...]:
        """The requests that this run made."""
        return tuple(seen for seen in self.run.seen if seen.workflow_id == self.run.workflow_id)


def place_of(effect: Truth) -> Place:
    """What names an effect."""
    return effect.operation, effect.key


def step_place(step: Step) -> Place:
    """What names a step's effect."""
    return step["operation"], step["key"]


def by_person(row: Entry) -> bool:
    """Whether a row says what a person has decided."""
    return row.reason is not None and row.reason.startswith(tuple(f"{choice.value} by " for choice in Choice))


def counts(step: Step) -> bool:
    """Whether a step says that its effect stands: it is done, and was not undone."""
    return bool(step["outcome"] == Outcome.DONE and step["undo"] == UndoState.NONE)


def is_settled(step: Step) -> bool:
    """Whether a step says that nothing of it is left, or that a person has left it."""
    gone = step["undo"] in (UndoState.UNDONE, UndoState.NOTHING, UndoState.LEFT)
    return gone or step["outcome"] in (Outcome.REFUSED, Outcome.NOT_STARTED)


def is_committed(step: Step) -> bool:
    """Whether a step says that the saga had committed: its pivot was done, or what was held back was let go."""
    if step["phase"] == Phase.PIVOT:
        return bool(step["outcome"] == Outcome.DONE)
    return bool(step["phase"] == Phase.AFTER_COMMIT and (step["attempts"] or step["outcome"] is None))
