"""The pairs in which two runs share an effect, and one of them is taken back."""

from __future__ import annotations

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.runs import Ending
from tests.worlds import SUBSCRIPTION_CANCEL
from tests.worlds.approved import APPROVED


@pytest.mark.parametrize(
    "scenario",
    [
        # A second run that skipped what the first has done would not share it, and this unwind would give it back.
        "entitlements.revoke#1:terminated+subscriptions.finish_cancellation#1:started_again",
        "entitlements.revoke#1:terminated+entitlements.revoke#1:started_again",
        "billing.refund_proration#1:terminated+entitlements.revoke#1:started_again",
    ],
)
def test_what_has_ended_for_another_run_stays_ended(scenario: str) -> None:
    """Terminated and unwound, the first run takes nothing from the second, which has ended the subscription, too."""
    run = Simulation().run_here(SUBSCRIPTION_CANCEL, Scenario.parse(scenario))

    assert run.unreached == ()
    assert run.violations == ()


def test_run_that_begins_while_another_is_unwound_has_its_way() -> None:
    """It shares what is not undone yet, is approved, finds the rest undone for good, and leaves nothing either."""
    scenario = Scenario.parse("stall.charge#1:terminated+stall.charge.undo#1:started_again")

    run = Simulation().run_here(APPROVED, scenario)

    assert run.unreached == ()
    assert run.violations == ()
    assert [duplicate.ending for duplicate in run.duplicates] == [Ending.COMPENSATED]
