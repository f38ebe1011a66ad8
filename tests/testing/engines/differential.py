"""The two engines side by side: what the simulation says of a scenario, the real server must show.

A scenario is run on the server, which shows one of the orders in which concurrent things can happen, and in the
simulation, whose seed chooses one. They agree when their gists are equal for a seed; nearly always the first is it.

As a command it compares many scenarios and prints each that differs::

    python -m tests.testing.engines.differential --shapes 500 --singles --pairs 500 --seed 1
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

from temporalio.api.history.v1 import History

from kit.testing.engines.gist import gist_of
from kit.testing.engines.server import ServerEngine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject
from tests.testing.engines.travels import FIVE, travel
from tests.worlds import CHECKOUT

IN_LINE: Final = travel("step flight", "step hotel", "step car", "pivot card", "step visa", "after mail")
"""Five steps one after the other."""

SUBJECTS: Final = {"in line": IN_LINE, "five": FIVE, "checkout": CHECKOUT}

SEEDS: Final = range(1, 25)
"""The other orders that are tried when the first is not the server's."""

TRIES: Final = 3
"""How often the server runs a scenario until it shows what the simulation says. A machine that is busy enough shows
what is no part of the scenario; a defect of the simulation differs each time."""

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


async def random_case(simulation: Simulation, seed: int, *, subject: Subject | None = None) -> Case:
    """A saga of random shape, unless one is given, with one or two random faults; the second where the first led to.

    The kinds of fault take turns as the first, so that those that can strike in few places are not rare.

    Left out is what `races`.
    """
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    turns = list(FaultKind)
    while True:
        chosen = subject or travel(*_shape(chance))
        scenario = Scenario()
        for _ in range(chance.choice([1, 2])):
            run = await simulation.run(chosen, scenario)
            further = [fault for fault in points(run) if fault not in scenario.faults]
            turn = [fault for fault in further if fault.kind is turns[seed % len(turns)] and not scenario.faults]
            if further:
                scenario = Scenario((*scenario.faults, chance.choice(turn or further)))
        if not races(await simulation.run(chosen, scenario)):
            return chosen, scenario


def _shape(chance: random.Random) -> list[str]:
    """The lines of a `travel`: some steps, alone or side by side, mostly a pivot, something after it, some failures."""
    words = chance.sample(["flight", "hotel", "car", "prices", "fax"], chance.randint(1, 4))
    lines = []
    while words:
        beside = min(chance.choice([1, 1, 2, 3]), len(words))
        step, words = words[:beside], words[beside:]
        lines.append(f"step {step[0]}" if beside == 1 else f"parallel {' '.join(step)}")
    if chance.random() < 0.2:
        lines.append("sleep 3600")
    if chance.random() < 0.15:
        return [*lines, "fail Bankrupt"]
    if chance.random() < 0.7:
        lines.append("pivot card")
        lines += ["step visa"] * (chance.random() < 0.5)
    return [*lines, *chance.choice([[], ["after mail"], ["after mail", "after letter"]])]


def races(run: Run) -> bool:
    """Whether what it comes to is no question of the scenario, but of who is quicker.

    It was terminated while more than one activity was at work: how far the others had come is nobody's to say, for
    terminating waits for none of them, on either engine. Or an attempt stands still that is not the first: it wakes in
    real time on the server, where the pause before the next attempt, longer each time, takes none.
    """
    faults = run.scenario.faults
    if any(fault.kind is FaultKind.STALLED and fault.point.call > 1 for fault in faults):
        return True
    if all(fault.kind is not FaultKind.TERMINATED for fault in faults):
        return False
    fields = [event.WhichOneof("attributes") for event in History.FromString(run.history).events]
    return fields.count(_ASKED) - sum(field in _ENDED for field in fields) > 1


_ASKED: Final = "activity_task_scheduled_event_attributes"
_ENDED: Final = {f"activity_task_{how}_event_attributes" for how in ("completed", "failed", "timed_out", "canceled")}


async def differences(simulation: Simulation, server: ServerEngine, cases: Sequence[Case]) -> list[str]:
    """How the engines differ, a paragraph for each scenario in which they do."""
    found = await asyncio.gather(*(_difference(simulation, server, *case) for case in cases))
    return [text for text in found if text]


async def _difference(simulation: Simulation, server: ServerEngine, subject: Subject, scenario: Scenario) -> str:
    said = gist_of(await simulation.run(subject, scenario))
    first: list[str] = []
    for _ in range(TRIES):
        shown = gist_of(await server.run(subject, scenario))
        seeds = (replace(scenario, seed=seed) for seed in SEEDS)
        if shown == said or shown in [gist_of(await simulation.run(subject, seed)) for seed in seeds]:
            return ""
        first = first or shown.differences(said)
    shape = f" {' | '.join(subject.request.lines)}" if hasattr(subject.request, "lines") else ""
    return "\n  ".join([f"{subject.workflow.__name__}{shape}, {scenario}, the server against the simulation:", *first])


async def _main(arguments: argparse.Namespace) -> int:
    async with Simulation() as simulation, ServerEngine() as server:
        cases: list[Case] = []
        for subject in (SUBJECTS[name] for name in arguments.subject):
            if arguments.singles:
                cases += await singles(simulation, subject)
            cases += [await random_case(simulation, seed, subject=subject) for seed in range(arguments.random)]
            if arguments.pairs:
                firsts = min(arguments.pairs, 100)
                each = -(-arguments.pairs // firsts)
                cases += await pairs(simulation, subject, firsts=firsts, each=each, seed=arguments.seed)
        if arguments.shapes:
            cases += [await random_case(simulation, seed) for seed in range(arguments.shapes)]
        cases = [case for case in cases if not races(await simulation.run(*case))]
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
    parser.add_argument("--random", type=int, default=0, help="so many random scenarios, of each subject")
    parser.add_argument("--shapes", type=int, default=0, help="so many random scenarios of sagas of random shape")
    parser.add_argument("--pairs", type=int, default=0, help="so many pairs of faults, of each subject")
    parser.add_argument("--seed", type=int, default=0, help="chooses the pairs")
    parser.add_argument("--subject", nargs="*", choices=list(SUBJECTS), default=list(SUBJECTS))
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(_main(parser.parse_args())))
