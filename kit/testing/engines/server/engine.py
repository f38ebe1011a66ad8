"""The engine that runs scenarios on a real server."""

from __future__ import annotations

import asyncio
import functools
import warnings
from datetime import timedelta
from typing import Final, Self

from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from kit.errors import UnsupportedScenario
from kit.testing.engines.concluding import conclude
from kit.testing.engines.server.attempts import HANGING
from kit.testing.engines.server.scene import Scene
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.server import start_time_skipping
from kit.testing.world import Subject
from kit.workflow import SagaWorkflow

ATTEMPT: Final = timedelta(milliseconds=400)
"""The start-to-close timeout of attempts that may hang: what a worker that dies costs, in real time."""

REPORTING: Final = timedelta(milliseconds=700)
"""The same, where the guard notices the end of its time and reports it: it must come through in the last tenth. With
this one a guard that cannot write a result down gives up half-way, for its next pause would not fit."""

PATIENCE: Final = 4
"""How much longer attempts may take when a scenario is run again because the machine was too slow for it."""

TRIES: Final = 3
"""How often a scenario is run until it is not disturbed."""

_REPORTED: Final = frozenset(
    {FaultKind.TOO_SLOW, FaultKind.LATE_AFTER_RETRY, FaultKind.LATE_AFTER_UNDO, FaultKind.UNRECORDED}
)
_NOT_LOCAL: Final = HANGING | {FaultKind.CANCEL_BEFORE}


class ServerEngine:
    """Runs scenarios on a real Temporal server whose workflows skip time.

    Scenarios run side by side: each has a namespace of the server for itself, a task queue, workers, and a world, so
    all of them use the same workflow id. A running attempt is never skipped, so attempts that hang are shortened
    (`kit.testing.engines.server.attempts`).

    Not modelled: faults that hang or gate a local activity, for those run inside a workflow task.

    Args:
        concurrent: How many scenarios run at once.
        sandboxed: Run workflow code in the SDK's sandbox, as a production worker does; several times slower.

    Attributes:
        disturbed: How often a scenario was run again because the machine was too slow for it.
    """

    def __init__(self, *, concurrent: int = 8, sandboxed: bool = False) -> None:
        self._namespaces = [f"sweep-{number}" for number in range(concurrent)]
        self._sandboxed = sandboxed
        self._free: asyncio.Queue[Client] = asyncio.Queue()
        self._server: WorkflowEnvironment | None = None
        self._started = 0
        self.disturbed = 0

    async def __aenter__(self) -> Self:
        self._server = await start_time_skipping(namespaces=self._namespaces, runtime=_quiet())
        for namespace in self._namespaces:
            config = self._server.client.config()
            config["namespace"] = namespace
            self._free.put_nowait(Client(**config))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.shutdown()

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """See `kit.testing.engines.protocol.Engine`.

        Raises:
            UnsupportedScenario: A fault that cannot strike a local activity; or a machine that is too slow for it, or
                without a server.
        """
        _refuse(subject, scenario)
        # The SDK warns of a cancellation that finds its attempt over: that is a scenario, and nobody's mistake.
        warnings.filterwarnings("ignore", message="Cannot find activity to cancel", category=UserWarning)
        client = await self._free.get()
        try:
            attempt = REPORTING if any(fault.kind in _REPORTED for fault in scenario.faults) else ATTEMPT
            for _ in range(TRIES):
                try:
                    run, disturbed = await self._once(client, subject, scenario, attempt)
                except RPCError as error:  # a server that is short of time gives up what it was asked for
                    disturbed = str(error)
                else:
                    if disturbed is None:
                        return run
                attempt *= PATIENCE
                self.disturbed += 1
        finally:
            self._free.put_nowait(client)
        raise UnsupportedScenario(
            f"{scenario}: this machine is too slow for it: {disturbed}. "
            "Fix: run fewer scenarios at once, ServerEngine(concurrent=...)"
        )

    async def _once(
        self, client: Client, subject: Subject, scenario: Scenario, attempt: timedelta
    ) -> tuple[Run, str | None]:
        self._started += 1
        scene = Scene(
            client,
            subject=subject,
            scenario=scenario,
            queue=f"sweep-{self._started}",
            attempt=attempt,
            sandboxed=self._sandboxed,
        )
        async with scene:
            run = await conclude(scene, subject=subject, wire=scene.wire, world=scene.world)
        return run, scene.at_work.disturbed


@functools.cache
def _quiet() -> Runtime:
    """The SDK's runtime, which says nothing of what scenarios do on purpose: answers of attempts that are over."""
    logging = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=logging))


def _refuse(subject: Subject, scenario: Scenario) -> None:
    """Refuse what cannot be done here.

    Raises:
        UnsupportedScenario: Says what.
    """
    operations = subject.workflow.__saga__.operations if issubclass(subject.workflow, SagaWorkflow) else {}
    for fault in scenario.faults:
        operation = operations.get(fault.point.operation)
        if operation is not None and operation.local and fault.kind in _NOT_LOCAL:
            raise UnsupportedScenario(
                f"{fault}: {operation.name} is a local activity, which the server does not see; the server engine "
                "cannot let its worker die, hang, or wait. Fix: declare it without local=True, or use the simulation"
            )
