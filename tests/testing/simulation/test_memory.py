"""What is left of a scenario that is over."""

from __future__ import annotations

import gc

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.world import World
from tests.worlds import CHECKOUT, TWO_STEPS


def _worlds() -> int:
    return sum(issubclass(type(found), World) for found in gc.get_objects())


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["clean", "payments.capture#1:crash_after", "orders.create#1:started_again"])
def test_nothing_of_a_scenario_is_kept(scenario: str) -> None:
    """A world is gone as soon as its scenario is, so that memory does not grow with the number of scenarios."""
    gc.collect()
    before = _worlds()
    engine = Simulation()

    for _ in range(3):
        engine.run_here(CHECKOUT, Scenario.parse(scenario))

    assert _worlds() == before


def test_the_collector_is_left_as_it_was() -> None:
    """The garbage collector waits while a scenario runs, and goes on afterwards if it was at work before."""
    gc.disable()
    try:
        Simulation().run_here(TWO_STEPS, Scenario())
        stood = gc.isenabled()
    finally:
        gc.enable()

    Simulation().run_here(TWO_STEPS, Scenario())

    assert not stood
    assert gc.isenabled()
