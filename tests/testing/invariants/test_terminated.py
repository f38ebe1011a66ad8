"""A run that is terminated while it turns round: what it has undone so far is told by its rows."""

import asyncio

import pytest

from kit.ledger import State
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.runs import Ending
from tests.worlds import CHECKOUT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("where", ["payments.capture.probe#1", "payments.capture.undo#1", "orders.create.undo#1"])
async def test_effect_that_went_with_the_one_built_on_it_is_no_lie_of_the_ledger(where: str) -> None:
    """The capture was refunded, and the authorization is gone with it, before its own undo could write that down."""
    scenario = Scenario.parse(f"payments.capture#1:replies_lost+{where}:terminated")

    run = await asyncio.to_thread(Simulation().run_here, CHECKOUT, scenario)

    assert run.ending is Ending.TERMINATED
    assert any(effect.operation == "payments.authorize" and not effect.live for effect in run.truth)
    assert not run.violations


async def test_undo_that_a_person_leaves_open_in_the_unwind_is_no_lie_of_the_ledger() -> None:
    """Nobody knows what came of the receipt; a person lets it be, and its row keeps the undo that nothing confirms."""
    scenario = Scenario.parse("email.send_receipt#1:late_after_undo+email.send_receipt#1:terminated")

    run = await asyncio.to_thread(Simulation().run_here, CHECKOUT, scenario)

    rows = {row.operation: row.state for row in run.rows}
    assert rows["email.send_receipt"] is State.UNDOING
    assert run.unwound is not None
    assert "receipt:ORDER-1" in run.unwound.left
    assert not run.violations
