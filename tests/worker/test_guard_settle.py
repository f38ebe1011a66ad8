"""Finding out whether an action happened that cannot be undone: every row of the table in `kit.worker.settling`."""

from __future__ import annotations

from typing import Any

import pytest

from kit.contract import Effect, FailureKind, Outcome, UndoRequest
from kit.ledger import Complete, State, Undone
from tests.worker.world import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DECLINED,
    KEY,
    KEY_PROBE,
    LOST,
    PROBE,
    STRATEGIES,
    UNSENT,
    VANISHED,
    Crash,
    Pay,
    Receipt,
    Strategy,
    World,
    lease_over,
    settled,
)

VIRTUAL_TIME = True

every = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
probing = pytest.mark.parametrize("strategy", [KEY_PROBE, PROBE], ids=str)


def final(strategy: Strategy) -> World:
    """A bank whose payments cannot be taken back."""
    return World(strategy, effect=Effect.IRREVERSIBLE)


async def find_out(world: World, *, amount: int = 100) -> tuple[bool, Any]:
    """Make an attempt to find out."""
    ask = UndoRequest[Pay, Receipt](request=Pay(order_id="o-1", amount=amount), outcome=Outcome.UNKNOWN, keeps=True)
    attempt = world.attempt("o-1", "undo")
    return await world.guard.settle(world.connector, world.operation, ask, world.token(), attempt)


@every
async def test_what_was_never_asked_for_never_will_be(strategy: Strategy) -> None:
    """Without a row nothing has happened: a tombstone closes the key, and a late attempt is refused."""
    world = final(strategy)

    assert await find_out(world) == (False, None)

    assert await world.state() == State.VOID
    late = await world.fails(world.act())
    assert (late.kind, late.outcome) == (FailureKind.CONFLICT, Outcome.REFUSED)
    assert world.provider.calls == {}


@every
async def test_what_was_refused_never_will_be(strategy: Strategy) -> None:
    """A refused action is closed for good."""
    world = final(strategy).fault("charge", DECLINED)
    await world.fails(world.act())

    assert await find_out(world) == (False, None)
    assert await world.state() == State.VOID


@every
async def test_what_is_done_stays(strategy: Strategy) -> None:
    """A recorded result is told, and the effect is left as it is."""
    world = final(strategy)
    receipt = await world.act()

    assert await find_out(world) == (True, receipt)
    assert await world.state() == State.DONE
    assert world.provider.live("o-1") == 1


@probing
async def test_what_is_found_is_recorded_and_stays(strategy: Strategy) -> None:
    """An effect whose reply was lost is looked up and recorded: nothing is repeated, nothing is undone."""
    world = final(strategy).fault("charge", LOST)
    await world.fails(world.act())

    happened, receipt = await find_out(world)

    assert (happened, receipt.charge) == (True, (await world.act()).charge)
    assert await world.state() == State.DONE
    assert world.provider.calls["charge"] == 1


@probing
@pytest.mark.parametrize("crash", [CRASH_BEFORE, CRASH_AFTER], ids=["before", "after"])
async def test_attempt_that_died_is_waited_for_and_looked_up(strategy: Strategy, crash: Any) -> None:
    """While the lease lives it is waited for; then the truth counts."""
    world = final(strategy).fault("charge", crash)
    with pytest.raises(Crash):
        await world.act()
    waiting = await world.fails(find_out(world))
    await lease_over()
    await settled()

    happened, _ = await find_out(world)

    assert (waiting.reason, waiting.permanent) == ("lease_live", False)
    assert happened is (crash is CRASH_AFTER)
    assert await world.state() == (State.DONE if happened else State.VOID)


@probing
async def test_nothing_found_is_believed_after_the_settle_time(strategy: Strategy) -> None:
    """A look-up that finds nothing too early waits; after the settle time the key is closed."""
    world = final(strategy).fault("charge", VANISHED)
    await world.fails(world.act())

    early = await world.fails(find_out(world))
    await settled()

    assert (early.reason, early.permanent) == ("settling", False)
    assert await find_out(world) == (False, None)
    assert await world.state() == State.VOID


async def test_without_a_look_up_a_person_must_say() -> None:
    """What no machine can find out is not repeated, and goes to a person."""
    world = final(KEY).fault("charge", LOST)
    await world.fails(world.act())

    failure = await world.fails(find_out(world))

    assert (failure.reason, failure.needs_person, failure.outcome) == ("unknowable", True, Outcome.UNKNOWN)
    assert world.provider.calls["charge"] == 1
    assert await world.state() == State.UNKNOWN


async def test_look_up_that_fails_leaves_it_open() -> None:
    """An outage of the look-up is waited for, and nothing is closed meanwhile."""
    world = final(PROBE).fault("charge", LOST).fault("find", UNSENT)
    await world.fails(world.act())

    failure = await world.fails(find_out(world))

    assert (failure.outcome, failure.permanent) == (Outcome.UNKNOWN, False)
    assert await world.state() == State.UNKNOWN


async def test_without_a_tombstone_it_is_not_over() -> None:
    """That nothing happened is said only once a late attempt can no longer have the effect."""
    world = final(PROBE)
    world.ledger.fail(Undone, RuntimeError("the disk is on fire"))

    failure = await world.fails(find_out(world))

    assert (failure.reason, failure.permanent) == ("unrecorded", False)


async def test_what_was_found_is_told_without_its_record() -> None:
    """An effect that happened is never denied for a ledger that cannot write it down."""
    world = final(PROBE).fault("charge", LOST)
    await world.fails(world.act())
    world.ledger.fail(Complete, RuntimeError("the disk is on fire"))

    happened, _ = await find_out(world)

    assert happened


async def test_key_of_another_request_goes_to_a_person() -> None:
    """What stands under the key for other arguments is not this step's."""
    world = final(PROBE)
    await world.act(amount=100)

    failure = await world.fails(find_out(world, amount=200))

    assert (failure.kind, failure.needs_person) == (FailureKind.KEY_REUSED, True)


async def test_second_look_says_the_same() -> None:
    """What was found never to happen is not asked for again."""
    world = final(PROBE)

    assert [await find_out(world), await find_out(world)] == [(False, None), (False, None)]
