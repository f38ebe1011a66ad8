"""An invariant may ask for the way that led to an end: what is left out of a sweep must not lose that."""

from collections.abc import Iterable
from typing import Any

import pytest

from kit.testing import Invariant, Run, Subject
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind
from tests.sweeps.test_small_worlds import outcomes_of
from tests.worlds.two_steps import Market, Sale, Sell


def few_attempts(_: Any, run: Run) -> Iterable[str]:
    """One more than is needed, in all."""
    more = sum(row.attempts - 1 for row in run.rows)
    return [f"{more} attempts more than needed"] if more > 1 else []


def asked_once(_: Any, run: Run) -> Iterable[str]:
    """No request is made again."""
    return [f"{one.point} asks again" for one in run.seen if one.point.call > 1]


@pytest.mark.parametrize("check", [few_attempts, asked_once])
async def test_what_only_the_way_shows_is_found_by_the_reduced_sweep(check: Any) -> None:
    """A saga that has got over a lost reply is where it would be without, and did not come there as it would."""
    subject = Subject(Sell, Sale(thing="lamp"), Market, invariants=(Invariant("as it should be", check),))
    kinds = [FaultKind.REPLY_LOST]
    _, every = await outcomes_of(subject, Simulation(), depth=2, kinds=kinds, oracle=True)

    verdict, outcomes = await outcomes_of(subject, Simulation(), depth=2, kinds=kinds)

    assert outcomes.keys() == every.keys()
    assert not [str(scenario) for scenario in every if not outcomes[scenario].equals(every[scenario])]
    assert not all(outcome.safe for outcome in outcomes.values())
    assert any("'as it should be' asks for the way" in each for each in verdict.assumptions)
