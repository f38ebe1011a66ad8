"""What the simulation says of a saga under faults, the real server shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from kit.testing.engines.gist import gist_of
from kit.testing.engines.server import ServerEngine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind, Scenario
from tests.testing.engines.differential import IN_LINE, Case, differences, races, random_case
from tests.testing.engines.travels import FIVE
from tests.worlds import CHECKOUT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulation() -> AsyncIterator[Simulation]:
    """Runs scenarios in this process."""
    async with Simulation() as simulation:
        yield simulation


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shapes(simulation: Simulation) -> list[Case]:
    """40 sagas of random shape, each with one or two random faults."""
    return [await random_case(simulation, seed) for seed in range(40)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def checkouts(simulation: Simulation) -> list[Case]:
    """20 random scenarios of the checkout, with its wires to HTTP, SQL and mail."""
    return [await random_case(simulation, seed, subject=CHECKOUT) for seed in range(20)]


async def test_both_engines_agree_on_sagas_of_random_shape(
    simulation: Simulation, engine: ServerEngine, shapes: list[Case]
) -> None:
    """They give the same commands, outcomes and records of the provider, and break the same invariants."""
    found = await differences(simulation, engine, shapes)

    assert not found, "\n".join(found)


async def test_both_engines_agree_on_the_checkout(
    simulation: Simulation, engine: ServerEngine, checkouts: list[Case]
) -> None:
    """So do the scenarios of the checkout."""
    found = await differences(simulation, engine, checkouts)

    assert not found, "\n".join(found)


async def test_every_kind_of_fault_is_compared(shapes: list[Case], checkouts: list[Case]) -> None:
    """None is left to chance."""
    assert {fault.kind for _, scenario in shapes + checkouts for fault in scenario.faults} == set(FaultKind)


async def test_what_races_is_left_out(simulation: Simulation) -> None:
    """A run that is terminated beside siblings races, and a later attempt that stands still; nothing else does."""
    beside = await simulation.run(FIVE, Scenario.parse("flight.book#1:terminated"))
    alone = await simulation.run(FIVE, Scenario.parse("car.book#1:terminated"))
    other = await simulation.run(FIVE, Scenario.parse("flight.book#1:crash_after"))

    still = await simulation.run(FIVE, Scenario.parse("car.book#1:reply_lost+car.book#2:stalled"))

    assert [races(run) for run in (beside, alone, other, still)] == [True, False, False, True]


async def test_a_difference_is_seen(simulation: Simulation) -> None:
    """Two runs that differ in one outcome have different gists, and the part is named."""
    refused = await simulation.run(IN_LINE, Scenario.parse("card.charge#1:refused"))
    lost = await simulation.run(IN_LINE, Scenario.parse("card.charge#1:reply_lost"))

    parts = [text.partition(":")[0] for text in gist_of(refused).differences(gist_of(lost))]

    assert {"ending", "commands", "steps", "seen", "truth", "rows"} <= set(parts)
    assert gist_of(replace(lost, story=())).differences(gist_of(lost)) == []
