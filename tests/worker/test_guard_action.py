"""The guard's table, column "an attempt of the action": every row, for every once-strategy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from kit.contract import Effect, FailureKind, Outcome
from kit.ledger import Entry, MemoryLedger, State
from tests.worker.world import (
    BUG,
    CRASH_AFTER,
    CRASH_BEFORE,
    DECLINED,
    KEY,
    KEY_PROBE,
    KEY_TTL,
    KNOWING,
    LATE,
    LEASE,
    LOST,
    NEVER,
    NEVER_PROBE,
    PROBE,
    REPEATING,
    SETTLE,
    STATE,
    STATE_PROBE,
    STRATEGIES,
    TIMEOUT,
    UNSENT,
    VANISHED,
    Crash,
    Fault,
    Receipt,
    Strategy,
    World,
    dependency,
    http_error,
    lease_over,
    settled,
)

VIRTUAL_TIME = True

every = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
knowing = pytest.mark.parametrize("strategy", KNOWING, ids=str)
never = pytest.mark.parametrize("strategy", [NEVER, NEVER_PROBE], ids=str)


# --- no row, done, other fingerprint, refused -------------------------------------------------------------------------


@every
async def test_first_attempt_claims_and_records(strategy: Strategy) -> None:
    """Where there is no row the action is carried out once and its result is in the ledger."""
    world = World(strategy)

    result = await world.act()

    row = await world.row()
    assert (result, row.state, row.result) == (Receipt(charge="ch_1"), State.DONE, b'{"charge":"ch_1"}')
    assert world.provider.calls == {"charge": 1}


@every
async def test_row_holds_all_that_an_undo_needs(strategy: Strategy) -> None:
    """The claim writes down request, saga, step and correlation id under a lease that outlasts the attempt."""
    world = World(strategy).fault("charge", CRASH_BEFORE)

    with pytest.raises(Crash):
        await world.act()

    row = await world.row()
    assert (row.saga, row.step, row.correlation_id, row.operation) == ("saga-1", 1, "corr-1", "bank.pay")
    assert row.request == b'{"order_id":"o-1","amount":100}'
    assert row.lease_until is not None
    assert row.lease_until - row.first_claimed_at == LEASE > TIMEOUT


@every
async def test_second_attempt_is_answered_from_the_record(strategy: Strategy) -> None:
    """A done row answers every further attempt, and the provider is not asked."""
    world = World(strategy)
    first = await world.act()

    second = await world.act(saga="saga-2")

    assert second == first
    assert world.provider.calls == {"charge": 1}


@every
async def test_key_reused_for_another_request_is_refused(strategy: Strategy) -> None:
    """The same key with another request is a terminal refusal that left nothing behind."""
    world = World(strategy)
    await world.act(amount=100)

    failure = await world.fails(world.act(amount=200, saga="saga-2"))

    assert (failure.kind, failure.outcome, failure.permanent) == (FailureKind.KEY_REUSED, Outcome.REFUSED, True)
    assert not failure.needs_person
    assert [charge.amount for charge in world.provider.charges] == [100]


async def test_key_reused_by_the_step_itself_leaves_its_outcome_unknown() -> None:
    """A later attempt whose request reads differently than the first one's does not call the first one clean."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act(amount=100))

    failure = await world.fails(world.act(amount=101))

    assert (failure.kind, failure.outcome) == (FailureKind.KEY_REUSED, Outcome.UNKNOWN)


@every
async def test_refusal_frees_the_key(strategy: Strategy) -> None:
    """A clean refusal is reported as such, and a new attempt may claim."""
    world = World(strategy).fault("charge", DECLINED)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome, failure.type) == (FailureKind.DECLINED, Outcome.REFUSED, "bank.declined")
    assert await world.state() == State.REFUSED
    assert await world.act() == Receipt(charge="ch_1")


@every
async def test_what_never_left_frees_the_key(strategy: Strategy) -> None:
    """An attempt that never reached the provider is retried without any look-up."""
    world = World(strategy).fault("charge", UNSENT)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)
    assert not failure.permanent
    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.calls["find"] == 0


# --- void, undone, undoing --------------------------------------------------------------------------------------------


@every
async def test_action_after_its_tombstone_is_refused(strategy: Strategy) -> None:
    """A hanging action that arrives after its undo does nothing, and is not tried again."""
    world = World(strategy)
    await world.undo()

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome, failure.reason) == (FailureKind.CONFLICT, Outcome.REFUSED, "after_undo")
    assert failure.permanent
    assert world.provider.charges == []


@every
async def test_action_after_it_was_undone_is_refused(strategy: Strategy) -> None:
    """What was undone is not done again under the same key."""
    world = World(strategy)
    await world.undo(result=await world.act())

    failure = await world.fails(world.act())

    assert (failure.outcome, failure.reason) == (Outcome.REFUSED, "after_undo")
    assert world.provider.made("o-1") == 1


async def test_action_during_an_unconfirmed_undo_is_refused_in_doubt() -> None:
    """While an undo is unconfirmed the action is refused, and nobody is told that nothing is left."""
    world = World(KEY_PROBE)
    receipt = await world.act()
    await world.fails(world.fault("void", LOST).undo(result=receipt))

    failure = await world.fails(world.act())

    assert (failure.outcome, failure.permanent, failure.needs_person) == (Outcome.UNKNOWN, True, False)


# --- claimed, lease live ----------------------------------------------------------------------------------------------


@every
async def test_live_lease_is_waited_for(strategy: Strategy) -> None:
    """While another attempt holds the row nothing is sent; the attempt comes back when the lease is over."""
    world = World(strategy).fault("charge", CRASH_BEFORE)
    with pytest.raises(Crash):
        await world.act()
    await asyncio.sleep(4)

    failure = await world.fails(world.act())

    assert (failure.outcome, failure.reason) == (Outcome.UNKNOWN, "lease_live")
    assert failure.delay == LEASE - timedelta(seconds=4) + timedelta(milliseconds=10)
    assert world.provider.calls == {"charge": 1}


@pytest.mark.parametrize("next_is", ["action", "undo"])
@pytest.mark.parametrize("lag", [0.0, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("strategy", KNOWING, ids=str)
async def test_attempt_that_began_late_never_overlaps_the_next(strategy: Strategy, lag: float, next_is: str) -> None:
    """An attempt that was told of its start a fifth of its timeout late is cut off before another one is let in."""
    world = World(strategy).fault("charge", Fault(wait=3600, hang=3600))
    await asyncio.sleep(lag)
    slow = world.attempt("o-1", "action")
    slow.started_at -= timedelta(seconds=lag)
    first = asyncio.ensure_future(world.fails(world.act(attempt=slow)))
    await asyncio.sleep(TIMEOUT.total_seconds() - lag)

    await world.drive(world.act if next_is == "action" else world.undo)

    assert (await first).outcome is Outcome.UNKNOWN
    assert world.provider.most_at_work == 1
    assert world.provider.live("o-1") == (1 if next_is == "action" else 0)


async def test_waiting_for_a_lease_costs_no_cap() -> None:
    """However often an attempt waits for another one's lease, it is not given up."""
    world = World(KEY).fault("charge", CRASH_BEFORE)
    with pytest.raises(Crash):
        await world.act()

    failures = [await world.fails(world.act()) for _ in range(20)]

    assert not any(failure.permanent for failure in failures)


# --- claimed, lease over: resolved by the once-strategy ---------------------------------------------------------------


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST, LATE, VANISHED, BUG], ids=lambda f: f"{f}"[:40])
@knowing
async def test_doubt_is_resolved_to_one_effect(strategy: Strategy, fault: Fault) -> None:
    """Wherever the first attempt broke off, the attempts after it end with exactly one effect and its result."""
    world = World(strategy).fault("charge", fault)
    await _break_off(world)
    await settled()

    result = await world.act()

    assert world.provider.made("o-1") == world.provider.live("o-1") == 1
    assert result == Receipt(charge="ch_1")
    assert await world.state() == State.DONE


@pytest.mark.parametrize("strategy", REPEATING, ids=str)
async def test_repeating_strategies_need_no_look_up(strategy: Strategy) -> None:
    """Under a living key or a state the action is repeated at once, without waiting for the settle time."""
    world = World(strategy).fault("charge", LOST)
    await world.fails(world.act())

    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.calls == {"charge": 2}


@pytest.mark.parametrize("fault", [CRASH_AFTER, LOST], ids=["crash", "lost"])
async def test_probe_finds_the_effect_and_its_result(fault: Fault) -> None:
    """Found by the look-up, an effect is recorded and returned, and not caused again."""
    world = World(PROBE).fault("charge", fault)
    await _break_off(world)
    await lease_over()

    result = await world.act()

    assert result == Receipt(charge="ch_1")
    assert world.provider.calls == {"charge": 1, "find": 1}
    assert await world.state() == State.DONE


async def test_empty_look_up_is_not_believed_before_the_settle_time() -> None:
    """A late effect is not doubled: until the settle time is over a look-up that finds nothing decides nothing."""
    world = World(PROBE).fault("charge", LATE)
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert (failure.outcome, failure.reason, failure.delay) == (Outcome.UNKNOWN, "settling", SETTLE)
    assert world.provider.charges == []
    await asyncio.sleep(failure.delay.total_seconds())
    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.made("o-1") == 1


async def test_settle_time_counts_from_the_end_of_a_crashed_lease() -> None:
    """A crashed attempt may have sent until its lease ended, so the settle time starts there."""
    world = World(PROBE).fault("charge", CRASH_BEFORE)
    with pytest.raises(Crash):
        await world.act()
    await lease_over()

    failure = await world.fails(world.act())

    assert failure.reason == "settling"
    assert SETTLE - timedelta(milliseconds=2) < failure.delay < SETTLE


async def test_looking_too_early_does_not_push_the_settle_time_out() -> None:
    """Attempts that only look may look often: the settle time runs from the last request, not the last look."""
    world = World(PROBE).fault("charge", VANISHED)
    await world.fails(world.act())
    for _ in range(4):
        await asyncio.sleep(1)
        assert (await world.fails(world.act())).reason == "settling"
    await asyncio.sleep(1)

    assert await world.act() == Receipt(charge="ch_1")


async def test_waiting_for_the_settle_time_costs_no_cap() -> None:
    """However often an attempt waits for the settle time, it is not given up."""
    world = World(PROBE).fault("charge", VANISHED)
    await world.fails(world.act())

    failures = [await world.fails(world.act()) for _ in range(20)]

    assert not any(failure.permanent for failure in failures)


async def test_look_up_that_fails_leaves_the_doubt() -> None:
    """A look-up without an answer resolves nothing, and nothing is sent on the strength of it."""
    world = World(PROBE).fault("charge", LOST).fault("find", UNSENT)
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.UNKNOWN)
    assert await world.state() == State.UNKNOWN
    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.made("o-1") == 1


async def test_look_up_that_is_cancelled_leaves_the_doubt() -> None:
    """A worker that shuts down during a look-up leaves the row unknown, not claimed."""
    world = World(PROBE).fault("charge", LOST).fault("find", Fault(wait=60))
    await world.fails(world.act())
    task = asyncio.ensure_future(world.act())
    await asyncio.sleep(1)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.state() == State.UNKNOWN


async def test_look_up_of_the_wrong_type_is_a_bug_and_no_finding() -> None:
    """A probe that answers with something else than a result or None is not believed either way."""
    world = World(PROBE).fault("charge", LOST).fault("find", Fault(gives=False))
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert (failure.kind, failure.reason, failure.outcome) == (FailureKind.BUG, "invalid_result", Outcome.UNKNOWN)
    assert await world.state() == State.UNKNOWN


@never
@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST, BUG], ids=["before", "after", "lost", "bug"])
async def test_never_twice_in_doubt_goes_to_a_person(strategy: Strategy, fault: Fault) -> None:
    """What cannot be known is never repeated: a person is asked, unless a look-up finds it."""
    world = World(strategy).fault("charge", fault)
    await _break_off(world)
    await settled()
    found = strategy.probe and fault in (CRASH_AFTER, LOST)

    if found:
        assert await world.act() == Receipt(charge="ch_1")
    else:
        failure = await world.fails(world.act())
        assert (failure.outcome, failure.needs_person) == (Outcome.UNKNOWN, True)
        assert await world.state() == State.UNKNOWN
    assert world.provider.calls["charge"] == 1


async def test_never_twice_asks_at_once_when_the_reply_is_lost() -> None:
    """The attempt whose reply is lost says itself that a person is needed; no other attempt is made."""
    world = World(NEVER).fault("charge", LOST)

    failure = await world.fails(world.act())

    assert (failure.needs_person, failure.permanent, failure.outcome) == (True, True, Outcome.UNKNOWN)


# --- the provider's memory of keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [True, False])
async def test_key_too_old_to_be_honoured_is_looked_up(arrived: bool) -> None:
    """After the key's time the action is repeated only when the look-up says that it did not happen."""
    world = World(KEY_PROBE).fault("charge", LOST if arrived else VANISHED)
    await world.fails(world.act())
    await asyncio.sleep(KEY_TTL.total_seconds())

    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.made("o-1") == 1
    assert world.provider.calls["find"] == 1


async def test_key_too_old_without_a_look_up_goes_to_a_person() -> None:
    """After the key's time and without a look-up a machine cannot know."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    await asyncio.sleep(KEY_TTL.total_seconds())

    failure = await world.fails(world.act())

    assert (failure.needs_person, failure.outcome, failure.reason) == (True, Outcome.UNKNOWN, "unknowable")
    assert world.provider.calls["charge"] == 1


async def test_key_that_could_expire_on_the_way_is_not_trusted() -> None:
    """A request that may be taken up after the key's time (attempt plus settle time) is not sent under it."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    await asyncio.sleep((KEY_TTL - TIMEOUT * 0.9 - SETTLE).total_seconds())

    assert (await world.fails(world.act())).reason == "unknowable"


async def test_key_is_trusted_while_it_lives() -> None:
    """A request that must arrive within the key's time is repeated under it."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    await asyncio.sleep((KEY_TTL - TIMEOUT * 0.9 - SETTLE).total_seconds() - 1)

    assert await world.act() == Receipt(charge="ch_1")


# --- unknown is sticky ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [KEY, STATE], ids=str)
@pytest.mark.parametrize("fault", [DECLINED, UNSENT], ids=["refused", "not started"])
async def test_clean_failure_does_not_clear_an_earlier_doubt(strategy: Strategy, fault: Fault) -> None:
    """After a lost reply a clean refusal or a failed connection leaves the outcome unknown."""
    world = World(strategy).fault("charge", LOST, fault)
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert failure.outcome is Outcome.UNKNOWN
    assert await world.state() == State.UNKNOWN


@pytest.mark.parametrize("strategy", [KEY_PROBE, STATE_PROBE], ids=str)
async def test_hidden_timeout_is_found_behind_a_refusal(strategy: Strategy) -> None:
    """First attempt timed out after its effect, second declined: the look-up finds it, and it is a success."""
    world = World(strategy).fault("charge", LOST, DECLINED)
    await world.fails(world.act())

    assert await world.act() == Receipt(charge="ch_1")
    assert await world.state() == State.DONE


@pytest.mark.parametrize("strategy", [KEY_PROBE, STATE_PROBE], ids=str)
async def test_refusal_is_clean_when_the_settled_look_up_agrees(strategy: Strategy) -> None:
    """A refusal after a doubt is clean once a look-up after the settle time has found nothing."""
    world = World(strategy).fault("charge", VANISHED, DECLINED)
    await world.fails(world.act())
    await asyncio.sleep(SETTLE.total_seconds())

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.DECLINED, Outcome.REFUSED)
    assert await world.state() == State.REFUSED


@pytest.mark.parametrize("strategy", [KEY_PROBE, STATE_PROBE], ids=str)
async def test_refusal_stays_in_doubt_before_the_settle_time(strategy: Strategy) -> None:
    """A refusal after a doubt is not clean while the first request may still take effect."""
    world = World(strategy).fault("charge", LATE, DECLINED)
    await world.fails(world.act())

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.DECLINED, Outcome.UNKNOWN)
    assert await world.state() == State.UNKNOWN


@pytest.mark.parametrize("strategy", [KEY_PROBE, PROBE], ids=str)
async def test_resolved_doubt_is_gone(strategy: Strategy) -> None:
    """After a settled look-up found nothing, a refusal of the new attempt is clean and frees the key."""
    world = World(strategy).fault("charge", VANISHED, DECLINED)
    await world.fails(world.act())
    await asyncio.sleep(SETTLE.total_seconds())

    failure = await world.fails(world.act())

    assert failure.outcome is Outcome.REFUSED
    assert await world.state() == State.REFUSED


# --- the attempt's own time -------------------------------------------------------------------------------------------


@every
async def test_slow_call_is_cut_off_before_the_lease_ends(strategy: Strategy) -> None:
    """A call that does not come back is cut off at nine tenths of the timeout, and the doubt is written down."""
    world = World(strategy).fault("charge", Fault(hang=3600))
    began = asyncio.get_running_loop().time()

    failure = await world.fails(world.act())

    assert asyncio.get_running_loop().time() - began == pytest.approx(9.0)
    assert (failure.kind, failure.outcome) == (FailureKind.TIMEOUT, Outcome.UNKNOWN)
    assert await world.state() == State.UNKNOWN


@every
async def test_nothing_is_sent_after_the_cut_off(strategy: Strategy) -> None:
    """An attempt that gets its claim too late (a slow ledger, a stopped process) sends nothing at all."""
    world = World(strategy)
    attempt = world.attempt("o-1", "action")
    await asyncio.sleep(9.0)

    failure = await world.fails(world.act(attempt=attempt))

    assert (failure.kind, failure.outcome, failure.reason) == (FailureKind.TIMEOUT, Outcome.NOT_STARTED, "too_late")
    assert world.provider.calls == {}
    assert await world.state() == State.REFUSED


@every
async def test_cancellation_in_the_middle_writes_the_doubt(strategy: Strategy) -> None:
    """A worker that shuts down during a call leaves the row unknown, so that nobody waits for a dead lease."""
    world = World(strategy).fault("charge", Fault(hang=3600))
    task = asyncio.ensure_future(world.act())
    await asyncio.sleep(2)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    row = await world.row()
    assert (row.state, row.reason, row.lease_until) == (State.UNKNOWN, "cancelled", None)


# --- results ----------------------------------------------------------------------------------------------------------


@every
async def test_result_of_the_wrong_type_is_a_bug_in_doubt(strategy: Strategy) -> None:
    """A connector that returns something else than the result's type has had the effect: its outcome is unknown."""
    world = World(strategy).fault("charge", Fault(gives={"charge": "ch_1"}))

    failure = await world.fails(world.act())

    assert (failure.kind, failure.reason, failure.outcome) == (FailureKind.BUG, "invalid_result", Outcome.UNKNOWN)
    assert await world.state() == State.UNKNOWN


async def test_unreadable_record_goes_to_a_person_as_done() -> None:
    """A recorded result that no longer fits its type says that it happened, and that a machine cannot read it."""
    world = World(KEY)
    await world.act()
    row = await world.row()
    other = World(KEY, memory=_Holding(replace(row, result=b'{"charge":1}')))

    failure = await other.fails(other.act())

    assert (failure.reason, failure.outcome, failure.needs_person) == ("unreadable_result", Outcome.DONE, True)
    assert "It has happened." in str(failure.error)


# --- reads ------------------------------------------------------------------------------------------------------------


async def test_read_leaves_nothing_behind() -> None:
    """A READ claims nothing, and its failure has no outcome to settle."""
    world = World(PROBE, effect=Effect.READ).fault("charge", LOST)

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.TIMEOUT, Outcome.REFUSED)
    assert await world.act() == Receipt(charge="ch_2")
    assert await world.state() is None


async def test_read_of_the_wrong_type_is_a_bug() -> None:
    """A READ's result is checked like any other."""
    world = World(effect=Effect.READ).fault("charge", Fault(gives=7))

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.BUG, Outcome.REFUSED)


async def test_undo_of_a_read_does_nothing() -> None:
    """There is nothing to undo after a READ, and nothing is written."""
    world = World(effect=Effect.READ)

    assert await world.undo() is False
    assert await world.state() is None


async def test_conflict_of_a_request_in_flight_is_no_refusal() -> None:
    """A provider that answers 409 because the first request is still at work has refused nothing."""
    world = World(KEY_PROBE, dependency=dependency()).fault("charge", LATE, Fault(before=http_error(409)))
    await world.fails(world.act())

    failure = await world.fails(world.act())
    await asyncio.sleep(SETTLE.total_seconds())

    assert (failure.kind, failure.outcome, failure.permanent) == (FailureKind.CONFLICT, Outcome.UNKNOWN, False)
    assert await world.act() == Receipt(charge="ch_1")
    assert world.provider.made("o-1") == 1


class _Holding(MemoryLedger):
    """A ledger that begins with one row."""

    def __init__(self, row: Entry) -> None:
        super().__init__()
        self._rows[row.key] = row


async def _break_off(world: World) -> None:
    try:
        await world.fails(world.act())
    except Crash:
        return
