"""A checkout that is taken back after it has completed: a child saga, unwound from the ledger under every fault."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from kit import SagaWorkflow
from kit.testing.runs import Ending
from kit.testing.world import Subject
from tests.worlds.checkout import CHECKOUT, REQUEST, CheckoutWorld
from workflows.checkout import Checkout, CheckoutRequest


@workflow.defn
class TakenBack(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=2)):
    """Checks out, and changes its mind: nothing of the checkout may be left."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> None:
        """Check out, then fail."""
        await self.child(Checkout, checkout, id=f"{workflow.info().workflow_id}-checkout")
        raise ApplicationError("the customer has changed their mind", type="ChangedMind")


TAKEN_BACK: Final = Subject(
    TakenBack,
    REQUEST,
    world=CheckoutWorld,
    invariants=CHECKOUT.invariants,
    others=(Checkout,),
    ending=Ending.COMPENSATED,
)
"""The checkout of `tests.worlds.checkout`, unwound."""
