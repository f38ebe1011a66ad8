"""The ledger: it says what is true, and enough of it to undo what a run leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kit.ledger import Entry, State
from kit.testing.faults import FaultKind
from kit.testing.invariants.case import Case, by_person, counts, place_of, step_place
from kit.testing.runs import Ending
from kit.workflow.steps import UndoState

_GONE: Final = frozenset({State.UNDONE, State.VOID, State.REFUSED})
"""What the ledger says of an effect that does not stand."""

_OPEN: Final = frozenset({State.CLAIMED, State.UNKNOWN, State.UNDOING})
"""What it says where somebody still has to look."""

_WAITING: Final = frozenset({Ending.PARKED, Ending.STUCK})
"""Endings after which somebody still looks. What was terminated is unwound before it is judged."""


def true_ledger(case: Case) -> Iterator[str]:
    """What the ledger calls settled is true, and at the end of a run nothing of it is open."""
    for (operation, key), row in case.rows.items():
        place = operation, key
        if place in case.decided or by_person(row) or not _answers_for(case, row):
            continue
        stands = place in case.standing
        if row.state is State.DONE and not stands:
            yield f"the ledger says that {operation} is done under the key {key!r}, but no effect stands"
        elif row.state in _GONE and stands:
            yield f"the ledger says that {operation} is {row.state.value} under the key {key!r}, but it stands"
        elif row.state in _OPEN and case.run.ending not in _WAITING:
            if _left_in_doubt(case, row) or _known_otherwise(case, row, stands=stands):
                continue
            yield f"the run is over, and the ledger's row of {operation} is {row.state.value} (key {key!r})"
    for effect in case.live if case.first else ():
        if place_of(effect) not in case.rows:
            yield f"the ledger knows nothing of {effect.operation} under the key {effect.key!r}: {effect.text}"


def unwound(case: Case) -> Iterator[str]:
    """Once a terminated run is unwound, nothing of it is left but what a person left."""
    if case.run.ending is not Ending.TERMINATED or not case.is_saga or not case.first or case.when == "parked":
        return
    if case.run.unwound is None:
        yield "the run was terminated, and its unwind has not ended"
        return
    left = set(case.run.unwound.left)
    for effect in case.live:
        if effect.key not in left and not case.is_others(place_of(effect)):
            yield f"the run was unwound, but {effect.operation} stands (key {effect.key!r}): {effect.text}"


def _answers_for(case: Case, row: Entry) -> bool:
    """Whether a row is this run's to answer for: its own, shared or not, or of no run of the scenario."""
    return not case.run.sagas.isdisjoint(row.sagas) or (case.first and case.others.isdisjoint(row.sagas))


def _left_in_doubt(case: Case, row: Entry) -> bool:
    """Whether a person has left it to itself in the unwind, and nobody knows its result: that leaves an open undo.

    Where the result is known, their word is written down: the row is done.
    """
    left = case.run.unwound is not None and row.key in case.run.unwound.left
    return left and row.state is State.UNDOING and row.result is None


def _known_otherwise(case: Case, row: Entry, *, stands: bool) -> bool:
    """Whether a row is open only because it could not be written, and the workflow's own word is true."""
    if not case.strikes(FaultKind.UNRECORDED):
        return False
    step = next((step for step in case.steps if step_place(step) == (row.operation, row.key)), None)
    # By a child, by the saga of an event, which has undone itself and gone, or by the unwind of a terminated run.
    elsewhere = row.saga in case.run.children or (step is None and case.is_entity) or case.run.unwound is not None
    if elsewhere:
        return not stands if row.state is State.UNDOING else stands and not case.given_up(row)
    if step is None:
        return not case.is_saga
    if row.state is State.UNDOING:
        return not stands and step["undo"] in (UndoState.UNDONE, UndoState.NOTHING)
    return stands and counts(step)
