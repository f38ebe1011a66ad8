"""The state of a scenario: everything that the rest of its run depends on, as one digest.

Taken after a workflow task, when every fault has struck and has nothing left to do and no attempt is at work. Two runs
in one state go on equally, for nothing else decides: the workflow is a function of what it has heard, the server of its
runs and what is due, the guard of its ledgers, its breakers and limits, the connectors of what they remember, and the
providers of what `World.state` tells.
A part that cannot be told (a world that does not say, a ledger that waits for something, two things due at one instant)
makes the whole no state: the run is not stopped there. Nor is it where an invariant of the user asks for the way that
led there (`kit.testing.engines.way`).

**What is left out of a saga's state**, so that a run that has got over a fault is in the state of one that had none:

- *What time it is.* Everything is told as seen from now: what is due, leases, doubts. How long ago something was
  settled is left out, and so is how much of the deadline is left: no rule of the kit looks at it before the deadline
  comes, or a key is forgotten. `kit.testing.engines.horizon` says when that is, and no state is told later
  than at `EARLY` of it. Of an approval that counts for a time of its own it is told how much of it is left.
- *What the workflow does not hear*: the attempts of an activity before the one that ended it.
- *How many attempts it took*, up to what the retry rules allow, and whether the result was found or made. The workflow
  reports both, and decides nothing by them.
- *The numbers of the calls*: they name what a further fault strikes, and nothing else.

Of a workflow that is no saga, or that asks for the time, only what it does not hear is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import HistoryEvent

from kit.contract import Role
from kit.errors import Outcome
from kit.ledger import Entry
from kit.testing.engines.horizon import horizon, limits_approvals
from kit.testing.engines.protocol import Cut, Known, State
from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.clock import EPOCH
from kit.testing.engines.simulation.execution import Execution
from kit.testing.engines.simulation.remembering import memory_of
from kit.testing.engines.way import asks_for_the_way
from kit.testing.faults import FaultKind
from kit.testing.runs import Seen
from kit.testing.world import Subject
from kit.worker.attempt import PROCESS
from kit.worker.guard import Guard
from kit.worker.work import UNDO_KEY_SUFFIX
from kit.workflow import SagaWorkflow, TaskKind

if TYPE_CHECKING:
    from kit.testing.engines.simulation.scene import Scene

EARLY: Final = 1 / 8
"""Of the horizon: later states are not told."""

_OWNER: Final = re.compile(PROCESS.encode() + rb"-[0-9a-f]+-\d+")
"""What makes the owner of a row unlike any other, in this process and in every other; nothing depends on its value."""

_OF_THE_PAST: Final = frozenset({"owner", "first_claimed_at", "updated_at", "expires_at", "attempts", "revision"})
"""What no rule looks at (`kit.ledger.rules`) while no attempt is at work and no key is forgotten: of the first claims
the order is told, which an unwind follows.
"""

_FIELDS: Final = tuple(field.name for field in fields(Entry))
_INSTANT: Final = ("_at", "_until", "_since")
_MICROSECOND: Final = timedelta(microseconds=1)
_UNIX: Final = datetime(1970, 1, 1, tzinfo=EPOCH.tzinfo)

_LIMITS: Final = ("schedule_to_close_timeout", "schedule_to_start_timeout")
"""What is left of the deadline, in what a saga asks for."""


class Foreseen(Exception):
    """The rest of the run is known."""

    def __init__(self, cut: Cut) -> None:
        super().__init__(cut.state)
        self.cut = cut


class Foresight:
    """Tells the states of a scenario, and hears whether the rest is known.

    Args:
        known: Asked about every state; see `kit.testing.engines.protocol.Foreseeing`.
        teller: Tells them, if there is one of the scene already.
    """

    def __init__(self, known: Known, teller: Teller | None = None) -> None:
        self._known = known
        self._teller = teller
        self.cut: Cut | None = None

    def look(self, scene: Scene, latest: Execution | None) -> None:
        """A workflow task of the ``latest`` run is done, or an attempt: is the rest known?"""
        if self.cut is not None or not scene.calm:
            return
        if not scene.wire.absorbed:
            if scene.wire.missed and self._known(None, len(scene.wire.seen)):
                self.cut = Cut(None, tuple(scene.wire.seen))
            return
        if self._teller is None:
            self._teller = Teller(scene)
        state = self._teller.state(latest)
        if state is not None and self._known(state, len(scene.wire.seen)):
            self.cut = Cut(state, tuple(scene.wire.seen))


class Teller:
    """Tells the states of a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        limit = horizon(scene.subject)
        self._until = None if limit is None else limit.total_seconds() * EARLY
        self._silent = asks_for_the_way(scene.subject) is not None
        self._limits_approvals = self._until is not None and limits_approvals(scene.subject)
        self._caps = _caps(scene.subject)
        self._guards = _guards(scene)
        self._heard: dict[str, list[tuple[HistoryEvent, bytes]]] = {}
        """Of each run its events, with a digest of what it has heard up to each."""

    def state(self, latest: Execution | None) -> State | None:
        """The state now; ``None`` when a part of it cannot be told."""
        scene = self._scene
        if self._silent or (self._until is not None and scene.loop.time() > self._until) or not self._orderly(latest):
            return None
        providers, rows = told_at_once(scene.world.state()), self._rows()
        if providers is None or rows is None or not self._guards:
            return None
        digest = hashlib.blake2b(_OWNER.sub(b"", providers), digest_size=16)
        parts = (
            rows,
            scene.wire.state(),
            scene.version,
            None if self._until is not None else scene.loop.time(),
            scene.server.turns.state(),
            sorted(self._gates()),
            memory_of(scene.world.connectors),
            sorted(map(repr, self._way())),
            [(run.id, self._events(run), self._waits(run)) for run in scene.server.executions],
            list(self._approvals()) if self._limits_approvals else None,
        )
        digest.update(_OWNER.sub(b"", repr(parts).encode()))
        return State(digest.hexdigest(), scene.wire.latent())

    # --- what was ------------------------------------------------------------------------------------------------

    def _events(self, run: Execution) -> bytes:
        """What the workflow has heard and asked for."""
        heard = self._heard.setdefault(run.run_id, [])
        events = run.log.events
        # Not the length alone: the scene may have come back to an earlier moment, and gone on otherwise.
        same = sum(1 for _ in takewhile(lambda pair: pair[0][0] is pair[1], zip(heard, events, strict=False)))
        del heard[same:]
        for event in events[len(heard) :]:
            told = _as_it_is(event) if self._until is None else self._without_time(event, run)
            before = heard[-1][1] if heard else b""
            digest = hashlib.blake2b(before + _OWNER.sub(b"", told.encode()), digest_size=16).digest()
            heard.append((event, digest))
        return heard[-1][1]

    def _without_time(self, event: HistoryEvent, run: Execution) -> str:
        field = event.WhichOneof("attributes") or ""
        attributes = getattr(event, field)
        if field == "activity_task_started_event_attributes":
            return field
        if field == "activity_task_completed_event_attributes":
            asked = run.log.events[attributes.scheduled_event_id - 1].activity_task_scheduled_event_attributes
            results = [self._result(payload.data, asked.activity_type.name) for payload in attributes.result.payloads]
            return f"{field} {attributes.scheduled_event_id} {results}"
        if field == "activity_task_scheduled_event_attributes":
            asked = type(attributes)()
            asked.CopyFrom(attributes)
            for limit in _LIMITS:
                asked.ClearField(limit)
            attributes = asked
        return f"{field} {attributes.SerializeToString(deterministic=True)!r}"

    def _result(self, document: bytes, activity: str) -> object:
        """A result without how it came about, unless that is worth an invariant's word."""
        told = json.loads(document) if document else None
        if not isinstance(told, dict) or "attempts" not in told:
            return document
        # For how long it was held moves the deadline, and no more: how much of it is left is left out anyway.
        attempts, *_ = told.pop("attempts"), told.pop("source", None), told.pop("held", None)
        return sorted(told.items(), key=str), max(0, attempts - self._caps.get(activity, 0))

    def _way(self) -> Iterator[tuple[object, ...]]:
        """What the built-in invariants ask for of the way that led here: see `kit.testing.invariants`."""
        seen = self._scene.wire.seen
        if self._until is None:
            yield from ((str(one.point), one.workflow_id, one.key, one.attempt, one.outcome) for one in seen)
        acted = {(one.point.operation, one.key) for one in seen if _may_have_acted(one)}
        undone = {(one.point.operation, one.key.removesuffix(UNDO_KEY_SUFFIX)) for one in seen if _undoes(one)}
        yield from (("acted", *place) for place in acted)
        yield from (("undone", *place) for place in undone - acted)
        for place, number in Counter(_refusals(seen)).items():
            yield "refused", *place, number
        at_work = {
            activity.asked.activity_type.name
            for run in self._scene.server.executions
            for activity in run.activities.values()
        }
        tries = Counter((one.workflow_id, one.point.operation, one.key) for one in seen if not one.persistent)
        for (run, operation, key), number in tries.items():
            cap = 0 if operation in at_work else self._caps.get(operation, 0)
            if number > cap:
                yield "tried", run, operation, key, number

    # --- what is --------------------------------------------------------------------------------------------------

    def _rows(self) -> list[object] | None:
        """What the ledgers say, told at once; ``None`` when one of them cannot."""
        scene = self._scene
        found: list[dict[str, Any]] = []
        for run in scene.server.executions:
            rows = told_at_once(scene.world.ledger.of_saga(run.id))
            if rows is None:
                return None
            found += [{name: getattr(row, name) for name in _FIELDS} for row in rows]
        databases = {id(one): one for each in scene.world.connectors if (one := each.database) is not None}
        if databases:
            from kit.testing.wire.sql import SqlEngine  # noqa: PLC0415 - most worlds have no database
        for database in databases.values():
            if not isinstance(database.engine, SqlEngine):
                return None
            found += database.engine.effects()
        past = _OF_THE_PAST if self._until is not None else frozenset()
        found.sort(key=lambda row: (_micros(row["first_claimed_at"]), row["step"], row["key"]))
        return [
            [(name, self._from_now(name, value)) for name, value in row.items() if name not in past] for row in found
        ]

    def _from_now(self, name: str, value: Any) -> Any:
        """An instant as it is seen from now."""
        if value is None or not name.endswith(_INSTANT):
            return value
        return _micros(value) - _micros(self._scene.loop.now())

    def _gates(self) -> Iterator[tuple[object, ...]]:
        """What the worker's guard counts."""
        now = self._scene.loop.time()
        for guard in self._guards:
            for name, gate in guard._gates.items():
                breaker, limiter = gate.breaker, gate.limiter
                opened = None if breaker is None or breaker._opened_at is None else breaker._opened_at - now
                yield (
                    name,
                    None if breaker is None else (breaker._failures, breaker._trial, opened),
                    # A schedule that has been caught up with is as good as one that was never used.
                    None if limiter is None else max(0.0, limiter._next - now),
                )

    # --- what will be ---------------------------------------------------------------------------------------------

    def _waits(self, run: Execution) -> tuple[object, ...]:
        now = self._scene.loop.time()
        timers = sorted((timer, _rounded(handle.when() - now)) for timer, (_, handle) in run.timers.items())
        activities = [self._attempts(activity) for _, activity in sorted(run.activities.items())]
        return run.open, run.stuck, run.cancel_requested, timers, activities, sorted(run.children)

    def _approvals(self) -> Iterator[tuple[object, ...]]:
        """For how long the approvals that were not used yet still count."""
        now = self._scene.loop.now()
        begun = (run for run in self._scene.server.executions if run.stuck is None and _last_task(run))
        for run in begun:
            for task in self._scene.tasks_of(run):
                if task.kind is TaskKind.APPROVAL and task.used_by is None and task.expires_at is not None:
                    yield run.id, task.id, max(_micros(task.expires_at) - _micros(now), 0)

    def _attempts(self, activity: Activity) -> tuple[object, ...]:
        now = self._scene.loop.time()
        beaten = activity.heartbeat.SerializeToString(deterministic=True) if activity.heartbeat else b""
        due = [(kind, _rounded(when - now)) for kind, when in activity.due() if self._until is None or kind in _OWN]
        failure = activity.last_failure.SerializeToString(deterministic=True) if activity.last_failure else b""
        return (
            activity.event.event_id,
            activity.attempt,
            activity.running,
            activity.cancel_requested,
            _rounded(activity.queued_at - now),
            beaten,
            failure,
            due,
        )

    def _orderly(self, latest: Execution | None) -> bool:
        """Whether the order of what comes next is told by what is told: of two things at one instant it is not."""
        due: list[float] = []
        ready = 0
        for run in self._scene.server.executions:
            if run.starting or any(not update.done.done() for update in run.updates.values()):
                return False
            ready += run.task_due
            due += [_rounded(handle.when()) for _, handle in run.timers.values()]
            for activity in run.activities.values():
                if activity.with_cancel is not None:
                    return False
                # Those that this task has asked for come after everything else, in the order of its commands.
                ready += activity.queued and not (run is latest and activity.event.event_id > _last_task(run))
                due += [_rounded(when) for kind, when in activity.due() if kind in _OWN]
        return ready <= 1 and len(set(due)) == len(due)


_OWN: Final = frozenset({0, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, TimeoutType.TIMEOUT_TYPE_HEARTBEAT})
"""What an activity waits for besides its deadline: its next attempt, and the limits of this one."""


def _last_task(run: Execution) -> int:
    """The event with which the run's last workflow task was completed."""
    completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return next((event.event_id for event in reversed(run.log.events) if event.event_type == completed), 0)


def _rounded(seconds: float) -> float:
    """To a microsecond: the same instant may have come about by another sum."""
    return round(seconds, 6)


def _as_it_is(event: HistoryEvent) -> str:
    if event.WhichOneof("attributes") == "activity_task_started_event_attributes":
        return "activity_task_started_event_attributes"
    return repr(event.SerializeToString(deterministic=True))


def _caps(subject: Subject) -> dict[str, int]:
    """The most attempts that any retry rule of an operation allows: fewer are no invariant's business."""
    sagas = [one for one in (subject.workflow, *subject.others) if issubclass(one, SagaWorkflow)]
    operations = {name: found for saga in sagas for name, found in saga.__saga__.operations.items()}
    return {
        name: max((rule.attempts for rule in operation.dependency.retry.values() if rule.attempts), default=0)
        for name, operation in operations.items()
    }


def _may_have_acted(one: Seen) -> bool:
    return one.point.role is Role.ACTION and one.outcome not in (Outcome.REFUSED, Outcome.NOT_STARTED)


def _undoes(one: Seen) -> bool:
    return one.point.role is Role.COMPENSATION and not one.held


def _refusals(seen: Iterable[Seen]) -> Iterator[tuple[str, ...]]:
    for one in seen:
        if one.fault is not None and one.fault.kind is FaultKind.REFUSED and one.outcome is Outcome.REFUSED:
            yield one.workflow_id, one.point.operation, one.point.role.value, str(one.point.request), one.key


def _guards(scene: Scene) -> list[Guard]:
    cells = (cell for activity in scene.activities for cell in getattr(activity, "__closure__", None) or ())
    return list(
        {id(cell.cell_contents): cell.cell_contents for cell in cells if isinstance(cell.cell_contents, Guard)}.values()
    )


def _micros(instant: datetime | int) -> int:
    return (instant - _UNIX) // _MICROSECOND if isinstance(instant, datetime) else instant


def told_at_once(telling: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing; ``None`` if it does."""
    try:
        telling.send(None)
    except StopIteration as done:
        return done.value
    telling.close()
    return None
