"""The checkout when a reply, a record or a database is lost after the effect has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from kit.errors import LedgerError, LedgerUnavailable
from kit.ledger import Command, Complete
from kit.testing.sandbox import EffectKind, FaultKind, Operation
from tests.workflows.network import ALWAYS
from tests.workflows.shop import ORDER, SUCCESS, Shop, assert_truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

SIBLINGS = ["inventory.reserve", "payments.authorize"]
SIBLINGS_UNDONE = ["inventory.reserve.undo", "payments.authorize.undo"]
AUTHORIZE = "POST /v1/payment_intents"


async def test_a_reservation_whose_reply_was_lost_is_found(shop: Shop) -> None:
    """The warehouse knows no keys: the lost reservation is looked up and not made again."""
    await shop.fault(Operation.RESERVE, FaultKind.DROP_REPLY)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {"inventory.reserve": 2}
    assert len(await shop.calls(Operation.RESERVE)) == len(await shop.calls(Operation.LOOKUP)) == 1
    await assert_truth(shop, story)


async def test_a_reservation_that_never_arrived_is_made_after_the_settle_time(shop: Shop) -> None:
    """A look-up that finds nothing is believed only when the request can no longer take effect."""
    await shop.fault(Operation.RESERVE, FaultKind.DROP_BEFORE)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {"inventory.reserve": 3}
    assert story.took("inventory.reserve").total_seconds() >= 2
    assert len(await shop.calls(Operation.RESERVE)) == 2
    await assert_truth(shop, story)


@pytest.mark.parametrize(
    ("call", "activity"),
    [
        ("POST /stock/reservations", "inventory.reserve"),
        (AUTHORIZE, "payments.authorize"),
        ("/webhooks/fulfilment", "fulfilment.request_shipment"),
    ],
)
async def test_a_timeout_after_the_effect_is_no_second_effect(shop: Shop, call: str, activity: str) -> None:
    """An operation that took effect and whose reply took too long is carried out once."""
    shop.network.times_out(call)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert story.attempts == {activity: 2}
    await assert_truth(shop, story)


@pytest.mark.parametrize("operation", [Operation.AUTHORIZE, Operation.CAPTURE])
async def test_a_breakdown_after_the_effect_is_no_second_effect(shop: Shop, operation: Operation) -> None:
    """A provider that repeats its stored 500 for ever is not asked for ever: the effect is looked up."""
    await shop.fault(operation, FaultKind.ERROR_AFTER)

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {f"payments.{operation}": 2}
    await assert_truth(shop, story)


async def test_an_authorization_whose_replies_are_all_lost_is_voided(shop: Shop) -> None:
    """When no reply of the authorization ever comes, the undo finds it and nothing is left."""
    shop.network.times_out(AUTHORIZE, times=ALWAYS)

    story = await shop.checkout()

    assert story.activities == [*SIBLINGS, *SIBLINGS_UNDONE]
    assert story.attempts == {"payments.authorize": 5}
    assert story.summary.reason_code == "timeout"
    assert (await shop.seen())[EffectKind.VOIDED] == 1
    await assert_truth(shop, story)


async def test_a_capture_whose_replies_are_all_lost_is_refunded(shop: Shop) -> None:
    """A capture that is never confirmed is found by its undo, and the customer has the money back."""
    shop.network.times_out("/capture", times=ALWAYS)

    story = await shop.checkout()

    assert story.activities == [
        *SIBLINGS,
        "orders.create",
        "payments.capture",
        "payments.capture.undo",
        "orders.create.undo",
        *SIBLINGS_UNDONE,
    ]
    assert story.attempts == {"payments.capture": 5}
    seen = await shop.seen()
    assert (seen[EffectKind.CAPTURED], seen[EffectKind.REFUNDED], seen[EffectKind.VOIDED]) == (1, 1, 0)
    await assert_truth(shop, story)


async def test_a_result_that_cannot_be_recorded_is_used_all_the_same(shop: Shop) -> None:
    """An effect that happened is never reported as a failure because the ledger cannot be written."""
    shop.ledger.trouble = _unwritable(f"authorize:{ORDER}")

    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {}
    await assert_truth(shop, story, loose=f"authorize:{ORDER}")


async def test_an_effect_that_was_not_recorded_is_undone(shop: Shop) -> None:
    """What the ledger could not be told, the history knows: when the claim's lease is over it is undone."""
    shop.ledger.trouble = _unwritable(f"authorize:{ORDER}")
    await shop.cart_is_taken()

    story = await shop.checkout()

    assert story.activities == [*SIBLINGS, "orders.create", *SIBLINGS_UNDONE]
    assert story.attempts == {"payments.authorize.undo": 2}
    assert (await shop.seen())[EffectKind.VOIDED] == 1
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_a_ledger_that_is_away_lets_nothing_happen(shop: Shop) -> None:
    """Without the ledger's word no effect is begun: the providers are not even asked."""
    asked: list[str] = []

    def away(command: Command) -> LedgerError | None:
        asked.append(command.key)
        return LedgerUnavailable("the disk is gone") if len(asked) <= 6 else None

    shop.ledger.trouble = away
    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert sum(attempts - 1 for attempts in story.attempts.values()) == 6
    assert set(story.attempts) == set(SIBLINGS)
    assert len(await shop.calls(Operation.RESERVE)) == len(await shop.calls(Operation.AUTHORIZE)) == 1
    await assert_truth(shop, story)


async def test_orders_that_come_back_are_waited_for(shop: Shop) -> None:
    """A database that is down for a while after the payment is authorized costs attempts and nothing else."""

    async def down() -> None:
        await shop.database_down(refusals=3)

    shop.network.after(AUTHORIZE, down)
    story = await shop.checkout()

    assert story.activities == SUCCESS
    assert story.attempts == {"orders.create": 4}
    await assert_truth(shop, story)


async def test_orders_that_stay_away_undo_the_payment(shop: Shop) -> None:
    """When the order cannot be written for good, the outside is undone, and the order's own undo waits for it."""

    async def down() -> None:
        await shop.database_down(refusals=12)

    shop.network.after(AUTHORIZE, down)
    story = await shop.checkout()

    assert story.activities == [*SIBLINGS, "orders.create", "orders.create.undo", *SIBLINGS_UNDONE]
    assert story.attempts == {"orders.create": 10, "orders.create.undo": 3}
    assert story.summary.reason_code == "ledger_unavailable"
    assert await shop.seen() == Counter(
        {EffectKind.RESERVED: 1, EffectKind.AUTHORIZED: 1, EffectKind.RELEASED: 1, EffectKind.VOIDED: 1}
    )
    await assert_truth(shop, story)


def _unwritable(key: str) -> Callable[[Command], LedgerError | None]:
    def trouble(command: Command) -> LedgerError | None:
        broken = isinstance(command, Complete) and command.key == key
        return LedgerError("the row cannot be stored") if broken else None

    return trouble
