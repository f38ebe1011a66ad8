"""The engine: how the worker runs the code changes nothing, and what it cannot run it refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from kit.errors import UnsupportedScenario
from kit.testing.engines.gist import gist_of
from kit.testing.engines.simulation import Simulation, run_virtually
from kit.testing.faults import Scenario
from tests.testing.engines.travels import FIVE, travel
from tests.testing.engines.workflows import OtherTravel
from tests.worlds import CHECKOUT

SCENARIOS = [
    "clean",
    "card.charge#1:refused",
    "hotel.book#1:crash_after",
    "car.book#1:cancel_during",
    "car.book#1:cancel_with_result",
    "visa.file#1:refused",
    "flight.book#1:started_again",
    "car.book#1:handed_over",
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_worker_that_forgets_changes_nothing(scenario: str) -> None:
    """Forgotten after every workflow task, a run has the same history, to the last byte, and the same gist."""
    remembering = Simulation().run_here(FIVE, Scenario.parse(scenario))
    forgetting = Simulation(evict=True).run_here(FIVE, Scenario.parse(scenario))

    assert forgetting.history == remembering.history
    assert gist_of(forgetting) == gist_of(remembering)
    assert forgetting.violations == ()


def test_the_sandbox_changes_nothing() -> None:
    """In the SDK's sandbox, as in production, a run has the same history."""
    scenario = Scenario.parse("payments.capture#1:reply_lost")

    assert (
        Simulation(sandboxed=True).run_here(CHECKOUT, scenario).history
        == Simulation().run_here(CHECKOUT, scenario).history
    )


def test_one_scenario_is_one_run() -> None:
    """History, story, rows and truth are the same again; another seed gives another order, and the same gist."""
    scenario = "flight.book#1:crash_after+card.charge#1:refused"
    first, again = (Simulation().run_here(FIVE, Scenario.parse(scenario)) for _ in range(2))
    other = Simulation().run_here(FIVE, Scenario.parse(f"{scenario}@5"))

    assert (first.history, first.story, first.seen, first.truth) == (
        again.history,
        again.story,
        again.seen,
        again.truth,
    )
    assert gist_of(other) == gist_of(first)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_run_replays(scenario: str) -> None:
    """One replay with a fresh instance is a crash between any two workflow tasks."""
    simulation = Simulation()
    run = simulation.run_here(FIVE, Scenario.parse(scenario))

    assert simulation.replays(FIVE, run) is None


def test_a_run_that_another_workflow_cannot_have_made_does_not_replay() -> None:
    """It says where the code leaves the history, or that there is no such code."""
    simulation = Simulation()
    run = simulation.run_here(FIVE, Scenario())

    assert "Nondeterminism" in (simulation.replays(replace(FIVE, workflow=OtherTravel), run) or "")
    assert simulation.replays(CHECKOUT, run) == "the subject has no workflow 'Travel'"


def test_a_local_operation_is_refused() -> None:
    """The scenario is not run, and the message says on which engine it can be."""
    with pytest.raises(UnsupportedScenario, match=r"local activity .*'diary\.note'.* server engine"):
        Simulation().run_here(travel("step diary"), Scenario())


async def test_the_engine_is_entered_first() -> None:
    """It has a thread of its own, for a virtual loop cannot run inside a running one."""
    with pytest.raises(RuntimeError, match="enter the engine first"):
        await Simulation().run(FIVE, Scenario())

    with pytest.raises(RuntimeError, match="cannot run inside a running one"):
        run_virtually(asyncio.sleep(1))


def test_what_was_done_is_counted() -> None:
    """Scenarios, workflow tasks, and distinct histories: a fault that the workflow cannot see makes no new one."""
    simulation = Simulation()
    for scenario in ("clean", "clean", "car.book#1:twice", "card.charge#1:refused"):
        simulation.run_here(FIVE, Scenario.parse(scenario))

    assert simulation.counts.scenarios == 4
    assert simulation.counts.histories == 2
    assert simulation.counts.activations >= simulation.counts.tasks > 20
