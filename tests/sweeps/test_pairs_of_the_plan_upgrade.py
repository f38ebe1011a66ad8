"""The pairs for which the plan upgrade is as it is: a late write, a search that is behind, a look that is refused."""

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
        # Whether the other version is ours cannot be seen: it is not asked again and again of a service that says no.
        "entitlements.change#1:reply_lost+entitlements.change#2/2:refused",
        # The first of two deliveries was accepted, the second was not: there is something to undo.
        "entitlements.change#1:twice+entitlements.change#1/2:refused",
    ],
)
def test_plan_upgrade_stands_a_pair(scenario: str) -> None:
    """Each fault strikes, and every invariant holds."""
    run = Simulation().run_here(PLAN_UPGRADE, Scenario.parse(scenario))

    assert run.unreached == ()
    assert run.violations == ()
