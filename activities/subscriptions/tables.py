"""The table of subscriptions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Date, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.entitlements.contract import Plan
from activities.subscriptions.contract import SubscriptionStatus

metadata: Final = MetaData()

subscriptions: Final = Table(
    "subscriptions",
    metadata,
    Column("id", String(120), primary_key=True, doc="The billing provider uses the same."),
    Column("account_id", String(120), nullable=False),
    Column("plan", String(40), nullable=False),
    Column("email", String(254), nullable=False),
    Column("status", String(20), nullable=False),
    Column("cancellations", Integer, nullable=False, doc="How often it was begun to cancel it."),
    Column("cancelled_on", Date, doc="When the customer asked for the latest of them."),
)


async def create_tables(engine: AsyncEngine) -> None:
    """Create what is missing."""
    async with engine.begin() as tx:
        await tx.run_sync(metadata.create_all)


async def add_subscription(
    engine: AsyncEngine, subscription_id: str, *, account_id: str, email: str, plan: Plan = Plan.STARTER
) -> None:
    """Put an active subscription into the database, as the shop would when it is taken out.

    Raises:
        sqlalchemy.exc.IntegrityError: There is a subscription of this id.
    """
    async with engine.begin() as tx:
        row = {"id": subscription_id, "account_id": account_id, "plan": plan, "email": email}
        await tx.execute(insert(subscriptions).values(**row, status=SubscriptionStatus.ACTIVE, cancellations=0))


async def subscription_status(engine: AsyncEngine, subscription_id: str) -> SubscriptionStatus | None:
    """Where a subscription stands; ``None`` when there is none."""
    async with engine.connect() as connection:
        status = await connection.scalar(select(subscriptions.c.status).where(subscriptions.c.id == subscription_id))
    return None if status is None else SubscriptionStatus(status)


async def cancellation_number(engine: AsyncEngine, subscription_id: str) -> int:
    """Which cancellation a customer asks for who asks now: the one that is under way or done, else the next one.

    Whoever asks twice gets the same number, and so the same run. Two who ask at the same time do, too.

    Raises:
        LookupError: There is no such subscription.
    """
    wanted = select(subscriptions.c.status, subscriptions.c.cancellations)
    async with engine.connect() as connection:
        row = (await connection.execute(wanted.where(subscriptions.c.id == subscription_id))).one_or_none()
    if row is None:
        raise LookupError(f"there is no subscription {subscription_id!r}")
    begun: int = row.cancellations
    return begun + 1 if row.status == SubscriptionStatus.ACTIVE else begun
