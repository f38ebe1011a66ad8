"""What a connector remembers decides what it does next: what is left out of a sweep must not lose it."""

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind, Scenario
from tests.sweeps.test_small_worlds import outcomes_of
from tests.worlds.spare import SPARE_TILL

BOTH = Scenario.parse("stall.lay_aside#1:reply_lost+stall.charge#1:reply_lost")


async def test_what_only_a_connector_remembers_is_a_part_of_the_state() -> None:
    """No world tells of it, and the first fault seems to be got over."""
    kinds = [FaultKind.REPLY_LOST]
    _, every = await outcomes_of(SPARE_TILL, Simulation(), depth=2, kinds=kinds, oracle=True)

    _, outcomes = await outcomes_of(SPARE_TILL, Simulation(), depth=2, kinds=kinds)

    assert outcomes.keys() == every.keys()
    assert not [str(scenario) for scenario in every if not outcomes[scenario].equals(every[scenario])]
    assert [violation.invariant for violation in outcomes[BOTH].violations] == ["at most one live effect per key"]
