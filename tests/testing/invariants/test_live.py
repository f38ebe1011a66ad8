"""Live invariants in sweeps: asked of the scenario's own systems, by the definition that reconciliations check."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete

from activities.billing.contract import CHARGED_ACCOUNTS
from activities.orders.tables import orders
from kit.contract import Invariant, Pair
from kit.errors import DefinitionError
from kit.testing import Truth, sweep
from tests.worlds.checkout import CHECKOUT, ORDER, CheckoutWorld
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID

pytestmark = pytest.mark.slow


class Forgetful(CheckoutWorld):
    """A shop whose database loses its orders when everything is over."""

    async def truth(self) -> list[Truth]:
        """What is true, before it is lost."""
        told = await super().truth()
        if self.charged(ORDER):
            async with self.engine.begin() as tx:
                await tx.execute(delete(orders))
        return told


async def test_a_violation_is_found_by_the_live_definition() -> None:
    """A captured payment whose order is lost breaks the rule in a sweep, in its own words."""
    subject = replace(CHECKOUT, world=Forgetful, invariants=(CAPTURED_HAS_ORDER,))

    verdict = await sweep(subject, depth=0)

    found = {(each.invariant, each.text) for example in verdict.violations for each in example.run.violations}
    assert (CAPTURED_HAS_ORDER.name, "order 'ORDER-1' does not exist, and 4999 usd was taken for it") in found


async def test_a_world_that_cannot_be_asked_is_refused() -> None:
    """An invariant about systems that the world has not is an error, and never holds by silence."""

    def never(pair: Pair) -> str | None:
        return None

    rule: Invariant = replace(ORDER_IS_PAID, right=CHARGED_ACCOUNTS, check=never)

    with pytest.raises(DefinitionError, match=r"has no connector that serves 'billing.list_accounts'"):
        await sweep(replace(CHECKOUT, invariants=(rule,)), depth=0)
