"""Each fault on the wire of the receipt, which no provider keeps to one."""

from __future__ import annotations

import pytest

from activities.email.contract import Sent, send_receipt
from kit.contract import FailureKind, Outcome
from kit.testing.faults import FaultKind
from kit.testing.sandbox import EffectKind
from tests.testing.wire.bench import SEND, bench
from tests.worker.world import clock


async def test_a_message_is_sent_once_and_stands_in_the_mailbox() -> None:
    """The connector's own bytes reach the sandbox's mailbox."""
    shop = await bench()

    got = await shop.act(send_receipt, SEND)

    (effect,) = shop.world.app.exchange.journal.effects()
    assert isinstance(got, Sent)
    assert (effect.kind, effect.object_id, effect.details["to"]) == (EffectKind.SENT, got.message_id, SEND.to)


async def test_nobody_promises_that_a_message_arrives_once() -> None:
    """So it is not delivered twice; and a server that takes a message says that it has."""
    shop = await bench()

    await shop.act(send_receipt, SEND)

    assert not {FaultKind.TWICE, FaultKind.SERVER_ERROR} & set(shop.wire.seen[0].kinds)


@pytest.mark.parametrize(
    ("kind", "failure", "outcome"),
    [
        ("outage", FailureKind.UNAVAILABLE, Outcome.NOT_STARTED),
        ("refused", FailureKind.INVALID, Outcome.REFUSED),
        ("rate_limited", FailureKind.UNAVAILABLE, Outcome.REFUSED),
    ],
)
async def test_a_message_that_is_not_taken_is_not_sent(kind: str, failure: FailureKind, outcome: Outcome) -> None:
    """No connection, 550, 451: each says that there is no effect."""
    shop = await bench(f"email.send_receipt#1:{kind}")

    failed = await shop.act(send_receipt, SEND)

    assert (failed.kind, failed.outcome) == (failure, outcome)
    assert await shop.live() == []


@pytest.mark.parametrize("kind", ["reply_lost", "too_slow", "final_error"])
async def test_a_message_whose_reply_is_lost_is_a_question_to_a_person(kind: str) -> None:
    """It was taken; only a look into the mailbox can tell, and finds it."""
    shop = await bench(f"email.send_receipt#1:{kind}")

    failed = await shop.act(send_receipt, SEND)

    assert (failed.outcome, failed.needs_person, failed.permanent) == (Outcome.UNKNOWN, True, True)
    assert await shop.live() == ["email.send_receipt"]


async def test_a_late_message_lands_within_the_time_its_world_names() -> None:
    """A minute after its attempt: not for the first request of another system, but for its own."""
    shop = await bench("email.send_receipt#1:late_after_undo")

    await shop.act(send_receipt, SEND)
    waiting = await shop.live()
    await shop.wire.settle()

    assert (waiting, await shop.live()) == ([], ["email.send_receipt"])
    assert clock() == pytest.approx(18)
