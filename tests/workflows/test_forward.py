"""The checkout once the money is taken: it only goes forward, with a person's help where it must."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from activities.orders.contract import CartStatus
from activities.orders.tables import carts
from kit.ledger import State
from kit.testing.sandbox import WEBHOOK_SECRET, EffectKind, FaultKind, Operation
from kit.workflow import RECORD_ACTIVITY, Choice, Status
from tests.workflows.shop import FORWARD, ORDER, SUCCESS, Shop, assert_truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

RECEIPT = f"receipt:{ORDER}"
MESSAGE = {"message_id": "<by-hand@example.com>"}


async def test_a_database_that_is_down_after_the_capture_is_waited_for(shop: Shop) -> None:
    """The cart is completed when the database is back, after more attempts than any step before the pivot has."""

    async def down() -> None:
        await shop.database_down(refusals=14)

    shop.network.after("/capture", down)
    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert story.attempts == {"carts.complete": 15}
    await assert_truth(shop, story)


async def test_a_cart_that_cannot_be_completed_waits_for_its_repair(shop: Shop) -> None:
    """After the pivot a permanent failure keeps the money and asks: repaired and retried, the order completes."""

    async def opened_by_hand() -> None:
        await _set_cart(shop, CartStatus.OPEN)

    shop.network.after("/capture", opened_by_hand)
    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        await _set_cart(shop, CartStatus.CHECKED_OUT)
        await run.decide(task, Choice.RETRY)
        story = await run.story()

    assert (task.operation, task.choices) == ("carts.complete", (Choice.RETRY, Choice.SUPPLY, Choice.UNWIND))
    assert story.activities == [*FORWARD, "carts.complete", *SUCCESS[-2:]]
    assert (await shop.seen())[EffectKind.REFUNDED] == 0
    await assert_truth(shop, story)


async def test_a_person_may_unwind_a_paid_order(shop: Shop) -> None:
    """Unwound by decision after the pivot: the money is given back, and nothing was shipped or sent."""

    async def opened_by_hand() -> None:
        await _set_cart(shop, CartStatus.OPEN)

    shop.network.after("/capture", opened_by_hand)
    async with shop.worker() as worker:
        run = await shop.start(worker)
        await run.decide(await run.parked(), Choice.UNWIND)
        story = await run.story()

    assert story.activities == [
        *FORWARD,
        "payments.capture.undo",
        "orders.create.undo",
        "inventory.reserve.undo",
        "payments.authorize.undo",
    ]
    assert story.summary.status is Status.COMPENSATED
    seen = await shop.seen()
    assert (seen[EffectKind.CAPTURED], seen[EffectKind.REFUNDED]) == (1, 1)
    assert not {EffectKind.DELIVERED, EffectKind.SENT} & set(seen)
    await assert_truth(shop, story)


@pytest.mark.parametrize(("choice", "state"), [(Choice.SKIP, State.VOID), (Choice.SUPPLY, State.DONE)])
async def test_a_receipt_that_may_have_been_sent_is_not_sent_again(shop: Shop, choice: Choice, state: State) -> None:
    """When the mail server's reply is lost nobody can know: it waits for a person, and one receipt was sent."""
    await shop.fault(Operation.SEND, FaultKind.DROP_REPLY)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        assert (await shop.seen())[EffectKind.SENT] == 1
        await run.decide(task, choice, MESSAGE if choice is Choice.SUPPLY else None)
        story = await run.story()

    assert (task.operation, task.owner) == ("email.send_receipt", "customer-care-team")
    assert task.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    assert story.activities == [*SUCCESS, RECORD_ACTIVITY]
    assert (await shop.rows(story.workflow_id))[RECEIPT] is state
    await assert_truth(shop, story, loose=RECEIPT)


async def test_a_receipt_that_is_refused_keeps_the_order(shop: Shop) -> None:
    """An address that does not exist asks a person; the order is placed, paid and shipped all the same."""
    await shop.fault(Operation.SEND, FaultKind.REFUSE)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        placed, opened = await shop.tables()
        await run.decide(task, Choice.RETRY)
        story = await run.story()

    assert (*placed.values(), *opened.values()) == ("placed", "completed")
    assert story.activities == [*SUCCESS, "email.send_receipt"]
    await assert_truth(shop, story)


async def test_a_shipment_signed_with_another_secret_is_refused_and_asked_about(shop: Shop) -> None:
    """The partner verifies the signature: what he cannot verify he refuses, and the order waits for a person."""
    shop.secret = "whsec_" + WEBHOOK_SECRET.removeprefix("whsec_")[::-1].replace("=", "A")

    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        await run.decide(task, Choice.SKIP)
        story = await run.story()

    assert task.operation == "fulfilment.request_shipment"
    assert [call.status for call in await shop.calls(Operation.DELIVER)] == [400]
    assert story.activities == [*SUCCESS, RECORD_ACTIVITY]
    assert EffectKind.DELIVERED not in await shop.seen()


async def test_a_receipt_that_a_person_knows_unsent_is_sent_on_retry(shop: Shop) -> None:
    """A person who has looked and found nothing sent says RETRY, and the receipt is sent."""
    await shop.fault(Operation.SEND, FaultKind.DROP_BEFORE)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        await run.decide(await run.parked(), Choice.RETRY)
        story = await run.story(patience=1)

    await assert_truth(shop, story)


async def _set_cart(shop: Shop, status: CartStatus) -> None:
    """What a person does in the database."""
    async with shop.engine.begin() as tx:
        await tx.execute(update(carts).values(status=status))
