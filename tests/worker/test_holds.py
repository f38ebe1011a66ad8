"""What a worker knows of the holds, and what its guard does with it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from kit.contract import HELD_PAUSE, Effect, FailureKind, Hold, HoldScope, Outcome, RateLimit
from kit.errors import LedgerUnavailable
from kit.ledger import MemoryHolds, State
from kit.worker.guard import Guard
from kit.worker.holding import EVERY, STALE_AFTER, HoldWatch
from tests.worker.world import KEY, KEY_PROBE, LOST, PROBE, Fault, World, clock, dependency, now

VIRTUAL_TIME = True


class Holds(MemoryHolds):
    """A store that can be down, or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.hangs = False
        self.looks = 0

    async def active(self) -> list[Hold]:
        """See base class."""
        self.looks += 1
        if self.down:
            raise LedgerUnavailable("nobody listens")
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return await super().active()


class Held(World):
    """A world with a store of holds, and what its worker knows of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = Holds()
        self.watch = HoldWatch(self.store)
        self.guard = Guard(self.ledger, clock=clock, holds=self.watch)

    async def on(self, **terms: Any) -> None:
        """Switch a hold on the operation on."""
        since: datetime = terms.pop("since", now())
        await self.store.switch_on(
            Hold(
                **{
                    "scope": HoldScope.OPERATION,
                    "name": self.operation.name,
                    "reason": "double charges",
                    "who": "ada",
                    "since": since,
                    **terms,
                }
            )
        )

    async def off(self) -> None:
        """Switch it off."""
        await self.store.switch_off(HoldScope.OPERATION, self.operation.name, who="ada", reason="ok", at=now())


# -- the guard -----------------------------------------------------------------------------------------------------


async def test_held_attempt_touches_nothing_and_costs_no_cap() -> None:
    """No claim, no call; however often: it comes back after the pause, always the same, and goes on in the end."""
    world = Held(KEY)
    await world.on()
    await world.watch.look()
    errors: list[ApplicationError] = []
    for _ in range(50):
        with pytest.raises(ApplicationError) as caught:
            await world.act()
        errors.append(caught.value)
    await world.off()
    await world.watch.look()

    receipt = await world.act()

    assert {error.next_retry_delay for error in errors} == {HELD_PAUSE}
    assert {(error.type, error.non_retryable) for error in errors} == {("bank.held", False)}
    assert "there is a hold on operation 'bank.pay' (double charges; ada)" in str(errors[0])
    assert receipt.charge == "ch_1"
    assert [charge.live for charge in world.provider.charges] == [True]


async def test_held_attempt_has_started_nothing() -> None:
    """Its outcome is not_started while every attempt was held, and unknown when an earlier one may have done it."""
    world = Held(PROBE)
    await world.on()
    await world.watch.look()
    clean = [await world.fails(world.act()) for _ in range(3)]
    other = Held(PROBE)
    other.fault("charge", LOST)
    await other.watch.look()
    lost = await other.fails(other.act())
    await other.on()
    await other.watch.look()

    held = await other.fails(other.act())

    assert [failure.outcome for failure in clean] == [Outcome.NOT_STARTED] * 3
    assert (lost.outcome, held.outcome) == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    assert other.provider.calls["find"] == 0


async def test_attempt_says_how_long_it_was_held() -> None:
    """The saga gives that time back to its deadline."""
    world = Held(KEY)
    await world.on()
    await world.watch.look()
    for _ in range(4):
        with pytest.raises(ApplicationError) as caught:
            await world.act()

    assert caught.value.details[0]["held"] == 4 * HELD_PAUSE.total_seconds()


async def test_attempt_at_work_is_not_called_back() -> None:
    """A hold that is switched on between claim and reply lets the call end and its result be written down."""
    world = Held(KEY)
    await world.watch.look()
    world.fault("charge", Fault(wait=2))
    acting = asyncio.ensure_future(world.act())
    await asyncio.sleep(1)
    assert world.provider.at_work == 1
    await world.on()
    await world.watch.look()

    await acting

    assert await world.state() == State.DONE


async def test_attempt_that_waits_for_its_place_is_stopped_when_it_gets_it() -> None:
    """The rate limit keeps a claimed attempt waiting; a hold that came meanwhile stops it, and frees the key."""
    world = Held(KEY_PROBE, dependency=dependency(limit=RateLimit(calls=1, per=timedelta(seconds=3))))
    await world.watch.look()
    await world.act("o-0")
    waiting = asyncio.ensure_future(world.fails(world.act()))
    await asyncio.sleep(1)
    await world.on()
    await world.watch.look()

    failure = await waiting

    assert (failure.kind, failure.outcome) == (FailureKind.HELD, Outcome.NOT_STARTED)
    assert await world.state() == State.REFUSED
    assert world.provider.calls["charge"] == 1


async def test_undo_passes_even_when_nobody_knows() -> None:
    """What was done is taken back while a hold is on, and while the store is down."""
    world = Held(KEY)
    await world.watch.look()
    receipt = await world.act()
    await world.on()
    await world.watch.look()
    world.store.down = True
    await asyncio.sleep(60)

    assert await world.undo(result=receipt) is True
    assert [charge.live for charge in world.provider.charges] == [False]


# -- what is known -------------------------------------------------------------------------------------------------


async def test_hold_is_known_a_look_later_and_so_is_its_end() -> None:
    """A running worker learns of both within the time between two looks, and asks the store once for all attempts."""
    world = Held(KEY)
    async with world.watch.watching():
        await world.on()
        await asyncio.sleep(EVERY.total_seconds() + 0.01)
        held = await world.fails(world.act())
        looks = world.store.looks
        for _ in range(20):
            await world.fails(world.act())
        asked = world.store.looks - looks
        await world.off()
        await asyncio.sleep(EVERY.total_seconds() + 0.01)
        await world.act()

    assert held.kind is FailureKind.HELD
    assert asked == 0
    assert timedelta(seconds=5) >= EVERY + HELD_PAUSE


@pytest.mark.parametrize(
    ("effect", "goes_on"), [(Effect.READ, True), (Effect.REVERSIBLE, True), (Effect.COMPENSATABLE, False)]
)
async def test_store_that_is_down_leaves_the_last_word_and_then_the_declaration(effect: Effect, goes_on: bool) -> None:
    """For a while the last knowledge counts; then what leaves a trace waits and the rest goes on."""
    world = Held(KEY, effect=effect)
    async with world.watch.watching():
        world.store.down = True
        await asyncio.sleep(STALE_AFTER.total_seconds() / 2)
        await world.act("o-1")
        await asyncio.sleep(STALE_AFTER.total_seconds())
        if goes_on:
            await world.act("o-2")
        else:
            failure = await world.fails(world.act("o-2"))
            assert (failure.kind, failure.reason) == (FailureKind.HELD, "holds_unknown")
        world.store.down = False
        await asyncio.sleep(EVERY.total_seconds() + 0.01)
        await world.act("o-3")


async def test_known_hold_stays_on_while_the_store_is_down() -> None:
    """Also what would go on without knowing waits for the end of a hold that was seen."""
    world = Held(KEY, effect=Effect.REVERSIBLE)
    await world.on()
    async with world.watch.watching():
        world.store.down = True
        await asyncio.sleep(STALE_AFTER.total_seconds() * 3)

        failure = await world.fails(world.act())

    assert failure.reason == "held"


async def test_known_hold_ends_by_itself_while_the_store_is_down() -> None:
    """Its end was known with it; the server's clock decides, not the worker's."""
    world = Held(KEY, effect=Effect.REVERSIBLE)
    await world.on(until=now() + timedelta(minutes=1))
    async with world.watch.watching():
        world.store.down = True
        held = await world.fails(world.act())
        await asyncio.sleep(61)

        await world.act()

    assert held.reason == "held"


async def test_worker_that_starts_while_the_store_is_down_knows_nothing() -> None:
    """From its first attempt each operation does what it declares; the worker starts all the same."""
    world = Held(KEY)
    world.store.down = True
    async with world.watch.watching():
        failure = await world.fails(world.act())
        world.store.down = False
        await asyncio.sleep(EVERY.total_seconds() + 0.01)
        await world.act()

    assert failure.reason == "holds_unknown"


async def test_store_that_hangs_counts_as_down() -> None:
    """A look has an end, and the next one finds the store well."""
    world = Held(KEY)
    async with world.watch.watching():
        world.store.hangs = True
        await asyncio.sleep(STALE_AFTER.total_seconds() + 2)
        failure = await world.fails(world.act())
        world.store.hangs = False
        await asyncio.sleep(STALE_AFTER.total_seconds() + 2)
        await world.act()

    assert failure.reason == "holds_unknown"


async def test_bug_in_the_store_does_not_end_the_watch() -> None:
    """Whatever a look raises, the next one is made."""
    world = Held(KEY)

    async def broken() -> list[Hold]:
        raise KeyError("a column")

    async with world.watch.watching():
        world.store.active = broken  # type: ignore[method-assign] # for a while
        await asyncio.sleep(EVERY.total_seconds() * 3)
        del world.store.active
        await world.on()
        await asyncio.sleep(EVERY.total_seconds() + 0.01)

        failure = await world.fails(world.act())

    assert failure.reason == "held"


async def test_client_looks_for_itself_and_not_at_every_start() -> None:
    """Within the time between two looks the last one is fresh enough."""
    world = Held(KEY)

    for _ in range(5):
        await world.watch.fresh()
    first = world.store.looks
    await asyncio.sleep(EVERY.total_seconds() + 0.01)
    await world.watch.fresh()

    assert (first, world.store.looks) == (1, 2)
