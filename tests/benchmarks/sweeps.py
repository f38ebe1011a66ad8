"""How long whole sweeps take, and what they need of memory.

Each is measured in a process of its own (``python -m tests.benchmarks.sweeps``): what a process has had of memory never
grows less.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import tests.worlds
from kit.testing import sweep
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from tests.benchmarks.engines import scenarios
from tests.benchmarks.report import Table, Target

MEMORY: Final = 500.0
"""Megabytes, of all processes of a sweep together."""

GROWTH: Final = 1.1
"""How much more memory all scenarios may need than the first tenth of them, which fills what is filled once."""


@dataclass(frozen=True)
class Sweep:
    """One sweep to be timed.

    Attributes:
        name: What it is.
        subject: Its subject's name in `tests.worlds`.
        depth: Its depth.
        wanted: The seconds that it may take.
        workers: In how many processes.
    """

    name: str
    subject: str
    depth: int
    wanted: float
    workers: int = 2


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        sweeps: Whole sweeps.
        scenarios: How many are run in one process, one after the other.
    """

    sweeps: tuple[Sweep, ...]
    scenarios: int


FULL: Final = Size(
    (
        Sweep("saga of five steps, singles", "FIVE_STEPS", 1, 2, workers=1),
        Sweep("saga of five steps, pairs", "FIVE_STEPS", 2, 15),
        Sweep("checkout, singles", "CHECKOUT", 1, 60, workers=1),
        Sweep("checkout, pairs", "CHECKOUT", 2, 60),
    ),
    scenarios=5_000,
)
QUICK: Final = Size((Sweep("saga of two steps, singles", "TWO_STEPS", 1, 2, workers=1),), scenarios=20)


@dataclass(frozen=True)
class Timed:
    """One sweep that was timed.

    Attributes:
        seconds: From the call to the verdict.
        cpu: Seconds of processor time, of all its processes: what is left of them on a machine that does nothing else.
        scenarios: Of the verdict.
        runs: Runs of the workflow's code, whole or until the rest was known.
        megabytes: The most that its processes have had, all together.
        safe: Whether every invariant held.
    """

    seconds: float
    cpu: float
    scenarios: int
    runs: int
    megabytes: float
    safe: bool


async def run(size: Size) -> tuple[Table, list[Target], dict[str, Any]]:
    """Measure each."""
    timed: dict[Sweep, Timed] = {}
    for one in size.sweeps:
        timed[one] = Timed(**await _alone("sweep", one.subject, one.depth, one.workers))
        print(f"{one.name}: {timed[one].seconds:.1f} s", file=sys.stderr, flush=True)
    early, late = await _alone("memory", size.scenarios)
    most = max([late, *(found.megabytes for found in timed.values())])
    table = Table(
        "Sweeps, in the simulation",
        [
            "From the call to the verdict. Runs: of workflow code, whole or until the rest was known.",
            "MB: the most that all of its processes have had together.",
        ],
        ["", "processes", "seconds", "cpu s", "scenarios", "runs", "MB"],
        [
            *(_line(one, found) for one, found in timed.items()),
            ["checkout, one scenario after the other", "1", "", "", f"{size.scenarios:,}", "", f"{late:.0f}"],
        ],
    )
    targets = [
        *(
            Target(f"{one.name}, seconds", f"<= {one.wanted}", f"{f.seconds:.1f}", f.seconds <= one.wanted)
            for one, f in timed.items()
        ),
        *(
            Target(f"{one.name}, every invariant holds", "yes", "yes" if f.safe else "no", f.safe, hard=True)
            for one, f in timed.items()
        ),
        Target("memory, MB", f"<= {MEMORY:.0f}", f"{most:.0f}", most <= MEMORY),
        Target(
            f"memory of {size.scenarios:,} scenarios / of the first tenth",
            f"<= {GROWTH}",
            f"{late / early:.2f}",
            late / early <= GROWTH,
        ),
    ]
    data = {
        "sweeps": {one.name: asdict(found) for one, found in timed.items()},
        "memory": {"scenarios": size.scenarios, "megabytes_of_first_tenth": early, "megabytes": late},
    }
    return table, targets, data


def _line(one: Sweep, found: Timed) -> list[str]:
    return [
        one.name,
        str(one.workers),
        f"{found.seconds:.1f}",
        f"{found.cpu:.1f}",
        f"{found.scenarios:,}",
        f"{found.runs:,}",
        f"{found.megabytes:.0f}",
    ]


async def _alone(*arguments: object) -> Any:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.sweeps", *map(str, arguments)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        said, _ = await child.communicate()
    except asyncio.CancelledError:
        child.terminate()
        raise
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return json.loads(said)


# -- in a process of its own -------------------------------------------------------------------------------------------


def _timed(subject: str, depth: str, workers: str) -> dict[str, Any]:
    processes = int(workers)
    began, cpu = time.perf_counter(), _cpu()
    verdict = asyncio.run(sweep(getattr(tests.worlds, subject), depth=int(depth), workers=processes))
    seconds = time.perf_counter() - began
    most = _most(resource.RUSAGE_SELF) + (processes - 1) * _most(resource.RUSAGE_CHILDREN)  # this is one of them
    counts = verdict.counts
    return asdict(Timed(seconds, _cpu() - cpu, counts.scenarios, counts.runs + counts.stopped, most, verdict.safe))


def _memory(count: str) -> tuple[float, float]:
    """The most memory that a process has had after the first tenth of so many scenarios, and after all."""
    singles = [scenario.faults for scenario in scenarios()[1:]]
    engine, chance, early = Simulation(), random.Random(1), 0.0  # noqa: S311 - an order, no secret
    for number in range(int(count)):
        faults = dict.fromkeys(chance.choice(singles) + chance.choice(singles))
        engine.run_here(tests.worlds.CHECKOUT, Scenario(tuple(faults), seed=number % 5))
        if number == int(count) // 10:
            early = _most(resource.RUSAGE_SELF)
    return early, _most(resource.RUSAGE_SELF)


def _cpu() -> float:
    """Seconds of processor time, of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _most(who: int) -> float:
    """The most memory that this process, or any one of its children, has had, in MB."""
    unit = 1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(who).ru_maxrss / unit


_MEASURES: Final[dict[str, Callable[..., Any]]] = {"sweep": _timed, "memory": _memory}

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(_MEASURES[sys.argv[1]](*sys.argv[2:])))
