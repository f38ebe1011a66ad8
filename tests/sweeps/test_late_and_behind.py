"""The pairs for which the plan upgrade's contracts are as they are: a write that is late, a search that is behind."""

from __future__ import annotations

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from tests.worlds import PLAN_UPGRADE


@pytest.mark.parametrize(
    "scenario",
    [
        # With the CRM by state instead of by probe the late write brings the plan back after its undo.
        "billing.change_plan#1/2:refused+crm.upsert_company#1/2:late_after_undo",
        # With a settle time that is shorter than the search is behind two tickets are open.
        "tickets.open#1:reply_lost",
        "tickets.open#1:late_after_undo",
        # The entitlement's version never comes back: the late request is refused there.
        "entitlements.change#1:late_after_retry",
    ],
)
def test_what_comes_late_changes_nothing(scenario: str) -> None:
    """Each fault strikes, and nothing is there twice, and nothing that was undone comes back."""
    run = Simulation().run_here(PLAN_UPGRADE, Scenario.parse(scenario))

    assert run.unreached == ()
    assert run.violations == ()
