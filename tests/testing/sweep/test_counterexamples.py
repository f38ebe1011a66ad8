"""What is shown of a defect: the fewest faults, a line that shows it again, and a test."""

import subprocess
import sys
from pathlib import Path

import pytest

from kit.testing.faults import Scenario
from kit.testing.runs import Ending
from kit.testing.sweep import SweepFailed, shrink, sweep, write_test
from kit.testing.world import Subject
from tests.testing.sweep.toy import TOY, Foreseeing, Shopping, Toy, no_world

ROOT = Path(__file__).parents[3]


async def test_defect_that_needs_two_faults_is_found_by_pairs() -> None:
    """What no single fault shows is shown by two, and by none of them alone."""
    singles = await sweep(TOY, engine=Foreseeing(forgets="charge"), depth=1)
    pairs = await sweep(TOY, engine=Foreseeing(forgets="charge"), depth=2)

    assert singles.safe
    assert [str(found.scenario) for found in pairs.violations] == [
        "charge#1:reply_lost+charge#2:refused",
        "charge#1:crash_after+charge#2:refused",
    ]


async def test_pair_of_a_single_that_violates_is_no_counterexample_of_its_own() -> None:
    """No counterexample contains another; the scenarios that contain it are counted with it."""
    verdict = await sweep(TOY, engine=Foreseeing(keyless=("reserve",)), depth=2)

    sets = [frozenset(found.scenario.faults) for found in verdict.violations]
    assert not any(one < other for one in sets for other in sets)
    assert [len(faults) for faults in sets] == sorted(len(faults) for faults in sets)
    assert sum(found.scenarios for found in verdict.violations) >= verdict.counts.violating > len(verdict.violations)


async def test_failure_is_told_in_lines_that_show_it_again() -> None:
    """A test that fails prints, for each counterexample, what is wrong and the command that shows it."""
    verdict = await sweep(TOY, engine=Foreseeing(forgets="charge"), depth=2)

    with pytest.raises(SweepFailed) as caught:
        verdict.assert_safe()

    assert str(caught.value).splitlines()[1:3] == [
        "nothing is left: charge: 1",
        "    kit verify Shopping --only 'charge#1:reply_lost+charge#2:refused'",
    ]


async def test_shrinking_leaves_out_every_fault_that_is_not_needed() -> None:
    """What is left violates an invariant, and without any one of its faults it does not."""
    engine = Toy(forgets="charge")
    wide = Scenario.parse("reserve#1:outage+charge#1:reply_lost+charge#2:refused+reserve#2:unrecorded")

    async def violates(scenario: Scenario) -> bool:
        return not (await engine.run(TOY, scenario)).safe

    smallest = await shrink(wide, violates=violates)

    assert str(smallest) == "charge#1:reply_lost+charge#2:refused"
    assert len(engine.ran) == len(set(engine.ran))


async def test_shrinking_keeps_the_earlier_of_two_that_would_do() -> None:
    """Among sets of the same size the one whose faults come first is kept."""
    scenario = Scenario.parse("a#1:refused+b#1:refused")

    async def violates(candidate: Scenario) -> bool:
        return bool(candidate.faults)

    assert str(await shrink(scenario, violates=violates)) == "a#1:refused"


def verdict_of(file: Path) -> int:
    """The exit code of a test run of one file: 0 green, 1 red."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


async def test_test_of_a_counterexample_names_what_it_needs(tmp_path: Path) -> None:
    """A subject that is an attribute of a module is imported; one of a test is put together from its parts."""
    verdict = await sweep(TOY, engine=Foreseeing(forgets="charge"), depth=2)
    loose = Subject(Shopping, None, no_world, ending=Ending.COMPENSATED)

    by_name = write_test(verdict.violations[0], tmp_path, subject=TOY)
    by_parts = write_test(verdict.violations[0], tmp_path / "other.py", subject=loose)

    assert by_name.name == "test_shopping_charge_1_reply_lost_charge_2_refused.py"
    assert "from tests.testing.sweep.toy import TOY\n" in by_name.read_text()
    assert "Subject(workflow=Shopping, request=None, world=no_world, ending=Ending.COMPENSATED)" in by_parts.read_text()
    assert "from kit.testing.runs import Ending\n" in by_parts.read_text()
    assert (
        f"``kit verify Shopping --explain '{verdict.violations[0].scenario}'`` tells the story." in by_name.read_text()
    )
    compile(by_parts.read_text(), "other.py", "exec")
