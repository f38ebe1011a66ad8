"""The engine that runs scenarios in this process, in virtual time."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import pydantic
from temporalio.api.history.v1 import History
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from kit.errors import KitError
from kit.testing.engines.concluding import conclude
from kit.testing.engines.protocol import Cut, Known
from kit.testing.engines.simulation.answers import Answers
from kit.testing.engines.simulation.clock import run_virtually
from kit.testing.engines.simulation.course import Course
from kit.testing.engines.simulation.knowing import Foreseen, Foresight
from kit.testing.engines.simulation.replica import TaskFailed
from kit.testing.engines.simulation.scene import Looking, Scene
from kit.testing.engines.simulation.server import SimulatedServer
from kit.testing.engines.simulation.worker import SimulatedWorker
from kit.testing.faults import Fault, Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject

T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """What a simulation has done so far.

    Attributes:
        scenarios: How many it has run.
        tasks: How many workflow tasks.
        activations: How often workflow code was run, replays included.
        histories: How many of the runs' histories are distinct, by what the workflow has seen and done.
    """

    scenarios: int = 0
    tasks: int = 0
    activations: int = 0
    _seen: set[bytes] = field(default_factory=set)

    @property
    def histories(self) -> int:
        """See class."""
        return len(self._seen)

    def add(self, server: SimulatedServer) -> None:
        """Count one scenario."""
        self.scenarios += 1
        self.tasks += server.tasks
        self.activations += server.activations
        for run in server.executions:
            self._seen.add(run.log.digest())


class Simulation:
    """Runs scenarios in this process, each in a virtual time of its own, one after the other.

    The workflow, the connectors, the guard and the plugin are the real ones; the server is a `SimulatedServer`, whose
    docstring says what it models. The same
    subject, scenario and code give the same run, to the last byte of its history.

    Args:
        evict: Let the worker forget every run after each workflow task, so that each replays from the start.
        sandboxed: Run workflow code in the SDK's sandbox, as a production worker does; several times slower.
    """

    def __init__(self, *, evict: bool = False, sandboxed: bool = False) -> None:
        self._evict = evict
        self._runner = SandboxedWorkflowRunner() if sandboxed else None
        self._thread: ThreadPoolExecutor | None = None
        self.counts = Counts()
        self._answers = Answers()

    async def __aenter__(self) -> Self:
        # A virtual loop cannot run inside a running one, so it has a thread for itself.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulation")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """See `kit.testing.engines.protocol.Engine`.

        Raises:
            UnsupportedScenario: The workflow asks for something that is not simulated.
        """
        return await self._in_thread(self.run_here, subject, scenario)

    def run_here(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario in this thread, which has no running loop."""
        return run_virtually(self._run(subject, scenario))

    async def run_until(self, subject: Subject, scenario: Scenario, known: Known) -> Run | Cut:
        """See `kit.testing.engines.protocol.Foreseeing`.

        Raises:
            UnsupportedScenario: As `run`.
        """
        return await self._in_thread(self._run_until_here, subject, scenario, known)

    def _run_until_here(self, subject: Subject, scenario: Scenario, known: Known) -> Run | Cut:
        try:
            return run_virtually(self._run(subject, scenario, Foresight(known)))
        except Foreseen as foreseen:
            found = foreseen.cut
        # What stops a run holds its whole world until it is caught: by then the world is no longer among the youngest,
        # and nothing would ever find it. That was half a megabyte for each run that was stopped.
        gc.collect(1)
        return found

    @asynccontextmanager
    async def course(self, subject: Subject, scenario: Scenario) -> AsyncIterator[Branches]:
        """See `kit.testing.engines.protocol.Branching`.

        Raises:
            UnsupportedScenario: As `run`.
        """
        course = await self._in_thread(Course, functools.partial(self._scene, subject), scenario)
        try:
            yield Branches(self, subject, course)
        finally:
            await self._in_thread(course.close)

    async def branch(self, subject: Subject, course: Course, fault: Fault, known: Known) -> Run | Cut:
        """One more fault in a course; from the start, where the course has no moment to begin at."""
        found = await self._in_thread(course.run_until, fault, known)
        if found is not None:
            self.counts.add(course.server)
            return found
        return await self.run_until(subject, course.scenario.plus(fault), known)

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            raise RuntimeError("enter the engine first: async with Simulation() as engine")
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _scene(self, subject: Subject, scenario: Scenario, looking: Looking | None = None) -> Scene:
        """A scene; where others are to be spared, the workflow's code is as well."""
        answers = None if self._evict or looking is None else self._answers
        return Scene(subject, scenario, cached=not self._evict, runner=self._runner, foresight=looking, answers=answers)

    def replays(self, subject: Subject, run: Run) -> str | None:
        """Replay a run's history from the start, as a worker does that knows nothing of it.

        One replay stands for a crash between any two workflow tasks: at each boundary the commands are compared.

        Returns:
            Where the workflow's code leaves the history, in words; ``None`` when it does not.
        """
        return run_virtually(_replayed(subject, run, self._runner))

    async def _run(self, subject: Subject, scenario: Scenario, foresight: Foresight | None = None) -> Run:
        scene = self._scene(subject, scenario, foresight)
        async with scene:
            try:
                return await conclude(scene, subject=subject, wire=scene.wire, world=scene.world)
            finally:
                self.counts.add(scene.server)


@dataclass(frozen=True, slots=True)
class Branches:
    """The course of a scenario; see `kit.testing.engines.protocol.Course`."""

    engine: Simulation
    subject: Subject
    course: Course

    async def run_until(self, fault: Fault, known: Known) -> Run | Cut:
        """Run the scenario with one more fault."""
        return await self.engine.branch(self.subject, self.course, fault, known)


async def _replayed(subject: Subject, run: Run, runner: WorkflowRunner | None) -> str | None:
    events = list(History.FromString(run.history).events)
    worker = SimulatedWorker(
        workflows=[subject.workflow, *subject.others],
        converter=pydantic_data_converter,
        failure_types=[pydantic.ValidationError, KitError],
        runner=runner,
    )
    started = events[0].workflow_execution_started_event_attributes
    definition = worker.definition(started.workflow_type.name)
    if definition is None:
        return f"the subject has no workflow {started.workflow_type.name!r}"
    replica = worker.replica(definition, run_id=started.original_execution_run_id)
    try:
        replica.catch_up(events)
    except TaskFailed as failed:
        return str(failed)
    finally:
        replica.evict()
    return None
