"""Every run is checked once more: would it have survived the loss of its worker between any two workflow tasks?

A worker that loses a run (it crashed, or its cache was full) replays the run's history with a fresh instance, and the
commands must be the same. Whatever it replays at an earlier boundary is a part of what it replays at the last one, so
one replay of the whole history stands for a crash at every boundary, and equal histories need one replay together.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History

from kit.testing.engines.protocol import Branching, Course, Cut, Engine, Foreseeing, Known, Replaying
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run, Violation
from kit.testing.world import Subject

REPLAYS: Final = "a run goes on where a lost worker left it"
"""The invariant that the replay checks."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of the replay of one history.

    Attributes:
        boundaries: Between how many workflow tasks its worker could have been lost.
        diverged: Where the fresh instance left the history; ``None`` when it did not.
    """

    boundaries: int
    diverged: str | None


BRANCHES: Final = 4
"""From how many scenarios on it is worth while to remember where they differ."""


@dataclass(slots=True)
class Runner:
    """Runs scenarios of one subject, and checks that each run replays.

    Args:
        engine: Entered by the caller. One that cannot replay leaves the runs unchecked.
        subject: What is under faults.
    """

    engine: Engine
    subject: Subject
    replayed: dict[int, Replayed] = field(default_factory=dict)
    """What was replayed so far, by the digest of the history."""

    async def run(self, scenario: Scenario) -> Run:
        """Run one scenario to its end."""
        return await self._checked(await self.engine.run(self.subject, scenario))

    async def run_until(self, scenario: Scenario, known: Known) -> Run | Cut:
        """Run one scenario until the rest is known; to its end, if the engine cannot tell."""
        if not isinstance(self.engine, Foreseeing):
            return await self.run(scenario)
        return await self.checked(await self.engine.run_until(self.subject, scenario, known))

    @asynccontextmanager
    async def course(self, scenario: Scenario, *, branches: int) -> AsyncIterator[Course]:
        """What runs a scenario with one more fault: from where it stood, if the engine can and it is worth while.

        Args:
            scenario: Its other faults.
            branches: How many are run.
        """
        if branches < BRANCHES or not isinstance(self.engine, Branching):
            yield _FromTheStart(self, scenario)
            return
        async with self.engine.course(self.subject, scenario) as course:
            yield _Checked(self, course)

    async def checked(self, run: Run | Cut) -> Run | Cut:
        """A run, and a violation more if it does not replay."""
        return await self._checked(run) if isinstance(run, Run) else run

    def boundaries(self, run: Run) -> int:
        """Between how many workflow tasks the run was checked to survive."""
        found = self.replayed.get(digest(run))
        return 0 if found is None else found.boundaries

    async def _checked(self, run: Run) -> Run:
        if not isinstance(self.engine, Replaying) or self._two_versions(run):
            return run
        history = digest(run)
        if history not in self.replayed:
            diverged = await asyncio.to_thread(self.engine.replays, self.subject, run)
            self.replayed[history] = Replayed(_boundaries(run), diverged)
        diverged = self.replayed[history].diverged
        if diverged is None:
            return run
        return replace(run, violations=(*run.violations, Violation(REPLAYS, diverged)))

    def _two_versions(self, run: Run) -> bool:
        """Whether a part of the history is another version's, which this one need not follow."""
        handed = any(fault.kind is FaultKind.HANDED_OVER for fault in run.scenario.faults)
        return handed and self.subject.previous is not None


@dataclass(frozen=True, slots=True)
class _FromTheStart:
    """No course: every scenario is run from the start."""

    runner: Runner
    scenario: Scenario

    async def run_until(self, fault: Fault, known: Known) -> Run | Cut:
        return await self.runner.run_until(self.scenario.plus(fault), known)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A course whose runs are checked."""

    runner: Runner
    course: Course

    async def run_until(self, fault: Fault, known: Known) -> Run | Cut:
        return await self.runner.checked(await self.course.run_until(fault, known))


def digest(run: Run) -> int:
    """A digest of a run's history."""
    return int.from_bytes(hashlib.blake2b(run.history, digest_size=8).digest())


def _boundaries(run: Run) -> int:
    completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return sum(event.event_type == completed for event in History.FromString(run.history).events)
