"""How long a person goes on answering."""

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.runs import Ending
from tests.worlds.curious import MANY, SOLD_CURIOUSLY


async def test_saga_may_ask_as_often_as_it_likes() -> None:
    """Nothing has failed when it asks, so it has not parked."""
    async with Simulation() as simulation:
        run = await simulation.run(SOLD_CURIOUSLY, Scenario())

    assert (run.ending, run.repaired, run.violations) == (Ending.COMPLETED, None, ())
    assert sum(line.text.startswith("task approval") for line in run.story) == MANY
