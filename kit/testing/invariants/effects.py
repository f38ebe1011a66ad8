"""Effects: each once, all of them or none, and what cannot be taken back last."""

from __future__ import annotations

from collections.abc import Iterator

from kit.contract import Effect, Outcome
from kit.testing.invariants.case import WITHOUT_SUCCESS, Case, Step, by_person, counts, is_settled, place_of, step_place
from kit.workflow.steps import Phase


def once(case: Case) -> Iterator[str]:
    """No two effects stand under one key."""
    for (operation, key), number in case.standing.items():
        if number > 1:
            told = "; ".join(effect.text for effect in case.live if place_of(effect) == (operation, key))
            yield f"{operation} has {number} live effects under the key {key!r}: {told}"


def complete(case: Case) -> Iterator[str]:
    """A completed run has every effect that it says it has, and no other of its steps'."""
    if not case.stays:
        return
    counted = {step_place(step) for step in case.steps if counts(step)}
    for step in case.steps:
        operation, key = place = step_place(step)
        said = step["outcome"]
        if place in case.decided:
            continue
        if counts(step):
            if not case.stands(step):
                yield f"the run completed and calls {operation} done, but no effect stands under the key {key!r}"
        elif said == Outcome.DONE:
            yield f"the run completed, but {operation}, which was done, is {step['undo']!r} (key {key!r})"
        elif step["phase"] == Phase.AFTER_COMMIT:
            yield f"the run completed, but {operation}, held back for it, is {said!r} (key {key!r})"
        elif step["phase"] == Phase.FORWARD:
            yield f"the run completed, but {operation}, which comes after its pivot, is {said!r} (key {key!r})"
        elif case.stands(step) and place not in counted and not case.is_others(place):
            yield f"the run completed and calls {operation} {said!r}, but it stands (key {key!r})"
    for effect in case.live if case.is_entity else ():
        row = case.rows.get(place_of(effect))
        if row is not None and case.given_up(row) and not by_person(row):
            yield f"event {row.correlation_id!r} was undone, but {effect.operation} stands (key {effect.key!r})"


def nothing_left(case: Case) -> Iterator[str]:
    """A run that ended without success leaves nothing, but what a person decided to leave."""
    ending = case.run.ending
    if ending not in WITHOUT_SUCCESS or case.stays:
        return
    for effect in case.live:
        if place_of(effect) not in case.left and not case.is_others(place_of(effect)):
            yield f"the run ended {ending.value}, but {effect.operation} stands (key {effect.key!r}): {effect.text}"


def irreversible(case: Case) -> Iterator[str]:
    """What cannot be taken back took effect after everything that may still turn the saga round."""
    if not case.is_saga:
        return  # another workflow does not say where its commit is: what it leaves when it fails is judged
    taken = dict[tuple[str, str], int]()
    for number, effect in enumerate(sorted(case.live, key=lambda effect: effect.order)):
        taken.setdefault(place_of(effect), number)
    steps = {step_place(step): step for step in case.steps}
    for place, at in taken.items():
        operation = case.operations.get(place[0])
        if operation is None or operation.effect is not Effect.IRREVERSIBLE or case.is_others(place):
            continue
        if case.run.unwound is not None and place[1] in case.run.unwound.left:
            continue  # it came after all that could turn the run round; what was taken back since, a person has seen
        for step in _before(case, steps.get(place)):
            before = step_place(step)
            if before in taken and taken[before] > at:
                yield f"{place[0]} took effect before {before[0]}, and cannot be taken back"
            elif before not in taken and not case.is_others(before):
                yield f"{place[0]} cannot be taken back, and stands although {before[0]} does not"


def _before(case: Case, step: Step | None) -> Iterator[Step]:
    """The steps that must stand before an irreversible effect does: all that can turn the saga round.

    Args:
        case: The case.
        step: Whose effect it is; ``None`` when no step has it: then it must come after everything.
    """
    for other in case.steps:
        if other is step or step_place(other) in case.decided or other["phase"] == Phase.AFTER_COMMIT:
            continue
        if other["outcome"] != Outcome.DONE and is_settled(other):
            continue  # the body went on without it, and nothing of it is left
        held_back = step is None or step["phase"] == Phase.AFTER_COMMIT
        earlier = step is not None and other["number"] < step["number"] and other["phase"] != Phase.FORWARD
        if held_back or earlier:
            yield other
