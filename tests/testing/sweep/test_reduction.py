"""What is left out of a sweep changes nothing of what it finds."""

from typing import Any

import pytest

from kit.contract import Role
from kit.errors import DefinitionError
from kit.testing.engines.protocol import State
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.sweep import Outcome, Reduction, Verdict, sweep
from kit.testing.sweep.growing import further
from kit.testing.sweep.running import _Memo
from tests.testing.sweep.toy import TOY, Foreseeing, Toy

BUGS: dict[str, dict[str, Any]] = {
    "sound": {},
    "forgets": {"forgets": "charge"},
    "keyless": {"keyless": ("reserve",)},
    "two steps": {"steps": ("reserve", "charge"), "keyless": ("charge",), "forgets": "reserve"},
}


async def swept(engine: Toy, **options: Any) -> tuple[Verdict, dict[Scenario, Outcome]]:
    """A verdict, and the outcome of every scenario."""
    outcomes: dict[Scenario, Outcome] = {}

    verdict = await sweep(
        TOY, engine=engine, progress=lambda told: outcomes.update({told.outcome.scenario: told.outcome}), **options
    )

    assert len(outcomes) == verdict.counts.scenarios, "every scenario is told once"
    return verdict, outcomes


@pytest.mark.parametrize("engine", [Toy, Foreseeing])
@pytest.mark.parametrize("bugs", BUGS.values(), ids=BUGS)
async def test_reduced_sweep_finds_what_the_oracle_finds(engine: type[Toy], bugs: dict[str, Any]) -> None:
    """The same scenarios, each with the same ending and the same violations, as when every set of faults is run."""
    expected, every = await swept(Toy(**bugs), depth=2, oracle=True)

    verdict, outcomes = await swept(engine(**bugs), depth=2)

    assert outcomes.keys() == every.keys()
    assert all(outcomes[scenario].equals(every[scenario]) for scenario in every)
    assert verdict.counts.violating == expected.counts.violating
    assert {found.scenario for found in verdict.violations} == {found.scenario for found in expected.violations}
    assert {key: (cell.alone, cell.together, cell.violated) for key, cell in verdict.matrix.items()} == {
        key: (cell.alone, cell.together, cell.violated) for key, cell in expected.matrix.items()
    }


async def test_three_faults_are_reduced_exactly_too() -> None:
    """What became another scenario's run keeps being counted on the levels that follow."""
    kinds = [FaultKind.REFUSED, FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER]
    engine: dict[str, Any] = {"steps": ("reserve", "charge"), "forgets": "charge"}
    _, every = await swept(Toy(**engine), depth=3, kinds=kinds, oracle=True)

    _, outcomes = await swept(Foreseeing(**engine), depth=3, kinds=kinds)

    assert outcomes.keys() == every.keys()
    assert all(outcomes[scenario].equals(every[scenario]) for scenario in every)


async def test_memo_on_state_saves_runs_and_says_how_many() -> None:
    """A scenario is run to its end, or stopped, or only counted, and the counts add up."""
    without, _ = await swept(Toy(), depth=2)

    verdict, outcomes = await swept(Foreseeing(), depth=2)

    reduced = verdict.counts.reduced
    saved = reduced[Reduction.SAME_STATE] + reduced.get(Reduction.SAME_REST, 0)
    told = [outcome for outcome in outcomes.values() if outcome.same_as is not None]
    assert verdict.counts.runs < without.counts.runs * 0.6
    assert saved <= len(told)
    assert verdict.counts.runs + saved - verdict.counts.reduced[Reduction.UNREACHED] == verdict.counts.scenarios


async def test_no_scenario_is_run_twice() -> None:
    """A set of faults has one place in the sweep, whatever the order in which they could be found."""
    engine = Toy()

    verdict = await sweep(TOY, engine=engine, depth=2)

    explored = engine.ran[: verdict.counts.runs]
    assert len(set(explored)) == len(explored)


async def test_world_that_hides_some_of_its_state_is_found_out() -> None:
    """Two runs that seem to be in one state and end differently are an error of the world, not a verdict."""
    with pytest.raises(DefinitionError, match=r"were in the same state and ended differently"):
        await sweep(TOY, engine=Foreseeing(blind=True, keyless=("reserve",)), depth=2)


def test_what_lies_about_counts_only_where_it_is_met() -> None:
    """Two states that differ in what a fault left for an operation are one if nobody calls it, and nobody more can."""
    down = State("same", frozenset({("charge", "is down")}))
    passed = {State("same"): 1}
    met, passed_by, more = _Memo(exactly=False), _Memo(exactly=False), _Memo(exactly=True)

    met.learn(None, passed, ("reserve", "charge", "send"))
    passed_by.learn(None, passed, ("charge", "reserve", "send"))
    more.learn(None, passed, ("charge", "reserve", "send"))

    assert met.find(down) is None
    assert passed_by.find(down) is not None
    assert more.find(down) is None
    assert met.find(State("same")) is not None


def test_further_faults_strike_at_the_last_one_or_after_it() -> None:
    """At an earlier point a fault would have struck first: that scenario follows from another run."""
    first, second = Point("a", Role.ACTION, 1), Point("b", Role.ACTION, 1)
    kinds = (FaultKind.REFUSED, FaultKind.CRASH_BEFORE, FaultKind.TERMINATED)
    points = [(first, kinds), (second, kinds)]
    scenario = Scenario((Fault(second, FaultKind.CRASH_BEFORE),))

    found = list(further(scenario, points, 1, kinds=kinds))

    assert found == [(1, (Fault(second, FaultKind.REFUSED), Fault(second, FaultKind.TERMINATED)), 0)]


def test_two_faults_of_one_point_follow_each_other_in_one_order() -> None:
    """Of two faults at one point only the later one is a further one; the other order is counted as left out."""
    point = Point("a", Role.ACTION, 1)
    kinds = (FaultKind.REFUSED, FaultKind.CRASH_BEFORE)
    by_crash = Scenario((Fault(point, FaultKind.CRASH_BEFORE),))
    by_refusal = Scenario((Fault(point, FaultKind.REFUSED),))

    found = [list(further(one, [(point, kinds)], 0, kinds=kinds)) for one in (by_crash, by_refusal)]

    assert found == [[(0, (Fault(point, FaultKind.REFUSED),), 0)], [(0, (), 1)]]
