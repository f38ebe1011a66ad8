"""A point: a run in flight between two workflow tasks, and what the other version makes of it.

What a run in flight is, is its history. Whether the other version's code can take it over is decided by replaying the
history up to the point on that code, and by reading every payload that it will need with that code's types:

- Another ask than was recorded: the run is **stuck**, its workflow task fails for ever. A ``workflow.patched`` that
  the other version does not know is such a case.
- A payload that a type refuses: the run is **unreadable** there. A workflow fails at once and undoes nothing; an
  activity fails again and again.
- Another idempotency key than a step was taken with: its undo finds nothing to undo. That is an **altered** value, too.
- A payload of which a type makes something else, silently: the run goes on with **altered** values, such as an amount
  that is 0 because its field has another name.

Nothing is said here of what the run does after the point; that is for `finishing`, on a real server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from kit.testing.gates.histories import Recording
from kit.testing.gates.replaying import KEY, changes_of, diverges
from kit.testing.gates.watching import Difference, Reading, Watched, recorded


class State(StrEnum):
    """What becomes of a run at a point when the other version takes it over. A closed vocabulary."""

    FINE = "fine"
    """The other version goes on with it."""
    ALTERED = "altered"
    """It goes on with other values than were written."""
    UNREADABLE = "unreadable"
    """It cannot read what was written."""
    STUCK = "stuck"
    """Its workflow task fails again and again, or an activity does."""
    VIOLATED = "violated"
    """It was finished, and an invariant does not hold."""


class Direction(StrEnum):
    """Which way a run changes its version."""

    BACK = "back"
    """Begun by the new code, finished by the old: a rollback."""
    FORTH = "forth"
    """Begun by the old code, finished by the new: a deploy."""


@dataclass(frozen=True, slots=True)
class Point:
    """A run in flight.

    Attributes:
        run: The recording's name.
        workflow: The workflow's type.
        direction: Which way it changes its version here.
        task: Which of the run's workflow tasks the other version is the first to carry out, from 1.
        event: The event at which that task was taken up.
        done: The activity that ended last before it; empty before the first.
        next: What the recording asks for in it.
        state: What becomes of it.
        why: In a sentence; empty when it is fine.
        played: Whether it was finished by the other version on a real server.
        notes: What else is worth knowing.
    """

    run: str
    workflow: str
    direction: Direction
    task: int
    event: int
    done: str
    next: tuple[str, ...]
    state: State = State.FINE
    why: str = ""
    played: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def strands(self) -> bool:
        """Whether a run must not change its version here."""
        return self.state is not State.FINE

    @property
    def place(self) -> str:
        """Where it is, in words."""
        after = f"after {self.done}" if self.done else "at its start"
        return f"{after}, before it would {' and '.join(self.next) or 'wait'}"


def prefixes(recordings: Iterable[Recording]) -> list[Recording]:
    """Every point of some recordings, as histories."""
    return [recording.until(event) for recording in recordings for event in recording.tasks]


def judge(
    recording: Recording,
    watched: Sequence[Watched],
    *,
    direction: Direction,
    own: Watched,
    missing: str = "",
) -> list[Point]:
    """What the other version makes of each point of a recording.

    Args:
        recording: The whole.
        watched: By the other version: one for each point; none when it does not have the workflow.
        direction: Which way.
        own: The whole, by the version that made it: what it reads otherwise itself is no news.
        missing: Why the other version does not have the workflow.
    """
    known = {(one.event, one.what, str(each)) for one in own.readings for each in one.differences}
    asked = recorded(recording.events)
    points = []
    for number, event in enumerate(recording.tasks, 1):
        state, why, notes = (
            (State.STUCK, f"the other version has no such workflow: {missing}", ())
            if missing
            else _judge(recording, event, watched[number - 1], known, direction)
        )
        points.append(
            Point(
                run=recording.name,
                workflow=recording.workflow,
                direction=direction,
                task=number,
                event=event,
                done=_last_done(recording, event),
                next=tuple(str(ask) for ask in asked.get(event, ())),
                state=state,
                why=why,
                notes=notes,
            )
        )
    return points


def _judge(
    recording: Recording, event: int, watched: Watched, known: set[tuple[int, str, str]], way: Direction
) -> tuple[State, str, tuple[str, ...]]:
    waiting = _waiting(recording, event)
    readings = [one for one in watched.readings if not one.what.startswith(_ARGUMENT) or one.event in waiting]
    refused = next((one for one in readings if one.error), None)
    if refused is not None:
        return State.UNREADABLE, f"{_place(refused)} cannot be read as {refused.type}: {refused.error}", ()
    divergence = diverges(watched)
    if divergence is not None:
        patch = f" (the patch {divergence.patch!r} is unknown to it)" if divergence.patch else ""
        why = f"event {divergence.event} is {divergence.recorded!r}, it would {divergence.now!r} there{patch}"
        return State.STUCK, why, ()
    other = [(change, each) for change in changes_of(watched) for each in change.differences if each.path == KEY]
    if other:
        change, key = other[0]
        why = (
            f"event {change.event} has {change.activity} under the key {key.was!r}; a look-up or an undo would ask for "
            f"{key.now!r} and find nothing"
        )
        return State.ALTERED, why, ()
    news = [
        (one, each) for one in readings for each in one.differences if (one.event, one.what, str(each)) not in known
    ]
    grave = [f"{_place(one)}: {each}" for one, each in news if _grave(each, one, way)]
    notes = tuple(f"{_place(one)}: {each}" for one, each in news if not _grave(each, one, way))
    return (State.ALTERED, "; ".join(grave), notes) if grave else (State.FINE, "", notes)


def _grave(difference: Difference, reading: Reading, way: Direction) -> bool:
    """Whether a run should not go on with what a type has made of a payload.

    New code that gives a field it has added a default, and old code that leaves out what it never knew, do what their
    authors meant. Old code that makes up what the new one no longer writes does not; nor does a type that does both in
    one payload, for that is what a renamed field looks like.
    """
    kinds = {each.kind for each in reading.differences if not _harmless(each)}
    if _harmless(difference):
        return False
    if difference.kind == "defaulted":
        return way is Direction.BACK or "dropped" in kinds
    return difference.kind == "changed" or "defaulted" in kinds


_ARGUMENT: Final = "an argument of "
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


def _harmless(difference: Difference) -> bool:
    """Nothing is lost when what is dropped, or made up, is empty."""
    return (difference.kind == "dropped" and difference.was in _EMPTY) or (
        difference.kind == "defaulted" and difference.now in _EMPTY
    )


def _place(reading: Reading) -> str:
    return f"{reading.what} (event {reading.event})"


def _waiting(recording: Recording, event: int) -> set[int]:
    """The activities that were scheduled and had not ended at a point, by the event that scheduled them."""
    found: set[int] = set()
    for one in recording.events:
        if one.event_id > event:
            break
        kind = one.WhichOneof("attributes") or ""
        if kind == "activity_task_scheduled_event_attributes":
            found.add(one.event_id)
        elif kind.startswith("activity_task_") and kind.partition("_event")[0] in _ENDED:
            found.discard(getattr(one, kind).scheduled_event_id)
    return found


_ENDED: Final = {f"activity_task_{how}" for how in ("completed", "failed", "timed_out", "canceled")}


def _last_done(recording: Recording, event: int) -> str:
    names: dict[int, str] = {}
    last = ""
    for one in recording.events:
        if one.event_id > event:
            break
        kind = one.WhichOneof("attributes") or ""
        told: Any = getattr(one, kind) if kind else None
        if kind == "activity_task_scheduled_event_attributes":
            names[one.event_id] = told.activity_type.name
        elif kind.partition("_event")[0] in _ENDED:
            last = names.get(told.scheduled_event_id, "")
    return last


def spread(points: Sequence[Point], limit: int) -> list[Point]:
    """At most so many points, chosen: the first of each state and reason, then the others as far apart as possible."""
    chosen: dict[int, Point] = {}
    seen: set[tuple[State, str]] = set()
    for place, point in enumerate(points):
        if (point.state, point.why) not in seen and len(chosen) < limit:
            seen.add((point.state, point.why))
            chosen[place] = point
    while len(chosen) < min(limit, len(points)):
        left = (place for place in range(len(points)) if place not in chosen)
        far = max(left, key=lambda place: (min(abs(place - other) for other in chosen), -place))
        chosen[far] = points[far]
    return [chosen[place] for place in sorted(chosen)]
