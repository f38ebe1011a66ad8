"""Subscriptions in the service's own database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.orders.tables import move
from activities.subscriptions import contract
from activities.subscriptions.contract import (
    SUBSCRIPTION,
    BeginCancellation,
    Begun,
    FinishCancellation,
    Finished,
    SubscriptionStatus,
)
from activities.subscriptions.tables import subscriptions
from kit.contract import FailureKind, Keys, Page, Record, Scan, Token, Undo
from kit.errors import Refused
from kit.worker.connector import Connector
from kit.worker.context import current_call

if TYPE_CHECKING:
    from kit.ledger import TransactionalLedger

_ROW: Final = select(subscriptions)
_BY_ID: Final = _ROW.order_by(subscriptions.c.id)


class SqlSubscriptions(Connector):
    """Begins and finishes cancellations, each in one transaction with its ledger row, and lists subscriptions.

    Args:
        database: The database with the table of `activities.subscriptions.tables` and the ledger's own.
    """

    def __init__(self, database: TransactionalLedger) -> None:
        self.database: TransactionalLedger = database

    @contract.begin_cancellation.action
    async def begin_cancellation(self, request: BeginCancellation, token: Token, tx: AsyncConnection) -> Begun:
        """Note that the subscription is to end, from today on."""
        row = await _locked(tx, request.subscription_id)
        SUBSCRIPTION.check(SubscriptionStatus(row.status), SubscriptionStatus.CANCEL_PENDING)
        if row.cancellations != request.number - 1:
            raise _other_cancellation(row, request.number)
        today = _today()
        await move(
            tx,
            subscriptions,
            request.subscription_id,
            SUBSCRIPTION,
            SubscriptionStatus.CANCEL_PENDING,
            cancellations=request.number,
            cancelled_on=today,
        )
        return Begun(
            subscription_id=request.subscription_id, account_id=row.account_id, plan=row.plan, email=row.email, on=today
        )

    @contract.begin_cancellation.compensation
    async def keep(self, undo: Undo[BeginCancellation, Begun], token: Token, tx: AsyncConnection) -> None:
        """Make the subscription active again, if it still waits for this cancellation."""
        request = undo.request
        row = await _locked(tx, request.subscription_id)
        if row.cancellations != request.number:
            raise _other_cancellation(row, request.number)
        if row.status == SubscriptionStatus.ACTIVE:
            return
        await move(tx, subscriptions, request.subscription_id, SUBSCRIPTION, SubscriptionStatus.ACTIVE)

    @contract.finish_cancellation.action
    async def finish_cancellation(self, request: FinishCancellation, token: Token, tx: AsyncConnection) -> Finished:
        """Note that the subscription has ended."""
        row = await _locked(tx, request.subscription_id)
        if row.cancellations != request.number:
            raise _other_cancellation(row, request.number)
        await move(tx, subscriptions, request.subscription_id, SUBSCRIPTION, SubscriptionStatus.CANCELED)
        return Finished(subscription_id=request.subscription_id, status=SubscriptionStatus.CANCELED)

    @contract.list_subscriptions.action
    async def list_subscriptions(self, request: Scan, token: Token) -> Page:
        """One page of the subscriptions, by their ids."""
        query = _BY_ID if request.after is None else _BY_ID.where(subscriptions.c.id > request.after)
        async with self.database.engine.connect() as connection:
            rows = (await connection.execute(query.limit(request.limit))).all()
        return Page(records=tuple(map(_record, rows)), next=rows[-1].id if len(rows) == request.limit else None)

    @contract.find_subscriptions.action
    async def find_subscriptions(self, request: Keys, token: Token) -> Page:
        """Some subscriptions."""
        async with self.database.engine.connect() as connection:
            rows = (await connection.execute(_BY_ID.where(subscriptions.c.id.in_(request.keys)))).all()
        return Page(records=tuple(map(_record, rows)))


def _record(row: Row[Any]) -> Record:
    """A subscription; its table does not say since when it stands as it does."""
    return Record(key=row.id, state=row.status, facts={"account_id": row.account_id, "number": str(row.cancellations)})


async def _locked(tx: AsyncConnection, subscription_id: str) -> Row[Any]:
    """The row, which nobody else changes until the transaction is over.

    Raises:
        Refused: There is none.
    """
    found = await tx.execute(_ROW.where(subscriptions.c.id == subscription_id).with_for_update())
    row = found.one_or_none()
    if row is None:
        raise Refused(FailureKind.NOT_FOUND, f"subscriptions has no {subscription_id!r}", reason="no_subscription")
    return row


def _other_cancellation(row: Row[Any], number: int) -> Refused:
    return Refused(
        FailureKind.CONFLICT,
        f"subscription {row.id!r} is {row.status!r} after {row.cancellations} cancellations that were begun, "
        f"and cancellation {number} is none of now: ask for the next one, {row.cancellations + 1}",
        reason="other_cancellation",
    )


def _today() -> date:
    """The server's day, where there is one: a worker's own clock may be wrong, and under time skipping it is."""
    call = current_call.get()
    return (datetime.now(UTC) if call is None else call.clock()).astimezone(UTC).date()
