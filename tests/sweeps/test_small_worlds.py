"""Sagas of two and of five steps: safe, and what is left out of their sweeps changes nothing."""

import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Self

import pytest

from kit.testing import Subject, Verdict
from kit.testing.engines.protocol import Engine
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.sweep import Outcome, sweep
from tests.worlds import APPROVED, FIVE_STEPS, REJECTED, TWO_STEPS

pytestmark = pytest.mark.slow

ORACLE_KINDS = (FaultKind.REPLY_LOST, FaultKind.REFUSED)


class Unforeseeing:
    """The simulation, unable to tell the state that it is in: every scenario is run to its end."""

    def __init__(self) -> None:
        self._simulation = Simulation()

    async def __aenter__(self) -> Self:
        await self._simulation.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._simulation.__aexit__()

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario."""
        return await self._simulation.run(subject, scenario)


async def outcomes_of(subject: Subject, engine: Engine, **options: Any) -> tuple[Verdict, dict[Scenario, Outcome]]:
    """What came of every scenario of a sweep."""
    outcomes: dict[Scenario, Outcome] = {}
    verdict = await sweep(
        subject,
        engine=engine,
        progress=lambda told: outcomes.update({told.outcome.scenario: told.outcome}),
        **options,
    )
    return verdict, outcomes


def some(number: int, *, seed: int) -> Collection[FaultKind]:
    """So many kinds of fault."""
    quick = [kind for kind in FaultKind if kind is not FaultKind.REPLIES_LOST]  # it lasts for twelve calls
    return random.Random(seed).sample(quick, number)  # noqa: S311 - a sample, no secret


@pytest.mark.parametrize(
    "subject", [TWO_STEPS, FIVE_STEPS, APPROVED, REJECTED], ids=["two", "five", "approved", "rejected"]
)
async def test_small_saga_is_safe_under_every_fault(
    subject: Subject, kit_sweep: Callable[..., Awaitable[Verdict]]
) -> None:
    """The clean run and every single fault; ``--kit-sweep-depth`` says how deep."""
    verdict = await kit_sweep(subject, depth=1)

    verdict.assert_safe()
    assert verdict.unfaulted == ()


@pytest.mark.parametrize(("subject", "number"), [(TWO_STEPS, 7), (FIVE_STEPS, 3)], ids=["two", "five"])
async def test_pairs_that_were_not_run_end_as_they_were_foretold(subject: Subject, number: int) -> None:
    """Each scenario ends as it does when all of them are run to their end, and many of them were not."""
    kinds = some(number, seed=1)
    expected, every = await outcomes_of(subject, Unforeseeing(), depth=2, kinds=kinds)

    verdict, outcomes = await outcomes_of(subject, Simulation(), depth=2, kinds=kinds)

    assert outcomes.keys() == every.keys()
    assert not [str(scenario) for scenario in every if not outcomes[scenario].equals(every[scenario])]
    assert verdict.safe
    assert verdict.counts.runs < expected.counts.runs


async def test_oracle_finds_no_other_scenario_and_no_other_outcome() -> None:
    """Every set of two faults that were ever reached is run for real, also those of which one never strikes."""
    _, every = await outcomes_of(TWO_STEPS, Simulation(), depth=2, kinds=ORACLE_KINDS, oracle=True)

    _, outcomes = await outcomes_of(TWO_STEPS, Simulation(), depth=2, kinds=ORACLE_KINDS)

    assert outcomes.keys() == every.keys()
    assert not [str(scenario) for scenario in every if not outcomes[scenario].equals(every[scenario])]


async def test_oracle_finds_only_what_comes_before_an_attempt_that_calls_nobody() -> None:
    """The verdict says among its assumptions that this is left out. What comes of it is known: nothing new."""
    before = (FaultKind.CANCEL_BEFORE, FaultKind.HELD)
    kinds = (*before, FaultKind.CRASH_RECORDED, FaultKind.OUTAGE, FaultKind.STARTED_AGAIN)
    _, every = await outcomes_of(TWO_STEPS, Simulation(), depth=2, kinds=kinds, oracle=True)

    verdict, outcomes = await outcomes_of(TWO_STEPS, Simulation(), depth=2, kinds=kinds)

    assert outcomes.keys() <= every.keys()
    assert not [str(scenario) for scenario in outcomes if not outcomes[scenario].equals(every[scenario])]
    left_out = every.keys() - outcomes.keys()
    assert all(any(fault.kind in before for fault in scenario.faults) for scenario in left_out)
    assert all(every[scenario].safe for scenario in left_out)
    assert any("comes before one that is made" in one for one in verdict.assumptions)


async def test_real_server_gives_the_same_verdict() -> None:
    """On a sample of kinds: the same scenarios, each with the same ending."""
    kinds = [FaultKind.REFUSED, FaultKind.CRASH_AFTER, FaultKind.REPLY_LOST]
    _, simulated = await outcomes_of(TWO_STEPS, Simulation(), depth=1, kinds=kinds)

    verdict = await sweep(TWO_STEPS, engine="server", depth=1, kinds=kinds)

    assert verdict.safe
    assert {run.scenario: (run.ending, run.repaired) for run in verdict.runs} == {
        scenario: (outcome.ending, outcome.repaired) for scenario, outcome in simulated.items()
    }
