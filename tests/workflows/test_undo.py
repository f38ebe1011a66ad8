"""The checkout's undo, when it meets trouble itself."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from kit.testing.sandbox import EffectKind, FaultKind, Operation
from kit.workflow import RECORD_ACTIVITY, RESIDUE, Choice, Status
from tests.workflows.shop import Shop, assert_truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

TURNED = [
    "inventory.reserve",
    "payments.authorize",
    "orders.create",
    "inventory.reserve.undo",
    "payments.authorize.undo",
]
VOID, RELEASE = "payments.authorize.undo", "inventory.reserve.undo"
ONCE = Counter({EffectKind.RESERVED: 1, EffectKind.AUTHORIZED: 1, EffectKind.RELEASED: 1, EffectKind.VOIDED: 1})


@pytest.mark.parametrize(
    ("operation", "fault", "retried"),
    [
        (Operation.CANCEL, FaultKind.DROP_REPLY, VOID),
        (Operation.CANCEL, FaultKind.ERROR_AFTER, VOID),
        (Operation.RELEASE, FaultKind.DROP_REPLY, RELEASE),
        (Operation.RELEASE, FaultKind.DROP_BEFORE, RELEASE),
        (Operation.RELEASE, FaultKind.ERROR_AFTER, RELEASE),
    ],
)
async def test_an_undo_that_fails_in_passing_is_repeated(
    shop: Shop, operation: Operation, fault: FaultKind, retried: str
) -> None:
    """An undo whose reply is lost, or that did not get through, is asked for again, and undoes once."""
    await shop.cart_is_taken()
    await shop.fault(operation, fault)

    story = await shop.checkout()

    assert story.activities == TURNED
    assert story.history.timers == 0
    assert set(story.attempts) == {retried}
    assert await shop.seen() == ONCE
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_an_undo_is_not_given_up(shop: Shop) -> None:
    """A warehouse that is down for longer than any action would be tried is waited for by the undo."""
    await shop.cart_is_taken()
    shop.network.times_out("DELETE /stock/reservations/res_sandbox_1", times=8)

    story = await shop.checkout()

    assert story.activities == TURNED
    assert story.attempts == {RELEASE: 9}
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_stock_that_somebody_released_is_released(shop: Shop) -> None:
    """A reservation that is gone when its undo comes is what the undo wanted."""

    async def by_hand() -> None:
        async with httpx.AsyncClient(transport=shop.network, base_url=shop.sandbox.url) as http:
            for reservation in list(shop.sandbox.app.stock.reservations):
                await http.delete(f"/stock/reservations/{reservation}")

    shop.network.after("/capture", by_hand)
    await shop.fault(Operation.CAPTURE, FaultKind.REFUSE)

    story = await shop.checkout()

    assert story.activities[-3:] == ["orders.create.undo", RELEASE, VOID]
    assert story.attempts == {}
    assert [call.status for call in await shop.calls(Operation.RELEASE)] == [204, 404]
    await assert_truth(shop, story)


async def test_a_void_that_is_refused_waits_for_a_person_to_retry(shop: Shop) -> None:
    """A refused void parks, the stock is released meanwhile, and a person's retry leaves nothing behind."""
    await shop.cart_is_taken()
    await shop.fault(Operation.CANCEL, FaultKind.REFUSE)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        await run.decide(task, Choice.RETRY)
        story = await run.story()

    assert (task.operation, task.undo, task.owner) == ("payments.authorize", True, "payments-team")
    assert task.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    assert story.activities == [*TURNED, VOID]
    assert await shop.seen() == ONCE
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_a_void_done_by_hand_is_recorded(shop: Shop) -> None:
    """A person who voided the payment at the provider says so, and the ledger knows."""
    await shop.cart_is_taken()
    await shop.fault(Operation.CANCEL, FaultKind.REFUSE)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        task = await run.parked()
        await _void_by_hand(shop)
        await run.decide(task, Choice.SUPPLY)
        story = await run.story()

    assert story.activities == [*TURNED, RECORD_ACTIVITY]
    assert await shop.seen() == ONCE
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_a_payment_left_in_place_is_called_residue(shop: Shop) -> None:
    """A run whose effect a person left in place never claims to be compensated."""
    await shop.cart_is_taken()
    await shop.fault(Operation.CANCEL, FaultKind.REFUSE)

    async with shop.worker() as worker:
        run = await shop.start(worker)
        await run.decide(await run.parked(), Choice.SKIP)
        story = await run.story()

    assert story.activities == [*TURNED, RECORD_ACTIVITY]
    assert story.summary.status is Status.RESIDUE
    assert isinstance(story.error, ApplicationError)
    assert story.error.type == RESIDUE
    assert story.summary.residue == ["authorize:ORDER-1"]
    assert [effect.kind for effect in await shop.effects() if effect.live] == [EffectKind.AUTHORIZED]


async def _void_by_hand(shop: Shop) -> None:
    """What a person does in the provider's dashboard."""
    (intent,) = shop.sandbox.app.payments.intents
    async with httpx.AsyncClient(base_url=shop.sandbox.url, transport=shop.network) as http:
        headers = {"Authorization": "Bearer sk_test_sandbox"}
        reply = await http.post(f"/v1/payment_intents/{intent}/cancel", headers=headers)
        assert reply.is_success
