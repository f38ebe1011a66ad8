"""The state of a scenario: everything that the rest of its run depends on, as one digest.

Taken after a workflow task, when every fault has struck and has nothing left to do and no attempt is at work. Two runs
in one state go on equally, for nothing else decides: the workflow is a function of its history, the server of its runs
and what is due, the guard of its ledgers, its breakers and limits, and the providers of what `World.state` tells. A part
that cannot be told (a world that does not say, a ledger that waits for something) is no state: the run is not stopped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

from kit.testing.engines.protocol import Cut
from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.execution import Execution
from kit.worker.guard import Guard

if TYPE_CHECKING:
    from kit.testing.engines.simulation.scene import Scene

_OWNER: Final = re.compile(rb"[0-9a-f]{32}-[0-9a-f]+-\d+")
"""What makes the owner of a row unlike any other, in this process and in every other; nothing depends on its value."""


class Foreseen(Exception):
    """The rest of the run is known."""

    def __init__(self, cut: Cut) -> None:
        super().__init__(cut.state)
        self.cut = cut


class Foresight:
    """Tells the states of a scenario, and hears whether the rest is known.

    Args:
        known: Asked about every state; see `kit.testing.engines.protocol.Foreseeing`.
    """

    def __init__(self, known: Callable[[str, int], bool]) -> None:
        self._known = known
        self.cut: Cut | None = None

    def look(self, scene: Scene) -> None:
        """A workflow task is done: is the rest known?"""
        if self.cut is not None or not scene.wire.absorbed or not scene.calm:
            return
        state = state_of(scene)
        if state is not None and self._known(state, len(scene.wire.seen)):
            self.cut = Cut(state, tuple(scene.wire.seen))


def state_of(scene: Scene) -> str | None:
    """The state of a scenario, 32 hexadecimal digits; ``None`` when a part of it cannot be told."""
    providers = _at_once(scene.world.state())
    rows = _at_once(scene.world.rows(*(run.id for run in scene.server.executions)))
    if providers is None or rows is None:
        return None
    digest = hashlib.blake2b(digest_size=16)
    digest.update(_OWNER.sub(b"", providers))
    digest.update(_OWNER.sub(b"", repr(rows).encode()))
    digest.update(scene.wire.state())
    digest.update(repr([(one.point, one.workflow_id, one.key, one.attempt) for one in scene.wire.seen]).encode())
    digest.update(repr((scene.loop.time(), scene.version, sorted(_gates(scene)))).encode())
    for run in scene.server.executions:
        digest.update(run.log.proto().SerializeToString(deterministic=True))
        digest.update(repr(_waits(run)).encode())
    return digest.hexdigest()


def _at_once(telling: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing; ``None`` if it does."""
    try:
        telling.send(None)
    except StopIteration as done:
        return done.value
    telling.close()
    return None


def _waits(run: Execution) -> tuple[object, ...]:
    timers = sorted((timer, handle.when()) for timer, (_, handle) in run.timers.items())
    activities = [_attempts(activity) for _, activity in sorted(run.activities.items())]
    return run.open, run.stuck, run.cancel_requested, timers, activities, sorted(run.children), sorted(run.starting)


def _attempts(activity: Activity) -> tuple[object, ...]:
    beaten = activity.heartbeat.SerializeToString(deterministic=True) if activity.heartbeat else b""
    return (
        activity.event.event_id,
        activity.attempt,
        activity.running,
        activity.ended,
        activity.cancel_requested,
        activity.queued_at,
        beaten,
        activity.due(),
    )


def _gates(scene: Scene) -> Iterator[tuple[object, ...]]:
    """What the worker's guard counts."""
    guards = {
        id(cell.cell_contents): cell.cell_contents
        for activity in scene.activities
        for cell in getattr(activity, "__closure__", None) or ()
        if isinstance(cell.cell_contents, Guard)
    }
    for guard in guards.values():
        for name, gate in guard._gates.items():
            breaker, limiter = gate.breaker, gate.limiter
            yield (
                name,
                breaker and (breaker._failures, breaker._opened_at, breaker._trial),
                limiter and limiter._next,
            )
