"""What the simulation says of a saga under faults, the real server shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from kit.testing.engines.gist import gist_of
from kit.testing.engines.server import ServerEngine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from tests.testing.engines.differential import IN_LINE, differences, pairs, singles
from tests.testing.engines.travels import FIVE
from tests.worlds import CHECKOUT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def simulation() -> AsyncIterator[Simulation]:
    """Runs scenarios in this process."""
    async with Simulation() as simulation:
        yield simulation


async def test_both_engines_agree_on_single_faults(simulation: Simulation, engine: ServerEngine) -> None:
    """Every third single fault of the checkout and of the five steps gives the same commands, outcomes and records."""
    cases = [*(await singles(simulation, IN_LINE))[::3], *(await singles(simulation, CHECKOUT))[1::3]]

    found = await differences(simulation, engine, cases)

    assert len(cases) >= 80
    assert not found, "\n".join(found)


async def test_both_engines_agree_on_pairs_of_faults(simulation: Simulation, engine: ServerEngine) -> None:
    """So does a sample of pairs, the second fault on what the first has led to: undo, look-up, repair."""
    cases = [
        *await pairs(simulation, IN_LINE, firsts=20, each=1, seed=1),
        *await pairs(simulation, FIVE, firsts=10, each=1, seed=1),
        *await pairs(simulation, CHECKOUT, firsts=20, each=1, seed=1),
    ]

    found = await differences(simulation, engine, cases)

    assert len(cases) == 50
    assert not found, "\n".join(found)


async def test_a_difference_is_seen(simulation: Simulation) -> None:
    """Two runs that differ in one outcome have different gists, and the part is named."""
    refused = await simulation.run(IN_LINE, Scenario.parse("card.charge#1:refused"))
    lost = await simulation.run(IN_LINE, Scenario.parse("card.charge#1:reply_lost"))

    parts = [text.partition(":")[0] for text in gist_of(refused).differences(gist_of(lost))]

    assert {"ending", "commands", "steps", "seen", "truth", "rows"} <= set(parts)
    assert gist_of(replace(lost, story=())).differences(gist_of(lost)) == []
