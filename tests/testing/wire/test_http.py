"""Each fault on the wire of an HTTP client, with the reference connectors behind the real guard."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from activities.inventory.contract import Reservation, reserve
from activities.payments.contract import Authorization, authorize
from kit.contract import FailureKind, Outcome
from kit.ledger import State
from kit.testing.faults import FaultKind
from kit.testing.wire import WorkerLost
from kit.testing.wire.witness import EPOCH
from tests.testing.wire.bench import AUTHORIZE, RESERVE, bench
from tests.worker.world import Failure, clock

AUTHORIZED = "authorize:ORDER-1"
RESERVED = "reserve:ORDER-1:BOOK"


async def test_a_clean_request_takes_effect_once_and_says_what_can_go_wrong_with_it() -> None:
    """Without a fault the provider's own reply comes back, and the request is seen with its outcome and its kinds."""
    shop = await bench()

    got = await shop.act(authorize, AUTHORIZE)

    (seen,) = shop.wire.seen
    assert isinstance(got, Authorization)
    assert await shop.live() == ["payments.authorize"]
    assert (str(seen.point), seen.key, seen.attempt, seen.outcome) == (
        "payments.authorize#1", AUTHORIZED, 1, Outcome.DONE
    )  # fmt: skip
    assert seen.kinds == shop.wire.kinds(seen.point)
    assert FaultKind.TWICE in seen.kinds


async def test_a_refusal_is_for_good_under_its_key() -> None:
    """The provider does nothing, says no in its own words, and says so again to whoever asks again."""
    shop = await bench("payments.authorize#1:refused")

    first = await shop.act(authorize, AUTHORIZE)
    second = await shop.act(authorize, AUTHORIZE)

    assert (first.kind, first.outcome, first.permanent) == (FailureKind.DECLINED, Outcome.REFUSED, True)
    assert second.kind is FailureKind.DECLINED
    assert await shop.live() == []
    assert shop.calls() == 0
    assert [seen.outcome for seen in shop.wire.seen] == [Outcome.REFUSED] * 2


async def test_a_refusal_ends_when_people_repair() -> None:
    """Once everything is well, what was refused for good is done."""
    shop = await bench("payments.authorize#1:refused")
    await shop.act(authorize, AUTHORIZE)
    shop.wire.well = True

    got = await shop.act(authorize, AUTHORIZE)

    assert isinstance(got, Authorization)


async def test_an_outage_lasts_for_this_call_and_the_next() -> None:
    """Two calls find nobody, so nothing can have happened; the third is served."""
    shop = await bench("payments.authorize#1:outage")

    first, second, third = [await shop.act(authorize, AUTHORIZE) for _ in range(3)]

    assert [(f.kind, f.outcome) for f in (first, second)] == [(FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)] * 2
    assert isinstance(third, Authorization)
    assert shop.calls() == 1


async def test_a_rate_limit_asks_for_a_pause() -> None:
    """Too many requests: nothing is done, and the next attempt waits for as long as the provider asks."""
    shop = await bench("payments.authorize#1:rate_limited")

    first = await shop.act(authorize, AUTHORIZE)

    assert (first.kind, first.outcome) == (FailureKind.RATE_LIMITED, Outcome.NOT_STARTED)
    assert first.delay.total_seconds() >= 1
    assert shop.calls() == 0


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("reply_lost", FailureKind.UNAVAILABLE),
        ("server_error", FailureKind.UNAVAILABLE),
        ("final_error", FailureKind.BUG),
        ("too_slow", FailureKind.TIMEOUT),
    ],
)
async def test_an_effect_without_its_reply_is_an_unknown_outcome(kind: str, failure: FailureKind) -> None:
    """The provider does the work; the caller cannot know, and the next attempt under the key finds it done."""
    shop = await bench(f"payments.authorize#1:{kind}")

    first = await shop.act(authorize, AUTHORIZE)
    standing = await shop.live()
    second = await shop.act(authorize, AUTHORIZE)

    assert (first.kind, first.outcome) == (failure, Outcome.UNKNOWN)
    assert standing == ["payments.authorize"]
    assert isinstance(second, Authorization)
    assert await shop.live() == ["payments.authorize"]
    assert shop.wire.unreached() == ()


async def test_a_reply_that_is_too_slow_ends_the_attempt_at_its_cut_off() -> None:
    """The attempt is over at nine tenths of its time, on the virtual clock."""
    shop = await bench("payments.authorize#1:too_slow")

    await shop.act(authorize, AUTHORIZE)

    assert clock() == pytest.approx(9)


async def test_replies_are_lost_for_longer_than_any_cap_and_not_for_ever() -> None:
    """Twelve calls in a row lose their reply, which no retry rule outlasts; the thirteenth is answered."""
    shop = await bench("payments.authorize#1:replies_lost")

    for _ in range(14):
        await shop.act(authorize, AUTHORIZE)
        await asyncio.sleep(20)  # the circuit opens meanwhile, and is tried again

    lost = [seen for seen in shop.wire.seen if seen.fault is not None]
    assert (len(lost), len(shop.wire.seen)) == (12, 13)  # the fourteenth is answered from the ledger
    assert await shop.live() == ["payments.authorize"]


async def test_a_late_request_lands_after_the_next_call_under_its_key() -> None:
    """The warehouse knows no keys: a first look-up is too early to be believed, and a later one finds the effect."""
    shop = await bench("inventory.reserve#1:late_after_retry")

    first = await shop.act(reserve, RESERVE)
    before = await shop.live()
    second = await shop.act(reserve, RESERVE)
    after = await shop.live()
    third = await shop.drive(lambda: shop.act(reserve, RESERVE))

    assert (first.kind, before) == (FailureKind.TIMEOUT, [])
    assert (second.reason, after) == ("settling", ["inventory.reserve"])
    assert isinstance(third, Reservation)
    assert await shop.live() == ["inventory.reserve"]


async def test_a_late_request_lands_when_its_system_is_done_at_the_latest() -> None:
    """Nobody undoes: then it takes effect before the first request after the system's own time, and is found."""
    shop = await bench("inventory.reserve#1:late_after_undo")
    await shop.act(reserve, RESERVE)

    got = await shop.drive(lambda: shop.act(reserve, RESERVE))

    assert isinstance(got, Reservation)
    assert await shop.live() == ["inventory.reserve"]
    assert clock() >= 9 + 2


async def test_an_undo_waits_for_a_late_request() -> None:
    """The undo looks again once the system is done, finds what landed meanwhile, and takes it back."""
    shop = await bench("inventory.reserve#1:late_after_undo")
    await shop.act(reserve, RESERVE)

    happened = await shop.drive(lambda: shop.undo(reserve, RESERVE))
    await shop.wire.settle()

    assert happened is True
    assert await shop.live() == []


async def test_what_lands_late_is_known_to_have_landed_when_it_did() -> None:
    """The world notices only at its next request; its systems write down the instant until which it was on its way."""
    shop = await bench("inventory.reserve#1:late_after_undo")
    await shop.act(reserve, RESERVE)
    await asyncio.sleep(600)

    await shop.act(reserve, RESERVE)

    (landed,) = shop.world.app.exchange.journal.effects()
    assert landed.at == EPOCH + timedelta(seconds=9 + 2)
    assert shop.wire.time() == EPOCH + timedelta(seconds=clock())


async def test_what_is_late_lands_before_people_repair() -> None:
    """People come later than any late effect."""
    shop = await bench("inventory.reserve#1:late_after_undo")
    await shop.act(reserve, RESERVE)
    before = shop.wire.absorbed
    shop.wire.well = True

    await shop.act(reserve, RESERVE)

    assert (before, shop.wire.absorbed) == (False, True)
    assert await shop.live() == ["inventory.reserve"]


async def test_a_request_that_is_delivered_twice_takes_effect_once_under_its_key() -> None:
    """The provider gets it twice, knows the key, and answers the same."""
    shop = await bench("payments.authorize#1:twice")

    got = await shop.act(authorize, AUTHORIZE)

    assert isinstance(got, Authorization)
    assert shop.calls() == 2
    assert await shop.live() == ["payments.authorize"]


async def test_without_a_promise_of_the_provider_no_duplicate_is_offered() -> None:
    """A warehouse without keys cannot tell a duplicate, and nobody else can: it is an assumption that there is none."""
    shop = await bench()

    await shop.act(reserve, RESERVE)

    assert FaultKind.TWICE not in shop.wire.seen[0].kinds


async def test_an_undo_that_is_delivered_twice_is_done_once() -> None:
    """The second cancellation is answered by the state of the payment, which is what was wanted."""
    shop = await bench("payments.authorize.undo#1:twice")
    held = await shop.act(authorize, AUTHORIZE)

    happened = await shop.undo(authorize, AUTHORIZE, result=held)

    assert happened is True
    assert await shop.live() == []


async def test_a_hold_keeps_this_call_and_the_next_back() -> None:
    """Nothing leaves while the hold is on; then the call goes through."""
    shop = await bench("payments.authorize#1:held")

    first, second, third = [await shop.act(authorize, AUTHORIZE) for _ in range(3)]

    assert [(f.kind, f.outcome) for f in (first, second)] == [(FailureKind.HELD, Outcome.NOT_STARTED)] * 2
    assert isinstance(third, Authorization)


@pytest.mark.parametrize(("kind", "live"), [("crash_before", 0), ("crash_after", 1)])
async def test_a_worker_dies_and_writes_nothing_more(kind: str, live: int) -> None:
    """Before or after the effect: the row stays claimed, and the next attempt finds the truth out."""
    shop = await bench(f"inventory.reserve#1:{kind}")

    with pytest.raises(WorkerLost):
        await shop.act(reserve, RESERVE)

    assert len(await shop.live()) == live
    assert await shop.state(RESERVED) is State.CLAIMED
    assert shop.wire.lost
    await asyncio.sleep(11)
    assert isinstance(await shop.drive(lambda: shop.act(reserve, RESERVE)), Reservation)
    assert await shop.live() == ["inventory.reserve"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("cancel_during", "cancel"),
        ("terminated", "terminate"),
        ("started_again", "start_again"),
        ("handed_over", "hand_over"),
    ],
)
async def test_the_server_is_told_while_the_request_is_at_its_provider(kind: str, asked: str) -> None:
    """The effect stands when the server is told, and the reply comes after it."""
    shop = await bench(f"payments.authorize#1:{kind}")

    got = await shop.act(authorize, AUTHORIZE)

    assert (shop.hand.asked, shop.hand.live) == ([asked], 1)
    assert isinstance(got, Authorization)


async def test_a_cancellation_between_two_steps_strikes_before_the_attempt() -> None:
    """The engine asks before each attempt, is told once, and the fault counts as struck."""
    shop = await bench("payments.authorize#2:cancel_before")

    before_first = shop.wire.strikes_before("payments.authorize")
    await shop.act(authorize, AUTHORIZE)
    of_the_undo = shop.wire.strikes_before("payments.authorize.undo")
    before_second = shop.wire.strikes_before("payments.authorize")
    again = shop.wire.strikes_before("payments.authorize")

    assert (before_first, of_the_undo, again) == (None, None, None)
    assert before_second is not None
    assert shop.wire.unreached() == ()


async def test_a_look_up_of_several_requests_is_one_call() -> None:
    """Its requests are numbered, and what strikes the call is offered at the first alone."""
    shop = await bench("payments.authorize#1:server_error+payments.authorize.probe#1/2:outage")
    await shop.act(authorize, AUTHORIZE)
    _, connector = shop.served["payments.authorize"]
    undone = await shop.undo(authorize, AUTHORIZE)

    seen = [str(each.point) for each in shop.wire.seen]

    assert connector is not None
    assert undone is True or isinstance(undone, Failure)
    assert seen[:2] == ["payments.authorize#1", "payments.authorize.probe#1"]
    assert FaultKind.CANCEL_DURING in shop.wire.seen[1].kinds
    assert FaultKind.TWICE not in shop.wire.seen[1].kinds


async def test_requests_of_no_call_are_passed_on_unseen() -> None:
    """Setting a world up and reading its truth meets no fault and leaves no trace."""
    shop = await bench("payments.authorize#1:outage")
    client = shop.world.client("inventory")

    reply = await client.get("/stock/reservations", params={"reference": "nobody"})

    assert reply.status_code == 200
    assert shop.wire.seen == []
    assert shop.wire.unreached() == shop.wire.scenario.faults


async def test_the_same_scenario_tells_the_same_story() -> None:
    """Nothing depends on anything but the scenario."""
    stories = []
    for _ in range(2):
        shop = await bench("inventory.reserve#1:too_slow+inventory.reserve.probe#1:outage")
        began = clock()
        await shop.drive(partial(shop.act, reserve, RESERVE))
        stories.append([(round(line.at.total_seconds() - began, 3), line.lane, line.text) for line in shop.wire.story])

    assert stories[0] == stories[1]


async def test_equal_histories_of_a_wire_are_equal_states() -> None:
    """The state says what still lasts, and not how calls are numbered: by it a sweep knows that the rest is known."""
    quiet, struck = await bench(), await bench("payments.authorize#1:outage")
    fresh = struck.wire.absorbed

    await quiet.act(authorize, AUTHORIZE)
    await struck.act(authorize, AUTHORIZE)
    down = (struck.wire.state(), struck.wire.latent())
    await struck.act(authorize, AUTHORIZE)

    assert (fresh, struck.wire.absorbed) == (False, True)
    assert (quiet.wire.state(), quiet.wire.latent()) != down
    assert (quiet.wire.state(), quiet.wire.latent()) == (struck.wire.state(), struck.wire.latent())


async def test_fault_whose_call_is_over_is_missed() -> None:
    """It can never strike any more: nobody answered the call that it was meant for."""
    shop = await bench("payments.authorize#1:outage+payments.authorize#2:reply_lost+payments.capture#1:reply_lost")
    missed = []

    for _ in range(2):
        await shop.act(authorize, AUTHORIZE)
        missed.append(shop.wire.missed)

    assert missed == [False, True]


async def test_fault_that_waits_for_the_record_is_not_missed() -> None:
    """Its call is over, and it strikes when the result is written down."""
    shop = await bench("payments.authorize#1:reply_lost+payments.authorize#1:unrecorded")

    await shop.act(authorize, AUTHORIZE)

    assert shop.wire.unreached() != ()
    assert not shop.wire.missed


async def test_point_that_is_not_reached_offers_no_fault_that_would_not_strike() -> None:
    """While nobody answers, a request can be cancelled or held before it is made: nothing else would strike there."""
    shop = await bench("payments.authorize#1:outage")

    for _ in range(3):
        await shop.act(authorize, AUTHORIZE)

    offered = [seen.kinds for seen in shop.wire.seen]
    assert offered[:2] == [(FaultKind.HELD, FaultKind.CANCEL_BEFORE)] * 2
    assert len(offered[2]) > 2
