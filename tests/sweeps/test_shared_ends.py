"""The pairs in which two runs have ended one subscription, and one of them is taken back."""

from __future__ import annotations

import pytest

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from tests.worlds import SUBSCRIPTION_CANCEL


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
