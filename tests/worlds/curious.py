"""The stall of two steps, whose clerk asks before everything: a saga of many questions."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow

from kit import SagaWorkflow
from kit.testing.world import Subject
from tests.worlds.two_steps import Market, Sale, charge

MANY: Final = 12


@workflow.defn
class SellCuriously(SagaWorkflow, owner="market", deadline=timedelta(minutes=10)):
    """Ask again and again, then charge."""

    @workflow.run
    async def run(self, sale: Sale) -> str:
        """Sell one thing."""
        for number in range(1, MANY):
            await self.approval(charge, Sale(thing=f"{sale.thing} {number}"), question=f"And {number} of them?")
        approval = await self.approval(charge, sale, question="May it be charged?")
        return (await self.pivot(charge, sale, approval=approval)).id


SOLD_CURIOUSLY: Final = Subject(SellCuriously, Sale(thing="lamp"), Market)
