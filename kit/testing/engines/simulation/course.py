"""The course of one scenario, from whose quiet moments others begin that have one more fault.

A scenario with one more fault is the same until that fault's point is come to (`Carrier.on_point`): nothing looks at a
fault before. So the course is run once, and remembered whenever nothing is at work (`Memento`); each of the others
begins at the latest such moment before its point. Its workflow is replayed from its history, as by a worker that took
over from a lost one; all else goes on where it stood.

Where nothing can be remembered (the world does not tell its state, or does not come back to it; something besides the
attempts is at work), the others are run from the start, as if there were no course.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kit.testing.engines.concluding import conclude
from kit.testing.engines.protocol import Cut, Known
from kit.testing.engines.simulation.clock import VirtualLoop, cancel_rest
from kit.testing.engines.simulation.execution import Execution
from kit.testing.engines.simulation.knowing import Foreseen, Foresight, Teller, told_at_once
from kit.testing.engines.simulation.rewinding import Memento
from kit.testing.engines.simulation.scene import Scene
from kit.testing.engines.simulation.server import SimulatedServer
from kit.testing.faults import Fault, Point, Scenario
from kit.testing.invariants.judging import Held
from kit.testing.runs import Run


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment to which one can come back.

    Attributes:
        loop: Brings the clock back, and what is due.
        held: Brings everything else back.
        state: What the world told of itself.
    """

    loop: Callable[[], None]
    held: Memento
    state: bytes


class Course:
    """The run of one scenario, to its end.

    It lives in one thread, without a running loop.

    Args:
        build: Builds its scene; called on a virtual loop.
        scenario: Its faults.
    """

    cut: Cut | None = None
    """It is never cut short."""

    def __init__(self, build: Callable[[Scenario, Any], Scene], scenario: Scenario) -> None:
        self.scenario = scenario
        self._loop = VirtualLoop()
        self._moments: list[_Moment] = []
        self._first: dict[Point, int] = {}
        """How many moments there were when a point was come to for the first time."""
        self._held: set[Held] = set()
        self._teller: Teller | None = None
        self._main: asyncio.Task[Any] | None = None
        # Until it is closed nothing of it grows old, so that in the end it is found without a look at anything older.
        self._collecting = gc.isenabled()
        self._aged = False
        """Whether others were run from the start meanwhile, which left nothing of this among the young."""
        gc.disable()
        try:
            self._scene: Scene = self._complete(self._follow(build))
            self._teller = Teller(self._scene)
            self._stop()
        except BaseException:
            self._leave()
            raise

    async def _follow(self, build: Callable[[Scenario, Any], Scene]) -> Scene:
        self._main = asyncio.current_task()
        scene = build(self.scenario, self)
        scene.wire.on_point = self._note
        await scene.__aenter__()
        await self._conclude(scene)
        scene.wire.on_point = None
        return scene

    def _note(self, point: Point) -> None:
        self._first.setdefault(point, len(self._moments))

    def look(self, scene: Scene, latest: Execution | None) -> None:
        """A workflow task is done, or an attempt: remember the moment, if nothing is at work."""
        if asyncio.all_tasks(self._loop) - {self._main} or any(
            run.updates or run.stuck for run in scene.server.executions
        ):
            return
        state = told_at_once(scene.world.state())
        if state is None:
            return
        ready = [handle for handle in self._loop.ready() if _owner(handle) is None]
        handles = [*ready, *self._loop.due()]
        self._moments.append(
            _Moment(
                self._loop.keep(ready),
                Memento([scene, *handles], without=[self._loop, self, scene.server.answers]),
                state,
            )
        )

    @property
    def server(self) -> SimulatedServer:
        """Where it runs."""
        return self._scene.server

    def close(self) -> None:
        """Give everything back."""
        try:
            self._complete(self._scene.__aexit__())
        finally:
            self._leave()

    def _leave(self) -> None:
        self._moments.clear()
        try:
            cancel_rest(self._loop)
        finally:
            self._loop.close()
            self.__dict__.pop("_scene", None)
            self._teller = None
            self._main = None
            gc.collect(2 if self._aged else 1)
            if self._collecting:
                gc.enable()

    # --- the others ---------------------------------------------------------------------------------------------------

    def run_until(self, fault: Fault, known: Known) -> Run | Cut | None:
        """Run the scenario with one more fault; see `kit.testing.engines.protocol.Foreseeing`.

        Returns:
            ``None`` when it must be run from the start.
        """
        if not self._rewind(self._first.get(fault.point, 0)):
            self._aged = True
            return None
        self._scene.resume(self.scenario.plus(fault), Foresight(known, self._teller))
        try:
            run: Run = self._complete(self._go_on())
        except Foreseen as foreseen:
            return foreseen.cut
        else:
            return run
        finally:
            self._stop()

    def _rewind(self, number: int) -> bool:
        """Come back to the moment of this number, from 1; returns whether that is where it has come to."""
        if not 0 < number <= len(self._moments):
            return False
        moment = self._moments[number - 1]
        moment.held.restore()
        moment.loop()
        if told_at_once(self._scene.world.state()) != moment.state:
            self._moments.clear()  # the world holds something that is out of sight
            return False
        gc.collect(0)  # what the one before has left
        return True

    def _stop(self) -> None:
        self._scene.server.shutdown()
        cancel_rest(self._loop)

    async def _go_on(self) -> Run:
        for run in self._scene.server.executions:
            run.take_over()
        return await self._conclude(self._scene)

    async def _conclude(self, scene: Scene) -> Run:
        return await conclude(scene, subject=scene.subject, wire=scene.wire, world=scene.world, held=self._held)

    def _complete(self, main: Any) -> Any:
        try:
            return self._loop.run_until_complete(main)
        except BaseException:
            if self._loop.broken is not None:
                raise self._loop.broken from None
            raise


def _owner(handle: asyncio.Handle) -> object | None:
    """The task that a handle wakes up, if it does."""
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]  # every handle has one
    return owner if isinstance(owner, asyncio.Task) else None
