"""The stall of two steps, where a person must agree before the money is taken."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow

from kit import SagaWorkflow
from kit.testing.runs import Ending
from kit.testing.world import Subject
from tests.worlds.two_steps import Market, Sale, charge, lay_aside


@workflow.defn
class SellApproved(SagaWorkflow, owner="market", deadline=timedelta(minutes=10)):
    """Lay aside, ask, then charge what was approved."""

    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Sell one thing."""
        await self.step(lay_aside, sale)
        approval = await self.approval(charge, sale, question=f"May {sale.thing} be charged?")
        receipt = await self.pivot(charge, sale, approval=approval)
        return receipt.id


APPROVED: Final[Subject] = Subject(SellApproved, Sale(thing="vase"), Market)
"""A person who agrees."""

REJECTED: Final[Subject] = Subject(SellApproved, Sale(thing="vase"), Market, approves=False, ending=Ending.COMPENSATED)
"""And one who does not."""
