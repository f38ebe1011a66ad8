"""What must hold after every scenario, whatever the workflow: the built-in invariants, and who asks them.

==========================================  ============================================================================
invariant                                   holds when
==========================================  ============================================================================
at most one live effect per key             always, of every workflow: no key has two effects that stand
completed means every effect is there       the run completed: each step that it calls done stands in the world, and
                                            nothing that was held back for the commit is missing
ended without success: nothing is left      it was compensated or cancelled, or another workflow failed: nothing stands,
                                            but what a person decided to leave
nothing irreversible before the commit      an effect that cannot be taken back stands only when everything that comes
                                            before it stands, and came before it
the ledger says what is true                done rows stand, settled others do not; no effect is without a row; open
                                            rows only where somebody still has to look
without a fault it completes                nothing went wrong: then the subject shows every call there is to be faulted
every run ends, or waits for a person       never stuck; once all is well a person's answers end it; a saga fails only
                                            by bad input before its first step, or with what a person left in place
a refusal for good is not asked for again   but once more, after an attempt that nobody heard of
attempts stay within the caps               no step that may turn round has more attempts than its retry rules allow
a terminated run can be unwound             every effect that it left has a row with the request that made it
==========================================  ============================================================================

Exceptions, and why they are none of a defect:

- *A person's word.* What a person has decided about a step or an undo (skip, supply) is not held against the run: the
  world may look as they say, whatever the providers recorded.
- *Started again.* The duplicate has a workflow id of its own. Keys are shared where they do not name the workflow; then
  the second run answers from the first one's rows. At most one effect per key holds for both together. What else a run
  must answer for is what its own rows say: an effect whose row belongs to the other run is the other's to have or to
  undo.
- *Parked.* A run that waits may have rows whose truth is open, that is what it asks about; what its ledger calls
  settled must be true all the same.
- *Unrecorded.* Where the ledger could not be written while the attempt lasted, the result went to the workflow and the
  row stays open for a look-up, as the guard's table says. The run's own word must then agree with the truth.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pydantic import ValidationError

from kit.contract import Effect, OnceStrategy, Operation, Outcome, Role
from kit.ledger import Entry, State
from kit.testing.faults import FaultKind
from kit.testing.runs import Ending, Run, Truth, Violation
from kit.testing.world import Subject, World
from kit.workflow import Choice, SagaWorkflow, Status
from kit.workflow.steps import Phase, UndoState

REFUSALS: Final = 2
"""How often the same thing may be refused for good: once, and once more after an attempt that nobody heard of."""

WAITS: Final = 3
"""How many attempts a further fault may add that cost no cap: those that wait for a lease, or for the truth."""

_GONE: Final = frozenset({State.UNDONE, State.VOID, State.REFUSED})
"""What the ledger says of an effect that does not stand."""

_OPEN: Final = frozenset({State.CLAIMED, State.UNKNOWN, State.UNDOING})
"""What it says where somebody still has to look."""

_WAITING: Final = frozenset({Ending.PARKED, Ending.TERMINATED, Ending.STUCK})
"""Endings after which somebody still looks: a person, or whoever unwinds the run."""

_TAKES_BACK: Final = frozenset({Choice.SKIP, Choice.SUPPLY})


async def judge(subject: Subject, world: World, run: Run, *, when: str = "end") -> tuple[Violation, ...]:
    """Everything that does not hold: the built-in invariants, and the subject's own.

    Args:
        subject: What was under faults.
        world: The scenario's, as it stands now.
        run: What is known of the run now; its ``ending`` is how it stands at this instant.
        when: ``"parked"`` while the run waits for a person, else ``"end"``.
    """
    case = Case(subject, run, when, _operations(world), await _rows(world, run))
    found = [Violation(rule.name, text, when) for rule in BUILT_IN for text in rule.check(case)]
    for invariant in subject.invariants:
        asked = invariant.check(world, run)
        texts = await asked if inspect.isawaitable(asked) else asked
        found.extend(Violation(invariant.name, text, when) for text in texts)
    return tuple(found)


def _operations(world: World) -> dict[str, Operation[Any, Any]]:
    return {name: handlers.operation for each in world.connectors for name, handlers in each.handlers.items()}


async def _rows(world: World, run: Run) -> dict[str, Entry]:
    """The rows of the run, and those of every effect, whoever holds them."""
    rows = {row.key: row for row in run.rows}
    databases = {id(found): found for each in world.connectors if (found := each.database) is not None}
    for key in dict.fromkeys(effect.key for effect in run.truth if effect.key not in rows):
        for ledger in (world.ledger, *databases.values()):
            if (row := await ledger.get(key)) is not None:
                rows[key] = row
    return rows


@dataclass(frozen=True)
class Case:
    """What the built-in invariants look at.

    Attributes:
        subject: What was under faults.
        run: What is known of the run.
        when: ``"parked"`` or ``"end"``.
        operations: Of the world's connectors, by name.
        rows: Of the ledgers, by key.
    """

    subject: Subject
    run: Run
    when: str
    operations: Mapping[str, Operation[Any, Any]]
    rows: Mapping[str, Entry]

    @cached_property
    def live(self) -> tuple[Truth, ...]:
        """The effects that stand."""
        return tuple(effect for effect in self.run.truth if effect.live)

    @cached_property
    def standing(self) -> Mapping[tuple[str, str], int]:
        """How many stand, by operation and key."""
        return Counter((effect.operation, effect.key) for effect in self.live)

    @cached_property
    def steps(self) -> tuple[Mapping[str, Any], ...]:
        """The steps of the saga, as its summary tells them; none for another workflow."""
        return tuple(self.run.summary.steps) if self.run.summary else ()

    @cached_property
    def decided(self) -> frozenset[str]:
        """The keys of the steps of which a person has said what is true."""
        tasks = self.run.summary.tasks if self.run.summary else ()
        numbers = {task.step for task in tasks if task.decision and task.decision.choice in _TAKES_BACK}
        left = self.run.summary.residue if self.run.summary else ()
        return frozenset({step["key"] for step in self.steps if step["number"] in numbers} | set(left))

    @property
    def is_saga(self) -> bool:
        """Whether the workflow is one of the kit's."""
        return issubclass(self.subject.workflow, SagaWorkflow)

    def strikes(self, *kinds: FaultKind) -> bool:
        """Whether the scenario has a fault of one of the kinds."""
        return any(fault.kind in kinds for fault in self.run.scenario.faults)

    def is_others(self, key: str) -> bool:
        """Whether the row of a key belongs to another run of the scenario."""
        row = self.rows.get(key)
        return row is not None and row.saga != self.run.workflow_id and self.strikes(FaultKind.STARTED_AGAIN)

    def stands(self, step: Mapping[str, Any]) -> bool:
        """Whether a step's effect stands."""
        return (step["operation"], step["key"]) in self.standing

    def has_effect(self, operation: str) -> bool:
        """Whether an operation leaves anything behind."""
        found = self.operations.get(operation)
        return found is None or found.effect is not Effect.READ


@dataclass(frozen=True)
class BuiltIn:
    """An invariant of every workflow.

    Attributes:
        name: What is said when it does not hold.
        check: Yields one sentence, with the values, for each thing that is wrong.
    """

    name: str
    check: Callable[[Case], Iterable[str]]


def _once(case: Case) -> Iterator[str]:
    for (operation, key), number in case.standing.items():
        if number > 1:
            told = "; ".join(e.text for e in case.live if (e.operation, e.key) == (operation, key))
            yield f"{operation} has {number} live effects under the key {key!r}: {told}"


def _complete(case: Case) -> Iterator[str]:
    if case.run.ending is not Ending.COMPLETED:
        return
    for step in case.steps:
        operation, key = step["operation"], step["key"]
        if key in case.decided or case.is_others(key) or not case.has_effect(operation):
            continue
        done = step["outcome"] == Outcome.DONE and step["undo"] == UndoState.NONE
        if done and not case.stands(step):
            yield f"the run completed and calls {operation} done, but no effect stands under the key {key!r}"
        elif not done and step["phase"] == Phase.AFTER_COMMIT:
            yield f"the run completed, but {operation}, held back for it, is {step['outcome']!r} (key {key!r})"


def _nothing_left(case: Case) -> Iterator[str]:
    ending = case.run.ending
    if ending not in (Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED):
        return
    for effect in case.live:
        if effect.key not in case.decided and not case.is_others(effect.key):
            yield f"the run ended {ending.value}, but {effect.operation} stands (key {effect.key!r}): {effect.text}"


def _irreversible(case: Case) -> Iterator[str]:
    order = {(effect.operation, effect.key): effect.order for effect in reversed(case.live)}
    for step in case.steps:
        operation = case.operations.get(step["operation"])
        if operation is None or operation.effect is not Effect.IRREVERSIBLE or not case.stands(step):
            continue
        at = order[step["operation"], step["key"]]
        for before in _before(case, step):
            place = (before["operation"], before["key"])
            if place in order and order[place] > at:
                yield f"{step['operation']} took effect before {before['operation']}, and cannot be taken back"
            elif place not in order and not case.is_others(before["key"]):
                yield f"{step['operation']} cannot be taken back, and stands although {before['operation']} does not"


def _before(case: Case, step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The steps that must stand before an irreversible one does: all that can fail and turn the saga round."""
    for other in case.steps:
        if other is step or other["key"] in case.decided or not case.has_effect(other["operation"]):
            continue
        if other["phase"] == Phase.AFTER_COMMIT:
            continue
        caught = other["outcome"] in (Outcome.REFUSED, Outcome.NOT_STARTED)  # a body may go on without a step
        if not caught and (step["phase"] == Phase.AFTER_COMMIT or other["number"] < step["number"]):
            yield other


def _ledger(case: Case) -> Iterator[str]:
    for key, row in case.rows.items():
        stands = (row.operation, key) in case.standing
        if key in case.decided or _by_person(row):
            continue
        if row.state is State.DONE and not stands:
            yield f"the ledger says that {row.operation} is done under the key {key!r}, but no effect stands"
        elif row.state in _GONE and stands:
            yield f"the ledger says that {row.operation} is {row.state.value} under the key {key!r}, but it stands"
        elif row.state in _OPEN and case.run.ending not in _WAITING and not _known_otherwise(case, row, stands=stands):
            yield f"the run is over, and the ledger's row of {row.operation} is {row.state.value} (key {key!r})"
    for effect in case.live:
        if effect.key not in case.rows and effect.operation in case.operations:
            yield f"the ledger knows nothing of {effect.operation} under the key {effect.key!r}: {effect.text}"


def _by_person(row: Entry) -> bool:
    return row.reason is not None and row.reason.startswith(tuple(f"{choice.value} by " for choice in Choice))


def _known_otherwise(case: Case, row: Entry, *, stands: bool) -> bool:
    """Whether a row is open only because it could not be written, and the workflow's own word is true."""
    if not case.strikes(FaultKind.UNRECORDED):
        return False
    step = next((step for step in case.steps if step["key"] == row.key), None)
    if step is None:
        return not case.is_saga or case.strikes(FaultKind.STARTED_AGAIN)
    if row.state is State.UNDOING:
        return not stands and step["undo"] in (UndoState.UNDONE, UndoState.NOTHING)
    return stands and step["outcome"] == Outcome.DONE and step["undo"] == UndoState.NONE


def _ends(case: Case) -> Iterator[str]:
    run = case.run
    if run.ending is Ending.STUCK:
        yield f"the run neither ends nor waits for anybody: {run.error}"
    if run.ending is Ending.PARKED and not _asks(case):
        yield "the run waits, and asks nobody"
    elif run.ending is Ending.PARKED and case.when == "end":
        yield f"everything is well, a person has answered again and again, and the run still waits: {_questions(case)}"
    if run.ending is Ending.FAILED and case.is_saga:
        residue = run.summary is not None and run.summary.status is Status.RESIDUE
        if not residue and run.seen:
            yield f"the saga failed without turning round: {run.error}"


def _completes(case: Case) -> Iterator[str]:
    if not case.run.scenario.faults and case.run.ending is not Ending.COMPLETED:
        yield f"nothing went wrong, and the run ended {case.run.ending.value}: {case.run.error or _questions(case)}"


def _questions(case: Case) -> str:
    tasks = case.run.summary.tasks if case.run.summary else case.run.tasks
    return "; ".join(task.question for task in tasks if task.open) or "no question"


def _asks(case: Case) -> bool:
    tasks = (*case.run.tasks, *(case.run.summary.tasks if case.run.summary else ()))
    return any(task.open for task in tasks)


def _refused_once(case: Case) -> Iterator[str]:
    refused: Counter[tuple[str, str, str, Role, int]] = Counter()
    for seen in case.run.seen:
        if seen.fault is not None and seen.fault.kind is FaultKind.REFUSED and seen.outcome is Outcome.REFUSED:
            place = (seen.workflow_id, seen.point.operation, seen.key, seen.point.role, seen.point.request)
            refused[place] += 1
    further = max(len(case.run.scenario.faults) - 1, 0)
    for (_, operation, key, role, _), number in refused.items():
        # A look-up serves the action and the undo.
        if number > (REFUSALS + further) * (2 if role is Role.PROBE else 1):
            yield f"the {role.value} of {operation} was refused for good {number} times under the key {key!r}"


def _within_caps(case: Case) -> Iterator[str]:
    further = max(len(case.run.scenario.faults) - 1, 0)
    for operation, key, number, rounds in _attempts(case):
        if operation not in case.operations:
            continue
        most = rounds * (_most_attempts(case.operations[operation]) + WAITS * further)
        if number > most:
            yield f"{operation} was attempted {number} times under the key {key!r}; its retry rules allow {most}"


def _attempts(case: Case) -> Iterator[tuple[str, str, int, int]]:
    """The attempts of every step that may turn round, and how often a person had it begun anew."""
    tasks = case.run.summary.tasks if case.run.summary else ()
    again = Counter(t.step for t in tasks if not t.undo and t.decision and t.decision.choice is Choice.RETRY)
    for step in case.steps:
        if step["phase"] in (Phase.BODY, Phase.PIVOT):
            yield step["operation"], step["key"], step["attempts"], 1 + again[step["number"]]
    if case.is_saga:
        return
    most: Counter[tuple[str, str]] = Counter()
    for seen in case.run.seen:
        if seen.point.role is Role.ACTION:
            place = (seen.point.operation, seen.key)
            most[place] = max(most[place], seen.attempt)
    for (operation, key), number in most.items():
        yield operation, key, number, 1


def _most_attempts(operation: Operation[Any, Any]) -> int:
    """The most attempts that any one of an operation's rules allows.

    A look-up that finds nothing too early costs an attempt and no cap, so there may be one between any two.
    """
    rules = (operation.retry_for(kind, persistent=False) for kind in operation.dependency.retry)
    most = max(rule.attempts for rule in rules if rule.attempts is not None)
    by_probe = operation.once is not None and operation.once.strategy is OnceStrategy.BY_PROBE
    return 2 * most if by_probe else most


def _unwindable(case: Case) -> Iterator[str]:
    if case.run.ending is not Ending.TERMINATED:
        return
    for effect in case.live:
        operation = case.operations.get(effect.operation)
        row = case.rows.get(effect.key)
        if operation is None or row is None:
            continue  # an effect without a row is the ledger's violation
        if row.state in _GONE:
            yield f"the run was terminated, and {effect.operation} stands, but its row is {row.state.value}"
        try:
            operation.request.model_validate_json(row.request)
        except ValidationError as error:
            yield f"the run was terminated, and the row of {effect.operation} has no request to undo it by: {error}"


BUILT_IN: Final[tuple[BuiltIn, ...]] = (
    BuiltIn("at most one live effect per key", _once),
    BuiltIn("completed means every effect is there", _complete),
    BuiltIn("ended without success: nothing is left", _nothing_left),
    BuiltIn("nothing irreversible before the commit", _irreversible),
    BuiltIn("the ledger says what is true", _ledger),
    BuiltIn("without a fault it completes", _completes),
    BuiltIn("every run ends, or waits for a person", _ends),
    BuiltIn("a refusal for good is not asked for again", _refused_once),
    BuiltIn("attempts stay within the caps", _within_caps),
    BuiltIn("a terminated run can be unwound", _unwindable),
)
"""Asked of every subject."""
