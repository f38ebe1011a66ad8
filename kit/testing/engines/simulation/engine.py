"""The engine that runs scenarios in this process, in virtual time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from kit.testing.engines.concluding import conclude
from kit.testing.engines.simulation.clock import run_virtually
from kit.testing.engines.simulation.scene import Scene
from kit.testing.faults import Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject


class Simulation:
    """Runs scenarios in this process, each in a virtual time of its own, one after the other.

    The workflow, the connectors, the guard and the plugin are the real ones; the server is a `SimulatedServer`, whose
    docstring says what it models. The same subject, scenario and code give the same run, to the last byte of its history.

    Args:
        evict: Let the worker forget every run after each workflow task, so that each replays from the start.
        sandboxed: Run workflow code in the SDK's sandbox, as a production worker does; several times slower.
    """

    def __init__(self, *, evict: bool = False, sandboxed: bool = False) -> None:
        self._evict = evict
        self._runner = SandboxedWorkflowRunner() if sandboxed else None
        self._thread: ThreadPoolExecutor | None = None

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
        if self._thread is None:
            raise RuntimeError("enter the engine first: async with Simulation() as engine")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.run_here, subject, scenario)

    def run_here(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario in this thread, which has no running loop."""
        return run_virtually(self._run(subject, scenario))

    async def _run(self, subject: Subject, scenario: Scenario) -> Run:
        async with Scene(subject, scenario, cached=not self._evict, runner=self._runner) as scene:
            return await conclude(scene, subject=subject, wire=scene.wire, world=scene.world)
