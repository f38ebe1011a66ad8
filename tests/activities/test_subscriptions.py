"""Subscriptions and the audit trail in the service's own database, with its ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from activities.audit import contract as audit_contract
from activities.audit import tables as audit_tables
from activities.audit.contract import RecordEvent
from activities.audit.sql import SqlAudit
from activities.entitlements.contract import Plan
from activities.subscriptions import contract, tables
from activities.subscriptions.contract import BeginCancellation, Begun, FinishCancellation, SubscriptionStatus
from activities.subscriptions.sql import SqlSubscriptions
from activities.subscriptions.tables import add_subscription, cancellation_number, subscription_status, subscriptions
from kit.contract import FailureKind, Outcome, Role, Token, Undo
from kit.errors import Refused, TransitionError
from kit.ledger import TransactionalLedger
from kit.testing import check_connector
from kit.worker.context import Call, current_call
from kit.worker.failures import classify

TOKEN = Token(key="k", correlation_id="corr-1", workflow_id="cancel-sub_1-1")
EVENT = RecordEvent(event_id="E-1", event="subscription.canceled", subject="sub_1", facts={"refund": "0"})


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A database file with the tables and two active subscriptions."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    await tables.create_tables(engine)
    await audit_tables.create_tables(engine)
    for number in (1, 2):
        await add_subscription(engine, f"sub_{number}", account_id="ACC-1", email="ann@example.com", plan=Plan.PRO)
    yield engine
    await engine.dispose()


@pytest.fixture
async def database(engine: AsyncEngine) -> TransactionalLedger:
    """The ledger beside the tables."""
    ledger = TransactionalLedger(engine)
    await ledger.create_schema()
    return ledger


async def begin(database: TransactionalLedger, *, number: int = 1, subscription_id: str = "sub_1") -> Begun:
    """Begin a cancellation."""
    request = BeginCancellation(subscription_id=subscription_id, number=number)
    async with database.begin() as tx:
        return await SqlSubscriptions(database).begin_cancellation(request, TOKEN, tx)


async def keep(database: TransactionalLedger, begun: Begun, *, number: int = 1) -> None:
    """Undo the beginning of a cancellation."""
    request = BeginCancellation(subscription_id=begun.subscription_id, number=number)
    async with database.begin() as tx:
        await SqlSubscriptions(database).keep(Undo(request, begun), TOKEN, tx)


async def finish(database: TransactionalLedger, *, number: int = 1) -> None:
    """Finish a cancellation."""
    request = FinishCancellation(subscription_id="sub_1", number=number)
    async with database.begin() as tx:
        await SqlSubscriptions(database).finish_cancellation(request, TOKEN, tx)


# -- the promises --------------------------------------------------------------------------------------------------


async def test_beginning_and_finishing_keep_their_promises(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """Both conform: one effect, known, and the beginning can be taken back twice."""

    async def pending() -> int:
        return int(await subscription_status(engine, "sub_1") is SubscriptionStatus.CANCEL_PENDING)

    async def ended() -> int:
        return int(await subscription_status(engine, "sub_2") is SubscriptionStatus.CANCELED)

    connector = SqlSubscriptions(database)
    await begin(database, subscription_id="sub_2")

    begun = await check_connector(
        connector, contract.begin_cancellation, BeginCancellation(subscription_id="sub_1"), oracle=pending
    )
    finished = await check_connector(
        connector, contract.finish_cancellation, FinishCancellation(subscription_id="sub_2"), oracle=ended
    )

    assert begun.kept
    assert finished.kept


async def test_recording_keeps_its_promises(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """An event is written down once, however often it is asked for."""

    async def written() -> int:
        return len(await audit_tables.trail(engine, "sub_1"))

    assert (await check_connector(SqlAudit(database), audit_contract.record, EVENT, oracle=written)).kept


# -- how a subscription changes ------------------------------------------------------------------------------------


async def test_cancellation_tells_whose_subscription_ends(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """Account, plan, address and day come from the database, not from whoever asks."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    reset = current_call.set(Call(contract.begin_cancellation, Role.ACTION, TOKEN, lambda: noon))

    begun = await begin(database)

    current_call.reset(reset)
    assert begun == Begun(
        subscription_id="sub_1", account_id="ACC-1", plan=Plan.PRO, email="ann@example.com", on=date(2026, 3, 1)
    )
    assert await subscription_status(engine, "sub_1") is SubscriptionStatus.CANCEL_PENDING


async def test_a_finished_cancellation_is_for_good(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """From canceled no way leads back: neither the undo of the beginning nor another beginning."""
    begun = await begin(database)
    await finish(database)

    with pytest.raises(TransitionError, match=r"'canceled'.*'active'"):
        await keep(database, begun)
    with pytest.raises(TransitionError, match=r"'canceled'.*'cancel_pending'"):
        await begin(database, number=2)

    assert await subscription_status(engine, "sub_1") is SubscriptionStatus.CANCELED


async def test_nothing_is_finished_that_was_not_begun(database: TransactionalLedger) -> None:
    """An active subscription does not end by itself."""
    with pytest.raises(Refused, match="cancellation 1 is none of now: ask for the next one, 1"):
        await finish(database)


async def test_an_illegal_transition_is_a_refusal(database: TransactionalLedger) -> None:
    """The state machine's error is a definite refusal: nothing has changed."""
    await begin(database)

    with pytest.raises(TransitionError) as raised:
        await begin(database, number=2)

    failure = classify(SqlSubscriptions(database), contract.begin_cancellation, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.CONFLICT, Outcome.REFUSED)


async def test_two_who_begin_at_once_cannot_both_win(database: TransactionalLedger) -> None:
    """Of two racing changes one is refused."""
    results = await asyncio.gather(begin(database), begin(database), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["Begun", "TransitionError"]


async def test_subscription_that_does_not_exist_is_refused(database: TransactionalLedger) -> None:
    """What is not there is named."""
    with pytest.raises(Refused, match="subscriptions has no 'sub_none'"):
        await begin(database, subscription_id="sub_none")


# -- which cancellation it is --------------------------------------------------------------------------------------


async def test_cancellation_that_was_taken_back_is_followed_by_another_one(
    database: TransactionalLedger, engine: AsyncEngine
) -> None:
    """A customer who stays may want to go again: with the next number, and no other."""
    await keep(database, await begin(database))

    with pytest.raises(Refused, match="ask for the next one, 2"):
        await begin(database, number=1)

    assert await cancellation_number(engine, "sub_1") == 2
    assert (await begin(database, number=2)).subscription_id == "sub_1"


async def test_undo_of_an_earlier_cancellation_leaves_the_later_one_alone(
    database: TransactionalLedger, engine: AsyncEngine
) -> None:
    """An undo that comes late undoes its own beginning only."""
    first = await begin(database)
    await keep(database, first)
    await begin(database, number=2)

    with pytest.raises(Refused, match="after 2 cancellations"):
        await keep(database, first, number=1)

    assert await subscription_status(engine, "sub_1") is SubscriptionStatus.CANCEL_PENDING


async def test_whoever_asks_twice_is_told_the_same_number(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """The number is that of the cancellation that is under way or done, else of the next one."""
    numbers = [await cancellation_number(engine, "sub_1")]
    await begin(database)
    numbers.append(await cancellation_number(engine, "sub_1"))
    await finish(database)
    numbers.append(await cancellation_number(engine, "sub_1"))

    assert numbers == [1, 1, 1]
    with pytest.raises(LookupError, match="'sub_none'"):
        await cancellation_number(engine, "sub_none")


# -- the audit trail -----------------------------------------------------------------------------------------------


async def test_trail_says_who_recorded_what(database: TransactionalLedger, engine: AsyncEngine) -> None:
    """A record names event, subject and facts, and the run that wrote it."""
    async with database.begin() as tx:
        await SqlAudit(database).record(EVENT, TOKEN, tx)

    (row,) = await audit_tables.trail(engine, "sub_1")
    assert (row["event"], row["facts"]) == ("subscription.canceled", {"refund": "0"})
    assert (row["workflow_id"], row["correlation_id"]) == ("cancel-sub_1-1", "corr-1")


@pytest.mark.parametrize("statement", ["UPDATE audit SET event = 'nothing'", "DELETE FROM audit"])
async def test_trail_is_only_added_to(database: TransactionalLedger, engine: AsyncEngine, statement: str) -> None:
    """The database itself refuses to change or delete a record, also after the tables were created again."""
    await audit_tables.create_tables(engine)
    async with database.begin() as tx:
        await SqlAudit(database).record(EVENT, TOKEN, tx)

    with pytest.raises(IntegrityError, match="the audit trail is only added to"):
        async with engine.begin() as tx:
            await tx.execute(text(statement))

    assert len(await audit_tables.trail(engine, "sub_1")) == 1


async def test_new_subscription_is_active(engine: AsyncEngine) -> None:
    """A subscription that was taken out is active, and was never cancelled."""
    async with engine.connect() as connection:
        row = (await connection.execute(select(subscriptions).where(subscriptions.c.id == "sub_1"))).one()

    assert (row.status, row.cancellations, row.cancelled_on) == (SubscriptionStatus.ACTIVE, 0, None)
    assert await subscription_status(engine, "sub_none") is None
