"""The person of a scenario does what a sensible person would."""

from __future__ import annotations

import pytest

from kit.testing import Ending, Run, Scenario
from kit.testing.engines.simulation import Simulation
from kit.workflow import Choice
from tests.testing.engines.travels import travel


def run(scenario: str, *lines: str) -> Run:
    """What comes of a saga of these lines."""
    return Simulation().run_here(travel(*lines), Scenario.parse(scenario))


@pytest.mark.parametrize(
    ("scenario", "lines", "choice", "ending"),
    [
        ("car.book#1:refused", ("step visa", "step car"), Choice.SKIP, Ending.FAILED),
        ("fax.send#1:reply_lost+fax.send#1:cancel_during", ("step fax",), Choice.SKIP, Ending.FAILED),
        ("car.book#1:refused+fax.send#1:crash_before", ("parallel fax car",), Choice.SUPPLY, Ending.COMPENSATED),
    ],
)
def test_what_no_machine_can_undo_is_not_tried_for_ever(
    scenario: str, lines: tuple[str, ...], choice: Choice, ending: Ending
) -> None:
    """They look: what is there stays, as residue; of what is not there they say so."""
    found = run(scenario, *lines)

    assert found.summary is not None
    assert [task.decision.choice for task in found.summary.tasks if task.decision] == [choice]
    assert found.repaired is ending
    assert found.violations == ()
