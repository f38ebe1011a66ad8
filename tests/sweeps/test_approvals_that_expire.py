"""An approval that counts for a time of its own: what is left out of a sweep must not lose when it expires."""

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Ending
from tests.sweeps.test_small_worlds import outcomes_of
from tests.worlds.quickly import SOLD_QUICKLY

pytestmark = pytest.mark.slow

TWICE_DEAD = Scenario.parse("stall.lay_aside#1:crash_before+stall.lay_aside#2:crash_before")
"""Two attempts whose worker dies: each takes its ten seconds."""


async def test_approval_that_two_faults_let_expire_is_found_by_the_reduced_sweep() -> None:
    """One of them is got over in time, and leaves the run in the state of the clean one, only later."""
    kinds = [FaultKind.CRASH_BEFORE]
    _, every = await outcomes_of(SOLD_QUICKLY, Simulation(), depth=2, kinds=kinds, oracle=True)

    _, outcomes = await outcomes_of(SOLD_QUICKLY, Simulation(), depth=2, kinds=kinds)

    assert outcomes.keys() == every.keys()
    assert not [str(scenario) for scenario in every if not outcomes[scenario].equals(every[scenario])]
    assert outcomes[TWICE_DEAD].ending is Ending.STUCK
