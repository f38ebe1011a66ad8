"""The stall of two steps, where what a person has agreed to does not count for long; and nobody has thought of that."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from kit import SagaWorkflow
from kit.testing.world import Subject
from tests.worlds.two_steps import Market, Sale, charge, lay_aside


@workflow.defn
class SellQuickly(SagaWorkflow, owner="market", deadline=timedelta(minutes=10)):
    """Ask, lay aside, wait a moment, then charge, if what was approved still counts."""

    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Sell one thing. It has a defect: that an approval may expire was never tried."""
        approval = await self.approval(charge, sale, question="May it be charged?", within=timedelta(seconds=15))
        await self.step(lay_aside, sale)
        await workflow.sleep(timedelta(seconds=1))  # whoever buys may think better of it
        try:
            receipt = await self.pivot(charge, sale, approval=approval)
        except ApplicationError as expired:
            raise ValueError("nobody has thought of this") from expired
        return receipt.id


SOLD_QUICKLY: Final = Subject(SellQuickly, Sale(thing="lamp"), Market)
"""Fifteen seconds: enough for one attempt that takes all of its time, and not for two."""
