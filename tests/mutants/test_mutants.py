"""The sweep finds seeded faults, each in the scenario that the registry names, and nothing where there is nothing."""

from __future__ import annotations

import re

import pytest

from kit.errors import DefinitionError
from kit.testing import FaultKind, Run, Scenario, sweep
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Fault
from tests.mutants.careful import ORIGINAL_BY_HAND
from tests.mutants.registry import MUTANTS
from tests.mutants.seeding import ORIGINAL, ROOT, Edit, Mutant, subject_of
from tests.mutants.table import CAUGHT, PAGE, RUNNING, faults_of, original_of, written

REFUSED = [mutant for mutant in MUTANTS if mutant.refused is not None]


def name_of(mutant: Mutant) -> str:
    """As a test's id shows it."""
    return mutant.name


def run_of(mutant: Mutant, scenario: str) -> Run:
    """What comes of a scenario."""
    return Simulation().run_here(subject_of(mutant), Scenario.parse(scenario))


def sweep_comes_to(mutant: Mutant, run: Run) -> bool:
    """Whether a sweep of the mutant would have run this scenario by itself.

    Until its first fault strikes a run is the clean one, until the second it is that of the first fault. So a sweep
    comes this way if each fault is offered at its point: in the run itself or, where the fault keeps the call from
    being made at all, in the run without it.
    """
    faults = run.scenario.faults
    others = [Scenario(tuple(one for one in faults if one is not fault)) for fault in faults]
    return all(
        offers(run, fault) or offers(run_of(mutant, str(other)), fault)
        for fault, other in zip(faults, others, strict=True)
    )


def offers(run: Run, fault: Fault) -> bool:
    """Whether a run says of itself that the fault could strike it."""
    return any(fault.kind in seen.kinds for seen in run.seen if seen.point == fault.point)


@pytest.mark.parametrize("mutant", CAUGHT, ids=name_of)
def test_the_scenario_named_catches_the_mutant(mutant: Mutant) -> None:
    """A seeded fault breaks the invariant in its scenario, and a sweep comes to that scenario by itself."""
    run = run_of(mutant, mutant.caught or "")

    assert str(run.scenario) == mutant.caught
    assert run.unreached == ()
    assert mutant.breaks in {violation.invariant for violation in run.violations}
    assert not [line.text for line in run.story if "NameError" in line.text], "a slip in the edit is no fault"
    assert sweep_comes_to(mutant, run)


@pytest.mark.slow
async def test_a_sweep_comes_to_the_scenario_that_is_named() -> None:
    """A whole sweep finds the pair that the registry names, and no single fault that would do."""
    mutant = next(one for one in CAUGHT if one.name == "void_swallows_failures")

    verdict = await sweep(subject_of(mutant), depth=2, kinds=[FaultKind.REFUSED])

    assert mutant.caught in {str(found.scenario) for found in verdict.violations}
    assert {len(found.scenario.faults) for found in verdict.violations} == {2}


@pytest.mark.slow
def test_the_originals_are_safe_in_the_same_scenarios() -> None:
    """What catches a mutant finds nothing in what it is a copy of: it is the fault that is found."""
    scenarios = {(original_of(mutant).name, mutant.caught or ""): original_of(mutant) for mutant in CAUGHT}

    found = {place: run_of(original, place[1]).violations for place, original in scenarios.items()}

    assert {place: violations for place, violations in found.items() if violations} == {}


@pytest.mark.parametrize("mutant", REFUSED, ids=name_of)
def test_what_cannot_be_safe_is_refused_when_it_is_built(mutant: Mutant) -> None:
    """A fault that a class or a worker can see never gets to run."""
    with pytest.raises(DefinitionError, match=re.escape(mutant.refused or "")):
        run_of(mutant, "clean")


def test_the_saga_by_hand_takes_the_steps_of_the_reference() -> None:
    """It makes the calls that the reference makes, up to what is told to others."""
    reference = [str(seen.point) for seen in run_of(ORIGINAL, "clean").seen]

    by_hand = [str(seen.point) for seen in run_of(ORIGINAL_BY_HAND, "clean").seen]

    assert by_hand == [one for one in reference if not one.startswith(("fulfilment.", "email."))]


def test_an_edit_that_no_longer_applies_says_so() -> None:
    """When the reference changes under a mutant, it is the mutant that is to be brought up to date."""
    edit = Edit("workflows/checkout.py", "self.charge_twice(", "")

    with pytest.raises(LookupError, match="occurs 0 times, not once: bring the edit up to date"):
        edit.apply((ROOT / edit.path).read_text(encoding="utf-8"))


def test_singles_and_pairs_catch_what_they_promise() -> None:
    """At least 40 faults get to run; singles catch 60 % of them, pairs 95 %; the rest is argued one by one."""
    singles = [mutant for mutant in CAUGHT if faults_of(mutant) <= 1]

    assert len(RUNNING) >= 40
    assert len(singles) >= 0.6 * len(RUNNING)
    assert len(CAUGHT) >= 0.95 * len(RUNNING)
    assert {mutant.name for mutant in RUNNING if not mutant.caught and not mutant.equivalent} == set()


def test_the_page_shows_the_registry() -> None:
    """The table of the docs is the registry's."""
    page = PAGE.read_text(encoding="utf-8")

    assert page == written(page), "run `python -m tests.mutants --write`"


def test_names_are_unique() -> None:
    """A mutant is found by its name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
