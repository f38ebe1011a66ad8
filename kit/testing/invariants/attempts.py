"""Attempts: a refusal for good is believed, and everything else is tried as often as its rules allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from kit.contract import FailureKind, Operation, Outcome, Role
from kit.testing.faults import FaultKind
from kit.testing.invariants.case import Case, Place

REFUSALS: Final = 2
"""How often the same thing may be refused for good: once, and once more after an attempt that nobody heard of."""

FURTHER: Final = 2
"""How many calls a further fault can spoil with a failure of another kind, for which another cap counts: an outage
lasts for two."""

_FREE: Final = frozenset({FailureKind.CIRCUIT_OPEN, FailureKind.HELD})
"""Kinds of which no attempt goes out: they cost no cap."""


def refused_once(case: Case) -> Iterator[str]:
    """What was refused for good is not asked for again, but once more after an attempt of unknown outcome."""
    further = max(len(case.run.scenario.faults) - 1, 0)
    refused: Counter[tuple[str, str, Role, int]] = Counter()
    for seen in case.seen:
        if seen.fault is not None and seen.fault.kind is FaultKind.REFUSED and seen.outcome is Outcome.REFUSED:
            refused[seen.point.operation, seen.key, seen.point.role, seen.point.request] += 1
    for (operation, key, role, _), number in refused.items():
        # A look-up serves the action and the undo.
        if number > (REFUSALS + further) * (2 if role is Role.PROBE else 1):
            yield (
                f"the {role.value} of {operation} was refused for good {number} times under the key {key!r}: its "
                "error must be of a kind that is not tried again"
            )


def within_caps(case: Case) -> Iterator[str]:
    """Nothing that may turn the run round fails more often than its retry rules allow."""
    further = max(len(case.run.scenario.faults) - 1, 0)
    for (name, key), number in _failures(case).items():
        operation = case.operations.get(name)
        cap = _cap(operation) if operation is not None else None
        if cap is not None and number > (most := cap + FURTHER * further):
            yield f"{name} was attempted {number} times under the key {key!r}; its retry rules allow {most}"


def _failures(case: Case) -> dict[Place, int]:
    """The most attempts that one activity made of each action, by what went out for them.

    An attempt for which nothing went out has waited: for the lease of another attempt, for a hold, for a circuit to
    close. So has one that looked, and found nothing yet. Neither costs a cap. What is tried without end (an
    undo, a step after the commit) has none.
    """
    most: Counter[Place] = Counter()
    attempts: dict[Place, list[int]] = {}
    for seen in case.seen:
        looked = seen.point.role is Role.PROBE and seen.fault is None
        if seen.persistent or seen.held or looked:
            continue
        place = seen.point.operation, seen.key
        made = attempts.setdefault(place, [])
        if made and seen.attempt < made[-1]:
            made.clear()  # another activity: the body, or a person, has the step begun anew
        if seen.attempt not in made:
            made.append(seen.attempt)
        most[place] = max(most[place], len(made))
    return dict(most)


def _cap(operation: Operation[Any, Any]) -> int | None:
    """The most attempts that any one of an operation's rules allows; ``None`` where the deadline is the only bound."""
    most = 1
    for kind in operation.dependency.retry:
        attempts = operation.retry_for(kind, persistent=False).attempts
        if attempts is None and kind not in _FREE:
            return None
        most = max(most, attempts or 1)
    return most
