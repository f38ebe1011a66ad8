"""The worker dies, or the ledger fails, between every two adjacent touches of the outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from kit.contract import Outcome
from kit.errors import LedgerUnavailable
from tests.worker.world import (
    DECLINED,
    LATE,
    LOST,
    NEVER,
    NEVER_PROBE,
    OK,
    STRATEGIES,
    UNSENT,
    VANISHED,
    Crash,
    Failure,
    Fault,
    Receipt,
    Strategy,
    Tripwire,
    World,
)

VIRTUAL_TIME = True

TROUBLES: dict[str, Callable[[int], Tripwire]] = {
    "crash": lambda at: Tripwire(at, Crash(f"touch {at}")),
    "ledger down": lambda at: Tripwire(at, LedgerUnavailable(f"touch {at}"), ledger_only=True),
}
FAULTS = {"ok": OK, "lost": LOST, "vanished": VANISHED, "late": LATE, "declined": DECLINED, "unsent": UNSENT}

every = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
faulty = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
troubled = pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)


async def _each_touch(
    strategy: Strategy, fault: Fault, trouble: Callable[[int], Tripwire]
) -> AsyncIterator[tuple[World, Tripwire]]:
    """A fresh world for every touch at which something can go wrong, until there is no such touch."""
    for at in range(200):
        world = World(strategy)
        world.fault("charge", fault)
        tripwire = trouble(at)
        world.trip(tripwire)
        yield world, tripwire
        if not tripwire.reached:
            assert at > 3, "nothing was ever touched"
            return
    raise AssertionError("200 touches did not end it")


@every
@faulty
@troubled
async def test_action_ends_with_one_effect_or_a_true_refusal(
    strategy: Strategy, fault: Fault, trouble: Callable[[int], Tripwire]
) -> None:
    """Wherever it breaks off: one effect and its result, or none and a clean word, or a person is asked."""
    async for world, _ in _each_touch(strategy, fault, trouble):
        end = await world.drive(world.act)
        await asyncio.sleep(60)

        made = world.provider.made("o-1")
        if not isinstance(end, Failure):
            assert (end, made) == (Receipt(charge="ch_1"), 1)
        elif end.outcome is Outcome.REFUSED:
            assert made == 0
        else:
            assert made <= 1
            assert end.outcome is Outcome.UNKNOWN
            assert end.needs_person or fault is DECLINED


@every
@faulty
@troubled
async def test_undo_ends_with_no_effect(strategy: Strategy, fault: Fault, trouble: Callable[[int], Tripwire]) -> None:
    """Wherever action or undo break off: when the undo says done, nothing is live, then and later."""
    async for world, _ in _each_touch(strategy, fault, trouble):
        end = await world.drive(world.act)
        known = None if isinstance(end, Failure) else end

        undone = await world.drive(partial(world.undo, result=known))

        if isinstance(undone, Failure):
            assert undone.needs_person
            assert undone.outcome is Outcome.UNKNOWN
        else:
            assert world.provider.live("o-1") == 0
            assert undone == bool(world.provider.made("o-1"))
        await asyncio.sleep(60)
        assert isinstance(undone, Failure) or world.provider.live("o-1") == 0
        assert world.provider.made("o-1") <= 1


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s not in (NEVER, NEVER_PROBE)], ids=str)
@pytest.mark.parametrize("fault", [OK, LOST, LATE, UNSENT], ids=["ok", "lost", "late", "unsent"])
@troubled
async def test_one_mishap_needs_no_person(strategy: Strategy, fault: Fault, trouble: Callable[[int], Tripwire]) -> None:
    """Where a machine can know, one crash or one failure of the ledger on top of a lost reply parks nothing."""
    async for world, _ in _each_touch(strategy, fault, trouble):
        end = await world.drive(world.act)
        assert end == Receipt(charge="ch_1")

        assert await world.drive(partial(world.undo, result=end)) is True


@every
@troubled
async def test_undo_that_did_not_wait_leaves_nothing(strategy: Strategy, trouble: Callable[[int], Tripwire]) -> None:
    """An action that broke off once is undone without another attempt of it, wherever the undo breaks off."""
    async for world, _ in _each_touch(strategy, LATE, trouble):
        try:
            await world.fails(world.act())
        except Crash:
            await asyncio.sleep(10)

        undone = await world.drive(world.undo)
        await asyncio.sleep(60)

        assert world.provider.live("o-1") == 0 or isinstance(undone, Failure)
        assert not isinstance(undone, Failure) or undone.needs_person
