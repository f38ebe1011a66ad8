"""The seams of ledger and worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.inventory.contract import Reservation, reserve
from activities.payments.contract import Authorization, authorize
from kit.contract import Outcome
from kit.ledger import State
from kit.testing.faults import FaultKind
from kit.testing.wire import Wire
from tests.testing.wire.bench import AUTHORIZE, RESERVE, Bench, bench
from tests.worker.world import Failure, clock

AUTHORIZED = "authorize:ORDER-1"
RESERVED = "reserve:ORDER-1:BOOK"


class _Activity(ActivityInboundInterceptor):
    """What the worker would run."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await self._work()


def attempt(wire: Wire, work: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
    """One attempt of an activity on a worker of the scenario."""
    outermost = wire.interceptor().intercept_activity(_Activity(work))
    asked = ExecuteActivityInput(fn=work, args=[], executor=None, headers={})
    return asyncio.ensure_future(outermost.execute_activity(asked))


async def authorized(shop: Bench) -> Any:
    """An attempt, as Temporal sees its end."""
    ended = await shop.act(authorize, AUTHORIZE)
    if isinstance(ended, Failure):
        raise ended.error
    return ended


# -- ledger ------------------------------------------------------------------------------------------------------------


async def test_a_result_that_cannot_be_recorded_is_returned_all_the_same() -> None:
    """The ledger is away while the attempt lasts; its row stays claimed, and the next attempt can write."""
    shop = await bench("payments.authorize#1:unrecorded")

    got = await shop.act(authorize, AUTHORIZE)
    left = await shop.state(AUTHORIZED)
    await asyncio.sleep(2)
    again = await shop.act(authorize, AUTHORIZE)

    assert isinstance(got, Authorization)
    assert left is State.CLAIMED
    assert isinstance(again, Authorization)
    assert await shop.state(AUTHORIZED) is State.DONE


async def test_an_undo_that_cannot_be_recorded_stays_open() -> None:
    """The effect is gone, the row says that its undo has begun."""
    shop = await bench("payments.authorize.undo#1:unrecorded")
    held = await shop.act(authorize, AUTHORIZE)

    happened = await shop.undo(authorize, AUTHORIZE, result=held)

    assert (happened, await shop.live()) == (True, [])
    assert await shop.state(AUTHORIZED) is State.UNDOING


async def test_a_frozen_worker_wakes_up_behind_the_fence() -> None:
    """It writes when its lease is over and another attempt has found the effect: its own write changes nothing."""
    shop = await bench("inventory.reserve#1:stalled")
    frozen = asyncio.ensure_future(shop.act(reserve, RESERVE))
    await asyncio.sleep(11.1)

    second = await shop.drive(lambda: shop.act(reserve, RESERVE))
    standing = await shop.world.ledger.get(RESERVED)
    first = await frozen

    assert isinstance(second, Reservation)
    assert first == second
    assert await shop.world.ledger.get(RESERVED) == standing
    assert clock() == pytest.approx(12, abs=0.5)


async def test_a_frozen_worker_undoes_what_it_did_after_the_undo() -> None:
    """A payment that was repeated under its key and voided meanwhile: nothing is left when it has woken up."""
    shop = await bench("payments.authorize#1:stalled")
    frozen = asyncio.ensure_future(shop.act(authorize, AUTHORIZE))
    await asyncio.sleep(11.1)

    await shop.drive(lambda: shop.undo(authorize, AUTHORIZE))
    late = await frozen

    assert isinstance(late, Failure)
    assert await shop.live() == []
    assert shop.told(FaultKind.STALLED)


async def test_the_ledger_tells_the_story_of_each_row() -> None:
    """In words, under the key."""
    shop = await bench()

    await shop.act(authorize, AUTHORIZE)

    told = [line.text for line in shop.wire.story if line.lane == "ledger"]
    assert told == [
        "authorize:ORDER-1: asked to claim the action: go ahead",
        "authorize:ORDER-1: asked to record the result: it is done",
    ]


# -- worker ------------------------------------------------------------------------------------------------------------


async def test_a_dead_worker_is_silent() -> None:
    """Temporal hears nothing of the attempt, until its own timeout ends it."""
    shop = await bench("payments.authorize#1:crash_after")
    running = attempt(shop.wire, lambda: authorized(shop))

    await asyncio.sleep(3600)

    assert not running.done()
    running.cancel()


async def test_a_worker_dies_after_the_record() -> None:
    """The row is done, Temporal hears nothing, and the next attempt answers from the row."""
    shop = await bench("payments.authorize#1:crash_recorded")
    running = attempt(shop.wire, lambda: authorized(shop))
    await asyncio.sleep(3600)

    again = await attempt(shop.wire, lambda: authorized(shop))

    assert not running.done()
    assert await shop.state(AUTHORIZED) is State.DONE
    assert isinstance(again, Authorization)
    assert shop.calls() == 1
    running.cancel()


async def test_a_worker_dies_after_a_failure_is_recorded() -> None:
    """Temporal does not hear of the refusal either."""
    shop = await bench("payments.authorize#1:refused+payments.authorize#1:crash_recorded")
    running = attempt(shop.wire, lambda: authorized(shop))

    await asyncio.sleep(3600)

    assert not running.done()
    assert await shop.state(AUTHORIZED) is State.REFUSED
    running.cancel()


async def test_a_cancellation_comes_with_the_result() -> None:
    """The engine is asked when the result is there, just before it is handed over."""
    shop = await bench("payments.authorize#1:cancel_with_result")

    got = await attempt(shop.wire, lambda: authorized(shop))

    assert isinstance(got, Authorization)
    assert shop.hand.asked == ["cancel_with_result"]
    assert shop.wire.unreached() == ()


async def test_an_attempt_that_fails_brings_no_cancellation_with_its_result() -> None:
    """There is no result; the fault counts as not reached."""
    shop = await bench("payments.authorize#1:reply_lost+payments.authorize#1:cancel_with_result")

    with pytest.raises(ApplicationError):
        await attempt(shop.wire, lambda: authorized(shop))

    assert shop.hand.asked == []
    assert [fault.kind for fault in shop.wire.unreached()] == [FaultKind.CANCEL_WITH_RESULT]
    assert shop.wire.seen[0].outcome is not Outcome.REFUSED
