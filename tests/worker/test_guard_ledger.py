"""The ledger fails, or another attempt has taken the row: never a failure for an effect that happened."""

from __future__ import annotations

import asyncio

import pytest

from kit.contract import FailureKind, Outcome
from kit.errors import LedgerError
from kit.ledger import (
    ClaimAction,
    ClaimUndo,
    Command,
    Complete,
    Doubt,
    MemoryLedger,
    Release,
    State,
    Undone,
)
from tests.worker.world import (
    DECLINED,
    KEY,
    KEY_PROBE,
    LOST,
    NEVER,
    PROBE,
    STRATEGIES,
    TIMEOUT,
    UNSENT,
    Fault,
    Receipt,
    Strategy,
    World,
    clock,
    lease_over,
)

VIRTUAL_TIME = True

every = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)


# --- the claim --------------------------------------------------------------------------------------------------------


@every
async def test_nothing_is_done_without_the_ledger(strategy: Strategy) -> None:
    """An action that cannot be claimed is not carried out, and nothing was started."""
    world = World(strategy)
    world.ledger.fail(ClaimAction)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)
    assert (failure.reason, failure.permanent) == ("ledger_unavailable", False)
    assert world.provider.calls == {}


async def test_later_attempt_without_the_ledger_knows_nothing() -> None:
    """When an earlier attempt has been made, one that cannot claim says nothing about what is left behind."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    world.ledger.fail(ClaimAction)

    assert (await world.fails(world.act())).outcome is Outcome.UNKNOWN


@every
async def test_claim_whose_reply_was_lost_is_waited_for(strategy: Strategy) -> None:
    """A claim that was written and not confirmed holds the row until its lease ends; nothing was sent under it."""
    world = World(strategy)
    world.ledger.lose_reply(ClaimAction)
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert failure.reason == "lease_live"
    assert world.provider.calls == {}


@every
async def test_undo_without_the_ledger_is_tried_again(strategy: Strategy) -> None:
    """An undo that cannot be claimed leaves its outcome unknown and comes back without end."""
    world = World(strategy)
    receipt = await world.act()
    world.ledger.fail(ClaimUndo, times=30)

    failures = [await world.fails(world.undo(result=receipt)) for _ in range(30)]

    assert {(failure.outcome, failure.permanent) for failure in failures} == {(Outcome.UNKNOWN, False)}
    assert await world.undo(result=receipt) is True


# --- the record -------------------------------------------------------------------------------------------------------


@every
async def test_record_is_repeated_within_the_lease(strategy: Strategy) -> None:
    """A ledger that comes back in time gets the result."""
    world = World(strategy)
    world.ledger.fail(Complete, times=5)

    assert await world.act() == Receipt(charge="ch_1")
    assert await world.state() == State.DONE


@every
async def test_record_whose_reply_was_lost_is_answered_the_same(strategy: Strategy) -> None:
    """Writing the result twice is writing it once."""
    world = World(strategy)
    world.ledger.lose_reply(Complete)

    assert await world.act() == Receipt(charge="ch_1")
    assert await world.state() == State.DONE


@every
async def test_result_that_cannot_be_recorded_goes_to_temporal(strategy: Strategy) -> None:
    """When the ledger stays away for the whole attempt the result is returned in time, and the row left in doubt."""
    world = World(strategy)
    world.ledger.fail(Complete, times=1000)
    began = clock()

    assert await world.act() == Receipt(charge="ch_1")

    assert clock() - began <= TIMEOUT.total_seconds()
    assert await world.state() == State.CLAIMED


@every
@pytest.mark.parametrize("error", [LedgerError("the row cannot be stored"), RuntimeError("bug")], ids=["kit", "bug"])
async def test_whatever_is_wrong_with_the_ledger_does_not_deny_an_effect(strategy: Strategy, error: Exception) -> None:
    """A record that fails for a reason nobody foresaw is still no failure of the effect."""
    world = World(strategy)
    world.ledger.fail(Complete, error)

    assert await world.act() == Receipt(charge="ch_1")


async def test_undo_that_cannot_be_recorded_is_done() -> None:
    """A compensation that happened is reported as done; the row stays undoing, so that it is found."""
    world = World(KEY)
    receipt = await world.act()
    world.ledger.fail(Undone, times=1000)

    assert await world.undo(result=receipt) is True
    assert await world.state() == State.UNDOING


# --- doubt and release ------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("error", [None, LedgerError("the row cannot be stored")], ids=["down", "other"])
async def test_doubt_that_cannot_be_written_is_the_lease(strategy: Strategy, error: Exception | None) -> None:
    """When the doubt is not written, the lease runs out and says the same; the attempt's failure is its own."""
    world = World(strategy).fault("charge", LOST)
    world.ledger.fail(Doubt, error)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.TIMEOUT, Outcome.UNKNOWN)
    assert await world.state() == State.CLAIMED
    assert (await world.fails(world.undo())).reason == "lease_live"


@every
async def test_release_that_cannot_be_written_costs_a_lease(strategy: Strategy) -> None:
    """When a refusal is not written the refusal stands, and the next attempt waits for the lease."""
    world = World(strategy).fault("charge", DECLINED)
    world.ledger.fail(Release)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.DECLINED, Outcome.REFUSED)
    assert (await world.fails(world.act())).reason == "lease_live"


async def test_unwritten_release_of_never_twice_goes_to_a_person() -> None:
    """A machine that could not write down that nothing happened does not know it later."""
    world = World(NEVER).fault("charge", UNSENT)
    world.ledger.fail(Release)
    await world.fails(world.act())
    await lease_over()

    assert (await world.fails(world.act())).needs_person


# --- taken over -------------------------------------------------------------------------------------------------------


async def test_overtaken_attempt_returns_its_own_result() -> None:
    """An attempt whose row was taken over and recorded by another gives the same effect's result to Temporal."""
    world = World(KEY).fault("charge", Fault(hang=5))
    slow = asyncio.ensure_future(world.act(attempt=world.delayed()))
    await asyncio.sleep(1)
    fast = await world.act()

    assert await slow == fast == Receipt(charge="ch_1")
    assert world.provider.made("o-1") == 1


async def test_overtaken_attempt_does_not_touch_the_new_owners_row() -> None:
    """A stale attempt can neither complete nor release what another holds."""
    world = World(PROBE).fault("charge", Fault(hang=2), Fault(hang=5))
    slow = asyncio.ensure_future(world.act(attempt=world.delayed()))
    await asyncio.sleep(1)
    world.fault("find", Fault(wait=5))
    fast = asyncio.ensure_future(world.act())
    await slow

    assert await world.state() == State.CLAIMED
    assert await fast == Receipt(charge="ch_1")
    assert await world.state() == State.DONE


@pytest.mark.parametrize("fault", [DECLINED, LOST], ids=["refused", "unknown"])
async def test_overtaken_attempt_cannot_undo_the_record(fault: Fault) -> None:
    """A stale attempt's refusal or doubt leaves the record of the attempt that took over alone."""
    slow_fault = Fault(before=fault.before, after=fault.after, wait=5)
    world = World(KEY).fault("charge", slow_fault)
    slow = asyncio.ensure_future(world.fails(world.act(attempt=world.delayed())))
    await asyncio.sleep(1)
    await world.act()
    await slow

    assert await world.state() == State.DONE
    assert world.provider.made("o-1") == 1


async def test_attempt_whose_row_is_gone_returns_its_result() -> None:
    """An effect whose row was lost meanwhile is still returned to Temporal, which then holds the only record."""
    world = World(KEY).fault("charge", Fault(hang=3))
    task = asyncio.ensure_future(world.act())
    await asyncio.sleep(1)
    world.ledger.inner = MemoryLedger()

    assert await task == Receipt(charge="ch_1")


# --- a bug in the guard's own reach -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [ClaimAction, ClaimUndo], ids=["action", "undo"])
async def test_bug_of_the_ledger_is_a_bug_with_few_attempts(command: type[Command]) -> None:
    """What nobody foresaw is a bug: three attempts, then a person; never an endless retry."""
    world = World(KEY_PROBE)
    world.ledger.fail(command, RuntimeError("bug"), times=3)
    attempt = world.act if command is ClaimAction else world.undo

    failures = [await world.fails(attempt()) for _ in range(3)]

    assert [(failure.kind, failure.needs_person) for failure in failures] == [
        (FailureKind.BUG, False),
        (FailureKind.BUG, False),
        (FailureKind.BUG, True),
    ]
    assert world.provider.calls == {}
