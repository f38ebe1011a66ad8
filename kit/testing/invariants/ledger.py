"""The ledger: it says what is true, and enough of it to undo what a run leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from kit.ledger import Entry, State
from kit.testing.faults import FaultKind
from kit.testing.invariants.case import Case, counts, place_of, step_place
from kit.testing.runs import Ending
from kit.workflow import Choice
from kit.workflow.steps import UndoState

_GONE: Final = frozenset({State.UNDONE, State.VOID, State.REFUSED})
"""What the ledger says of an effect that does not stand."""

_OPEN: Final = frozenset({State.CLAIMED, State.UNKNOWN, State.UNDOING})
"""What it says where somebody still has to look."""

_WAITING: Final = frozenset({Ending.PARKED, Ending.TERMINATED, Ending.STUCK})
"""Endings after which somebody still looks: a person, or whoever unwinds the run."""


def true_ledger(case: Case) -> Iterator[str]:
    """What the ledger calls settled is true, and at the end of a run nothing of it is open."""
    for (operation, key), row in case.rows.items():
        place = operation, key
        if place in case.decided or _by_person(row) or not _answers_for(case, row):
            continue
        stands = place in case.standing
        if row.state is State.DONE and not stands:
            if _taken_along(case, row):
                continue
            yield f"the ledger says that {operation} is done under the key {key!r}, but no effect stands"
        elif row.state in _GONE and stands:
            yield f"the ledger says that {operation} is {row.state.value} under the key {key!r}, but it stands"
        elif row.state in _OPEN and case.run.ending not in _WAITING and not _known_otherwise(case, row, stands=stands):
            yield f"the run is over, and the ledger's row of {operation} is {row.state.value} (key {key!r})"
    for effect in case.live if case.first else ():
        if place_of(effect) not in case.rows:
            yield f"the ledger knows nothing of {effect.operation} under the key {effect.key!r}: {effect.text}"


def unwindable(case: Case) -> Iterator[str]:
    """Whatever a terminated run left can be found by its id, and undone by its row."""
    if case.run.ending is not Ending.TERMINATED:
        return
    for effect in case.live:
        row = case.rows.get(place_of(effect))
        if row is None or case.is_others(place_of(effect)):
            continue  # an effect without a row is the ledger's violation
        if case.run.workflow_id not in row.sagas:
            yield f"the run was terminated, and {effect.operation} stands, but its row is of {row.saga!r}"
        if row.state in _GONE:
            yield f"the run was terminated, and {effect.operation} stands, but its row is {row.state.value}"
        try:
            case.operations[effect.operation].request.model_validate_json(row.request)
        except ValidationError as error:
            yield f"the run was terminated, and the row of {effect.operation} has no request to undo it by: {error}"


def _answers_for(case: Case, row: Entry) -> bool:
    """Whether a row is this run's to answer for: its own, shared or not, or of no run of the scenario."""
    return case.run.workflow_id in row.sagas or (case.first and case.others.isdisjoint(row.sagas))


def _taken_along(case: Case, row: Entry) -> bool:
    """Whether an effect went with a later one of the same system that was built on it.

    An authorization goes when its capture is refunded. A run that is terminated just then has not written it down;
    whoever unwinds it finds nothing.
    """
    if case.run.ending is not Ending.TERMINATED:
        return False
    system = case.operations[row.operation].dependency.name
    return any(
        other.state is State.UNDONE and other.step > row.step and case.operations[operation].dependency.name == system
        for (operation, _), other in case.rows.items()
    )


def _by_person(row: Entry) -> bool:
    return row.reason is not None and row.reason.startswith(tuple(f"{choice.value} by " for choice in Choice))


def _known_otherwise(case: Case, row: Entry, *, stands: bool) -> bool:
    """Whether a row is open only because it could not be written, and the workflow's own word is true."""
    if not case.strikes(FaultKind.UNRECORDED):
        return False
    step = next((step for step in case.steps if step_place(step) == (row.operation, row.key)), None)
    if step is None:
        return not case.is_saga
    if row.state is State.UNDOING:
        return not stands and step["undo"] in (UndoState.UNDONE, UndoState.NOTHING)
    return stands and counts(step)
