"""Scenarios of the checkout in the simulation, beside the same scenarios on the real server.

The connectors, the guard, the providers and the workflow are the same, and the engines take turns. Each has all cores
there are, in the way in which one uses it: the simulation in one process for each core, as a sweep with so many
``workers``; the server engine in one process with eight scenarios at once, beside its server.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
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
"""The simulation as a multiple of the server engine, each on all cores."""

CORES: Final = os.cpu_count() or 1


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
        cpu: Of processor time; without that of the server, which is a process of its own.
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


def _begin() -> None:
    """Pay for what only the first scenario of a process takes."""
    logging.disable(logging.CRITICAL)
    Simulation().run_here(CHECKOUT, Scenario())


def _seconds_for(given: Sequence[Scenario]) -> float:
    """The processor time that this process takes for some scenarios."""
    engine, cpu = Simulation(), time.process_time()
    for scenario in given:
        engine.run_here(CHECKOUT, scenario)
    return time.process_time() - cpu


async def _simulated(processes: Executor, given: Sequence[Scenario]) -> Turn:
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    parts = (given[number::CORES] for number in range(CORES))
    cpu = await asyncio.gather(*(loop.run_in_executor(processes, _seconds_for, part) for part in parts))
    return Turn(len(given), time.perf_counter() - began, sum(cpu))


async def _served(engine: ServerEngine, given: Sequence[Scenario]) -> Turn:
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(engine.run(CHECKOUT, scenario) for scenario in given))
    return Turn(len(given), time.perf_counter() - began, time.process_time() - cpu)


async def measure(size: Size) -> tuple[list[Turn], list[Turn]]:
    """What simulation and server engine did whenever it was their turn."""
    given = await asyncio.to_thread(scenarios, size.every)
    simulated: list[Turn] = []
    served: list[Turn] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=context, initializer=_begin) as processes:
        await _simulated(processes, [Scenario()] * CORES)  # the first of each pays for imports and connections
        async with ServerEngine(concurrent=AT_ONCE) as engine:
            await _served(engine, [Scenario()])
            for number in range(size.turns):
                simulated.append(await _simulated(processes, given))
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
            f"Each has {CORES} cores: the simulation in {CORES} processes, the server engine with {AT_ONCE} at once.",
            "cpu: processor time per scenario; the server's own comes on top.",
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
