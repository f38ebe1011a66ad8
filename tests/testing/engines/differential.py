"""The two engines side by side: what the simulation says of a scenario, the real server must show.

A scenario is run on the server, which shows one of the orders in which concurrent things can happen, and in the
simulation, whose seed chooses one. They agree when their gists are equal for a seed; nearly always the first is it.

As a command it compares many scenarios and prints each that differs::

    python -m tests.testing.engines.differential --singles --pairs 500 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from kit.testing.engines.gist import gist_of
from kit.testing.engines.server import ServerEngine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Fault, Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject
from tests.testing.engines.travels import FIVE, travel
from tests.worlds import CHECKOUT

IN_LINE: Final = travel("step flight", "step hotel", "step car", "pivot card", "step visa", "after mail")
"""Five steps one after the other."""

SUBJECTS: Final = {"in line": IN_LINE, "five": FIVE, "checkout": CHECKOUT}

SEEDS: Final = range(1, 25)
"""The other orders that are tried when the first is not the server's."""

Case = tuple[Subject, Scenario]


def points(run: Run) -> list[Fault]:
    """Every fault that can strike where a run has been."""
    return sorted({Fault(seen.point, kind) for seen in run.seen for kind in seen.kinds})


async def singles(simulation: Simulation, subject: Subject) -> list[Case]:
    """Every scenario with one fault at a point of the clean run."""
    clean = await simulation.run(subject, Scenario())
    return [(subject, Scenario((fault,))) for fault in points(clean)]


async def pairs(simulation: Simulation, subject: Subject, *, firsts: int, each: int, seed: int) -> list[Case]:
    """Some scenarios with two faults, the second at a point of the run that the first has made."""
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    found = []
    for _, first in chance.sample(await singles(simulation, subject), firsts):
        run = await simulation.run(subject, first)
        others = [fault for fault in points(run) if fault not in first.faults]
        found += [(subject, Scenario((*first.faults, other))) for other in chance.sample(others, each)]
    return found


async def differences(simulation: Simulation, server: ServerEngine, cases: Sequence[Case]) -> list[str]:
    """How the engines differ, a paragraph for each scenario in which they do."""
    found = await asyncio.gather(*(_difference(simulation, server, *case) for case in cases))
    return [text for text in found if text]


async def _difference(simulation: Simulation, server: ServerEngine, subject: Subject, scenario: Scenario) -> str:
    shown = gist_of(await server.run(subject, scenario))
    first: list[str] = []
    for seed in (0, *SEEDS):
        said = gist_of(await simulation.run(subject, replace(scenario, seed=seed)))
        differing = shown.differences(said)
        if not differing:
            return ""
        first = first or differing
    return "\n  ".join([f"{subject.workflow.__name__} {scenario}, the server against the simulation:", *first])


async def _main(arguments: argparse.Namespace) -> int:
    async with Simulation() as simulation, ServerEngine() as server:
        cases: list[Case] = []
        for subject in (SUBJECTS[name] for name in arguments.subject):
            if arguments.singles:
                cases += await singles(simulation, subject)
            if arguments.pairs:
                firsts = min(arguments.pairs, 100)
                each = -(-arguments.pairs // firsts)
                cases += await pairs(simulation, subject, firsts=firsts, each=each, seed=arguments.seed)
        began = time.monotonic()
        found = await differences(simulation, server, cases)
        told: Iterable[str] = (
            *found,
            f"{len(cases)} scenarios, {len(found)} differ, {server.disturbed} run again, "
            f"{time.monotonic() - began:.0f} s",
        )
        sys.stdout.write("\n".join(told) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--singles", action="store_true", help="every single fault")
    parser.add_argument("--pairs", type=int, default=0, help="so many pairs of faults, of each subject")
    parser.add_argument("--seed", type=int, default=0, help="chooses the pairs")
    parser.add_argument("--subject", nargs="*", choices=list(SUBJECTS), default=list(SUBJECTS))
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(_main(parser.parse_args())))
