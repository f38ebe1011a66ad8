"""An entity whose events seldom have an effect. A module of its own: the sandbox loads it for every run."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from kit import Entity, EntityEvent, EntityWorkflow, Model
from tests.workflow.world import Ask, hotel


class Balance(Model):
    """What is known of an account."""

    tier: int = 0
    balance: int = 0


class Booking(Model):
    """The balance of an account has changed."""

    balance: int


@workflow.defn
class Account(EntityWorkflow[Balance, Booking], owner="travel-desk", deadline=timedelta(hours=6)):
    """Follows a balance; tells a provider when it passes into another tier."""

    @workflow.run
    async def run(self, account: Entity[Balance]) -> Balance:
        """Live."""
        return await self.live(account)

    async def apply(self, event: EntityEvent[Booking]) -> None:
        """Tell the provider of another tier."""
        tier = event.data.balance // 20
        if tier != self.state.tier:
            await self.step(hotel, Ask(id=event.key))
        self.state = Balance(tier=tier, balance=event.data.balance)
