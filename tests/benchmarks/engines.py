"""Scenarios of the checkout in the simulation, beside the same scenarios on the real server.

The connectors, the guard, the providers and the workflow are the same, and the engines take turns. The simulation has
one core. The server engine has all there are, runs eight at once and skips time, so it gets the better of the
comparison.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from kit.testing.engines.server import ServerEngine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Fault, Scenario
from tests.benchmarks.report import Spread, Table, Target
from tests.worlds import CHECKOUT

AT_ONCE: Final = 8
"""Scenarios in flight on the server."""

RATE: Final = 150.0
"""Scenarios of the checkout per second and core."""

RATIO: Final = 10.0
"""The simulation on one core, as a multiple of the server engine on all."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        turns: How often the engines take turns.
        every: Of all single faults of the checkout each so many-th is run in a turn.
    """

    turns: int
    every: int


FULL: Final = Size(turns=3, every=1)
QUICK: Final = Size(turns=1, every=70)


@dataclass(frozen=True)
class Turn:
    """What one engine did when it was its turn.

    Attributes:
        scenarios: How many it ran.
        seconds: By the clock.
        cpu: Of processor time of this process; the simulation's own thread, without waiting for a place on a core.
    """

    scenarios: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Scenarios per second."""
        return self.scenarios / self.seconds

    @property
    def per_core(self) -> float:
        """Scenarios per second of processor time."""
        return self.scenarios / self.cpu


def scenarios(every: int = 1) -> list[Scenario]:
    """The checkout's clean run, and each so many-th of its single faults. Not where an event loop runs."""
    clean = Simulation().run_here(CHECKOUT, Scenario())
    faults = [Fault(seen.point, kind) for seen in clean.seen for kind in seen.kinds]
    return [Scenario(), *(Scenario((fault,)) for fault in faults[::every])]


def _simulated(given: Sequence[Scenario]) -> Turn:
    engine = Simulation()
    began, cpu = time.perf_counter(), time.thread_time()
    for scenario in given:
        engine.run_here(CHECKOUT, scenario)
    return Turn(len(given), time.perf_counter() - began, time.thread_time() - cpu)


async def _served(engine: ServerEngine, given: Sequence[Scenario]) -> Turn:
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(engine.run(CHECKOUT, scenario) for scenario in given))
    return Turn(len(given), time.perf_counter() - began, time.process_time() - cpu)


async def measure(size: Size) -> tuple[list[Turn], list[Turn]]:
    """What simulation and server engine did whenever it was their turn."""
    given = await asyncio.to_thread(scenarios, size.every)
    simulated: list[Turn] = []
    served: list[Turn] = []
    async with ServerEngine(concurrent=AT_ONCE) as engine:
        await _served(engine, [Scenario()])  # the first one pays for imports and connections
        for number in range(size.turns):
            simulated.append(await asyncio.to_thread(_simulated, given))
            served.append(await _served(engine, given))
            told = f"simulation {simulated[-1].rate:.1f}/s, server engine {served[-1].rate:.1f}/s"
            print(f"turn {number + 1} of {size.turns}: {told}", file=sys.stderr, flush=True)
    return simulated, served


async def run(size: Size) -> tuple[Table, list[Target], dict[str, Any]]:
    """Measure and compare."""
    logging.disable(logging.CRITICAL)  # the guard says of each fault that it has struck, as it should
    try:
        simulated, served = await measure(size)
    finally:
        logging.disable(logging.NOTSET)
    rate = Spread.of([turn.per_core for turn in simulated])
    ratio = Spread.of([one.rate / other.rate for one, other in zip(simulated, served, strict=True)])
    table = Table(
        "Engines: the checkout's clean run and its single faults",
        [
            f"{simulated[0].scenarios} scenarios in each of {size.turns} turns. Median (least-most) of the turns.",
            f"The simulation has one core; the server engine all {os.cpu_count()}, {AT_ONCE} scenarios at once.",
            "cpu: processor time of this process, per scenario; the server's own comes on top.",
        ],
        ["", "scenarios/s", "ratio", "cpu ms"],
        [
            ["simulation", str(Spread.of([turn.rate for turn in simulated])), str(ratio), _cpu(simulated)],
            ["server engine", str(Spread.of([turn.rate for turn in served])), "1", _cpu(served)],
        ],
    )
    targets = [
        Target("simulated checkouts per second and core", f">= {RATE:.0f}", f"{rate.median:.1f}", rate.median >= RATE),
        Target("simulation / server engine", f">= {RATIO:.0f}", f"{ratio.median:.1f}", ratio.median >= RATIO),
    ]
    data = {
        "size": asdict(size),
        "simulation": {
            "per_second": asdict(Spread.of([turn.rate for turn in simulated])),
            "per_second_and_core": asdict(rate),
        },
        "server": {"per_second": asdict(Spread.of([turn.rate for turn in served]))},
        "ratio": asdict(ratio),
    }
    return table, targets, data


def _cpu(turns: Sequence[Turn]) -> str:
    return str(Spread.of([1000 / turn.per_core for turn in turns]))
