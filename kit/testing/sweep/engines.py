"""Which engine runs a sweep: by name, or one's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from kit.errors import DefinitionError, UnsupportedScenario
from kit.testing.engines.protocol import Engine
from kit.testing.faults import Scenario
from kit.testing.runs import Run
from kit.testing.sweep.checking import Runner
from kit.testing.world import Subject

SIMULATION: Final = "simulation"
SERVER: Final = "server"

Choice = str | Engine | Callable[[], Engine]
"""An engine's name, an engine that is not entered yet, or what builds one."""


def simulation() -> Engine:
    """The simulation."""
    from kit.testing.engines.simulation import Simulation  # noqa: PLC0415 - whoever uses the other one need not load it

    return Simulation()


def server() -> Engine:
    """The real server that skips time."""
    from kit.testing.engines.server import ServerEngine  # noqa: PLC0415 - see above

    return ServerEngine()


def builder(engine: Choice) -> Callable[[], Engine]:
    """What builds the engine.

    Raises:
        DefinitionError: There is none of that name.
    """
    named = {SIMULATION: simulation, SERVER: server}
    if isinstance(engine, str):
        if engine not in named:
            raise DefinitionError(
                f"engine {engine!r}",
                rule="there is no engine of that name",
                fix=f"use one of {', '.join(map(repr, named))}, or pass a kit.testing.engines.protocol.Engine",
            )
        return named[engine]
    if callable(engine):
        return engine
    return lambda: engine


def name_of(engine: Choice) -> str:
    """What the verdict calls the engine."""
    if isinstance(engine, str):
        return engine
    return engine.__name__ if isinstance(engine, type) else type(engine).__name__


async def run_scenario(
    subject: Subject, scenario: Scenario | str, *, engine: Choice = SIMULATION, strict: bool = True
) -> Run:
    """Run one scenario.

    Args:
        subject: What is put under faults.
        scenario: Which, also as the id that a sweep prints.
        engine: What runs it.
        strict: Refuse a scenario whose faults do not all strike: a number in its id is wrong, or the code has changed.

    Raises:
        DefinitionError: The id is none, or there is no such engine.
        UnsupportedScenario: The engine does not model what it needs, or (``strict``) one of its faults never struck.
    """
    wanted = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
    async with AsyncExitStack() as stack:
        run = await Runner(await stack.enter_async_context(builder(engine)()), subject).run(wanted)
    if strict and run.unreached:
        reached = ", ".join(dict.fromkeys(str(seen.point) for seen in run.seen))
        raise UnsupportedScenario(
            f"scenario {str(wanted)!r}: {', '.join(map(str, run.unreached))} never struck; the run reached {reached}"
        )
    return run
