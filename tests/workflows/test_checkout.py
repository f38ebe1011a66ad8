"""The checkout, through success and the partial failures that the demo shows."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from activities.orders.contract import CartStatus
from kit.testing.sandbox import CallNote, EffectKind, FaultKind, Operation
from kit.workflow import Status
from tests.workflows.shop import AMOUNT, COMPLETE, ORDER, SKU, SUCCESS, Shop, assert_truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SIBLINGS = ["inventory.reserve", "payments.authorize"]
SIBLINGS_UNDONE = ["inventory.reserve.undo", "payments.authorize.undo"]


async def test_a_checkout_completes(shop: Shop) -> None:
    """An order without trouble schedules its seven operations once each and nothing else."""
    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert story.attempts == {}
    assert story.placed is not None
    assert (story.placed.order_id, story.placed.status) == (ORDER, CartStatus.COMPLETED)
    assert [(e.kind, e.amount) for e in await shop.effects() if e.kind is EffectKind.CAPTURED] == [
        (EffectKind.CAPTURED, AMOUNT)
    ]
    await assert_truth(shop, story)


async def test_a_declined_card_releases_the_stock(shop: Shop) -> None:
    """A declined card is a clean refusal: nothing to void, and what was reserved beside it is released."""
    story = await shop.checkout(payment_method="pm_card_chargeDeclined")

    assert story.activities == [*SIBLINGS, "inventory.reserve.undo"]
    assert story.history.timers == 0
    assert story.attempts == {}
    assert story.summary.reason_code == "generic_decline"
    assert EffectKind.AUTHORIZED not in await shop.seen()
    await assert_truth(shop, story)


async def test_too_little_stock_voids_the_payment(shop: Shop) -> None:
    """When too few pieces are left, what was authorized beside the reservation is voided."""
    await shop.sandbox.control.set_stock(SKU, units=1)

    story = await shop.checkout()

    assert story.activities == [*SIBLINGS, "payments.authorize.undo"]
    assert story.history.timers == 0
    assert story.summary.reason_code == "out_of_stock"
    assert EffectKind.RESERVED not in await shop.seen()
    await assert_truth(shop, story)


async def test_a_cart_that_another_order_took_undoes_everything(shop: Shop) -> None:
    """An impossible transition is a clear error: the payment is voided, the stock released, the cart left alone."""
    await shop.cart_is_taken()

    story = await shop.checkout()

    assert story.activities == [*SIBLINGS, "orders.create", *SIBLINGS_UNDONE]
    assert story.history.timers == 0
    assert story.attempts == {}
    assert "cart cannot go from 'checked_out' to 'checked_out'" in str(story.error)
    assert story.summary.compensation_count == 2
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_a_refused_capture_opens_the_cart_again(shop: Shop) -> None:
    """When the money cannot be taken, order, stock and authorization go, and the cart is as it was."""
    await shop.fault(Operation.CAPTURE, FaultKind.REFUSE)

    story = await shop.checkout()

    assert story.activities == [
        *SIBLINGS,
        "orders.create",
        "payments.capture",
        "orders.create.undo",
        *SIBLINGS_UNDONE,
    ]
    assert story.history.timers == 0
    assert story.attempts == {}
    assert story.summary.reason_code == "charge_expired_for_capture"
    assert EffectKind.CAPTURED not in await shop.seen()
    await assert_truth(shop, story, cart=CartStatus.OPEN)


async def test_a_lost_reply_of_the_capture_charges_once(shop: Shop) -> None:
    """The capture is asked for again under its key: the provider answers as before, and the order completes."""
    await shop.fault(Operation.CAPTURE, FaultKind.DROP_REPLY)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {"payments.capture": 2}
    assert [call.note for call in await shop.calls(Operation.CAPTURE)] == [None, CallNote.REPLAYED]
    await assert_truth(shop, story)


async def test_a_rate_limit_is_waited_out(shop: Shop) -> None:
    """A provider that asks for patience in Retry-After is not asked again before."""
    await shop.fault(Operation.AUTHORIZE, FaultKind.RATE_LIMIT, retry_after=30, times=2)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert story.attempts == {"payments.authorize": 3}
    assert story.took("payments.authorize") >= timedelta(seconds=60)
    await assert_truth(shop, story)


async def test_fulfilment_that_is_down_is_waited_for(shop: Shop) -> None:
    """The order stands whatever becomes of the partner: the shipment is requested when he is back."""
    await shop.fault(Operation.DELIVER, FaultKind.UNAVAILABLE, times=6)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert story.attempts == {"fulfilment.request_shipment": 7}
    await assert_truth(shop, story)


async def test_only_the_email_is_retried(shop: Shop) -> None:
    """A mail server that says "later" costs nobody else a call."""
    await shop.fault(Operation.SEND, FaultKind.UNAVAILABLE, times=3)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {"email.send_receipt": 4}
    assert Counter(call.operation for call in await shop.calls()) == {
        Operation.RESERVE: 1,
        Operation.AUTHORIZE: 1,
        Operation.CAPTURE: 1,
        Operation.DELIVER: 1,
        Operation.SEND: 4,
    }
    await assert_truth(shop, story)


async def test_cancelled_while_authorizing(shop: Shop) -> None:
    """A cancellation in the middle of the authorization waits for its outcome and then undoes it."""
    await shop.fault(Operation.AUTHORIZE, FaultKind.DELAY, seconds=1)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        await shop.provider_is_slow()
        await run.handle.cancel()
        await run.until(lambda told: told.HasField("activity_task_cancel_requested_event_attributes"))
        shop.go_on.set()
        story = await run.story()

    assert story.activities == [*SIBLINGS, *SIBLINGS_UNDONE]
    assert story.history.timers == 0
    assert story.attempts == {}
    # Both siblings are settled before the first undo is scheduled.
    kinds = story.history.kinds
    first_undo = [at for at, kind in enumerate(kinds) if kind == "ACTIVITY_TASK_SCHEDULED"][2]
    assert kinds[:first_undo].count("ACTIVITY_TASK_COMPLETED") == 2
    assert story.summary.status is Status.CANCELLED
    assert await shop.seen() == Counter(
        {EffectKind.RESERVED: 1, EffectKind.AUTHORIZED: 1, EffectKind.RELEASED: 1, EffectKind.VOIDED: 1}
    )
    await assert_truth(shop, story)


async def test_cancelled_after_the_pivot_comes_too_late(shop: Shop) -> None:
    """Once the money is taken a cancellation changes nothing: the order completes."""
    async with shop.worker() as worker:
        run = await shop.start(worker, id=f"too-late-{shop.folder.name}")
        shop.network.after("/webhooks/fulfilment", run.handle.cancel)
        story = await run.story()

    assert story.activities == SUCCESS
    assert story.attempts == {}
    assert Counter(e.kind for e in await shop.effects() if e.live) == COMPLETE
    await assert_truth(shop, story)
