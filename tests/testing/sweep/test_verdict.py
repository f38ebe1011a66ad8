"""A verdict: its bound, its counts, what it keeps, and that it is the same every time."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.contract import Role
from kit.errors import DefinitionError
from kit.testing.engines.protocol import Cut, Known
from kit.testing.faults import FaultKind, Point, Scenario
from kit.testing.runs import Ending, Run
from kit.testing.sweep import Place, Verdict, sweep
from kit.testing.sweep.sources import code_hash
from kit.testing.sweep.verdict import KEPT
from kit.testing.world import Subject
from tests.testing.sweep.toy import KINDS, TOY, Foreseeing, Shopping, Toy

ROOT = Path(__file__).parents[3]


def gist(verdict: Verdict) -> str:
    """All of a verdict that does not depend on who ran what, in order."""
    runs = [(str(run.scenario), run.ending, run.violations) for run in verdict.runs]
    found = [(str(one.scenario), one.scenarios, one.run.violations) for one in verdict.violations]
    matrix = [(str(place), kind, cell) for (place, kind), cell in verdict.matrix.items()]
    return repr((str(verdict), verdict.counts, runs, found, matrix, verdict.differences, verdict.unfaulted))


async def test_verdict_never_goes_without_its_bound() -> None:
    """It says how many faults, how many scenarios, how many histories, and which sources."""
    verdict = await sweep(TOY, engine=Foreseeing(), depth=1)

    assert str(verdict).startswith("Shopping: no violation for ≤ 1 fault, 25 scenarios, ")
    assert f"code {verdict.code_hash}" in str(verdict)
    assert verdict.safe
    verdict.assert_safe()


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_every_point_within_the_bound_is_faulted(depth: int) -> None:
    """What is reached with room for one more fault is faulted; what is reached by the last one is named as beyond."""
    verdict = await sweep(TOY, engine=Foreseeing(), depth=depth)

    assert verdict.unfaulted == ()
    assert verdict.counts.faulted == verdict.counts.reachable
    assert (verdict.counts.reachable > 0) == (depth > 0)
    assert verdict.counts.beyond > 0


async def test_undo_is_faulted_where_it_appears() -> None:
    """Calls that are made only because something failed are faulted at the next level."""
    verdict = await sweep(TOY, engine=Foreseeing(), depth=2)

    cell = verdict.matrix[Place("reserve", Role.COMPENSATION), FaultKind.REFUSED]
    assert cell.alone == {}
    assert set(cell.together) == {Ending.PARKED}
    assert cell.example == Scenario.parse("charge#1:refused+reserve.undo#1:refused")


async def test_pair_that_ends_as_neither_of_its_faults_is_marked() -> None:
    """The refusal of an undo parks a run that the refusal of the step alone would have compensated."""
    verdict = await sweep(TOY, engine=Foreseeing(), depth=2)

    parked = [found for found in verdict.differences if found.ending is Ending.PARKED]
    assert str(parked[0].scenario) == "charge#1:refused+reserve.undo#1:refused"
    assert parked[0].alone == (Ending.COMPENSATED, None)


async def test_only_the_kinds_that_are_asked_for_are_tried() -> None:
    """The verdict says what was not tried."""
    verdict = await sweep(TOY, engine=Foreseeing(), depth=1, kinds=[FaultKind.TWICE, FaultKind.REFUSED])

    assert verdict.counts.scenarios == 1 + 2 * 3
    assert verdict.kinds == (FaultKind.REFUSED, FaultKind.TWICE)
    assert any(sentence.startswith("Not tried: outage, ") for sentence in verdict.assumptions)


async def test_runs_that_are_kept_are_few_and_the_ones_to_see() -> None:
    """The clean run, every single, and one of every distinct ending; their number does not grow with the pairs."""
    singles = await sweep(TOY, engine=Foreseeing(), depth=1)
    pairs = await sweep(TOY, engine=Foreseeing(), depth=2)

    assert len(list(singles.singles())) == singles.counts.scenarios - 1
    assert pairs.find(Scenario()) == pairs.clean
    assert {run.ending for run in pairs.runs} == set(pairs.counts.endings)
    assert len(pairs.runs) <= len(singles.runs) + 5 < KEPT


async def test_same_seed_gives_the_same_verdict() -> None:
    """Order, ids, counts and counterexamples do not change from one sweep to the next."""
    first, second = [await sweep(TOY, engine=Foreseeing(forgets="charge"), depth=2, seed=3) for _ in range(2)]

    assert gist(first) == gist(second)
    assert all(run.scenario.seed == 3 for run in first.runs)


class Loud(Foreseeing):
    """Logs, as the guard does."""

    async def run_until(self, subject: Subject, scenario: Scenario, known: Known) -> Run | Cut:
        """Run it, with a warning."""
        logging.getLogger("kit.guard").warning("operation.attempt_failed")
        return await super().run_until(subject, scenario, known)


SCRIPT = """
import asyncio
import logging
from kit.testing.sweep import sweep
from tests.testing.sweep.test_verdict import Loud, gist
from tests.testing.sweep.toy import TOY

if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())
    print(gist(asyncio.run(sweep(TOY, engine=Loud, depth=2, workers=2))))
"""


@pytest.mark.slow
async def test_verdict_depends_neither_on_workers_nor_on_hashes(tmp_path: Path) -> None:
    """Two processes with other hash seeds find the same as this one, and print nothing between its lines."""
    script = tmp_path / "sweeping.py"
    script.write_text(SCRIPT)

    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    elsewhere = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    here = await sweep(TOY, engine=Loud, depth=2)

    assert elsewhere.stdout.strip() == gist(here), elsewhere.stderr
    assert elsewhere.stderr == ""


def nowhere() -> type[Toy]:
    """A class that no other process can import."""

    class Local(Toy):
        pass

    return Local


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"depth": -1}, "it is negative"),
        ({"workers": 0}, "nobody would work"),
        ({"workers": 2, "engine": Toy()}, "an engine cannot be in several processes"),
        ({"workers": 2, "engine": Toy, "oracle": True}, "the un-pruned mode runs in one process"),
        ({"workers": 2, "engine": nowhere()}, "cannot be sent to another process"),
        ({"engine": "simulaton"}, "there is no engine of that name"),
        ({"request": 1}, "a Subject brings its own request and world"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], rule: str) -> None:
    """With the rule they break."""
    with pytest.raises(DefinitionError, match=rule):
        await sweep(TOY, **{"engine": Toy, "depth": 1, **options})


async def test_workflow_without_a_world_is_refused() -> None:
    """Nothing would carry its operations out."""
    with pytest.raises(DefinitionError, match="it has no world"):
        await sweep(Shopping, engine=Toy())


def test_code_hash_covers_the_service_and_what_it_imports() -> None:
    """It is the same twice, and another one for other sources."""
    assert code_hash(Shopping) == code_hash(Shopping)
    assert code_hash(Shopping) != code_hash(Point)
    assert len(code_hash(Shopping)) == 12


def test_toy_offers_what_it_can_do() -> None:
    """The planner's tests cover faults of four seams."""
    assert {kind.seam.value for kind in KINDS} == {"wire", "ledger", "worker", "server"}
