"""The guard's table, column "an attempt of the undo": every row, for every once-strategy."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kit.contract import Effect, FailureKind, Outcome
from kit.ledger import ClaimUndo, Command, Complete, MemoryLedger, ReleaseUndo, State
from tests.worker.world import (
    CRASH_AFTER,
    CRASH_BEFORE,
    DECLINED,
    KEY,
    KEY_PROBE,
    KEY_TTL,
    KNOWING,
    LATE,
    LOST,
    NEVER,
    NEVER_PROBE,
    PROBE,
    SETTLE,
    STATE,
    STATE_PROBE,
    STRATEGIES,
    UNSENT,
    VANISHED,
    Crash,
    Fault,
    Strategy,
    World,
    http_error,
    lease_over,
    settled,
)

VIRTUAL_TIME = True

PROBING = (KEY_PROBE, PROBE, STATE_PROBE, NEVER_PROBE)

every = pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
knowing = pytest.mark.parametrize("strategy", KNOWING, ids=str)
probing = pytest.mark.parametrize("strategy", PROBING, ids=str)


# --- no row, refused, void, undone ------------------------------------------------------------------------------------


@every
async def test_undo_before_the_action_leaves_a_tombstone(strategy: Strategy) -> None:
    """Where there is no row the undo is done at once, without asking anybody, and the key is closed for ever."""
    world = World(strategy)

    assert await world.undo() is False

    assert await world.state() == State.VOID
    assert world.provider.calls == {}


@every
async def test_undo_of_a_refused_action_asks_nobody(strategy: Strategy) -> None:
    """A refused action left nothing to undo."""
    world = World(strategy).fault("charge", DECLINED)
    await world.fails(world.act())

    assert await world.undo() is False
    assert await world.state() == State.VOID
    assert world.provider.calls == {"charge": 1}


@every
async def test_second_undo_does_nothing(strategy: Strategy) -> None:
    """An undone effect is not undone again, and the answer is the same."""
    world = World(strategy)
    receipt = await world.act()
    first = await world.undo(result=receipt)

    second = await world.undo(result=receipt)

    assert (first, second) == (True, True)
    assert world.provider.calls["void"] == 1


# --- done -------------------------------------------------------------------------------------------------------------


@every
async def test_undo_of_a_done_action_takes_it_back(strategy: Strategy) -> None:
    """A done effect is undone with what the ledger recorded, whatever the workflow remembers of it."""
    world = World(strategy)
    await world.act()

    assert await world.undo() is True

    assert world.provider.live("o-1") == 0
    assert await world.state() == State.UNDONE
    assert world.provider.calls == {"charge": 1, "void": 1}


async def test_compensation_has_a_key_of_its_own() -> None:
    """The compensation talks to the provider under the action's key with ':undo' after it."""
    world = World(KEY)
    await world.undo(result=await world.act())

    assert [token.key for token in world.connector.tokens] == ["pay:o-1", "pay:o-1:undo"]


@every
async def test_undo_of_another_request_goes_to_a_person(strategy: Strategy) -> None:
    """An undo whose request is not the recorded one undoes nothing and asks a person."""
    world = World(strategy)
    await world.act(amount=100)

    failure = await world.fails(world.undo(amount=200))

    assert (failure.kind, failure.outcome) == (FailureKind.KEY_REUSED, Outcome.UNKNOWN)
    assert failure.needs_person
    assert world.provider.live("o-1") == 1


# --- what the workflow remembers and the ledger does not --------------------------------------------------------------


@every
async def test_lost_row_of_a_done_step_is_undone_all_the_same(strategy: Strategy) -> None:
    """The workflow holds the result and the row is gone: the effect is undone, not declared void."""
    world = World(strategy)
    receipt = await world.act()
    world.ledger.inner = world.memory = MemoryLedger()

    assert await world.undo(result=receipt) is True

    assert world.provider.live("o-1") == 0
    assert await world.state() == State.UNDONE


@every
async def test_unrecorded_result_is_undone_from_the_history(strategy: Strategy) -> None:
    """Where only Temporal got the result, the undo uses the workflow's and looks nothing up."""
    world = World(strategy)
    world.ledger.fail(Complete, times=1000)
    receipt = await world.act()
    await lease_over()

    assert await world.undo(result=receipt) is True

    assert world.provider.live("o-1") == 0
    assert world.provider.calls == {"charge": 1, "void": 1}


@every
async def test_refusal_does_not_stand_against_the_result_of_the_workflow(strategy: Strategy) -> None:
    """The workflow holds the result and the row says refused: the effect is undone, not declared void."""
    world = World(strategy)
    receipt = await world.act()
    world.ledger.inner = world.memory = MemoryLedger()
    await world.fails(world.fault("charge", DECLINED).act())
    assert await world.state() == State.REFUSED

    assert await world.undo(result=receipt) is True

    assert world.provider.live("o-1") == 0
    assert world.provider.calls == {"charge": 2, "void": 1}
    assert await world.state() == State.UNDONE


async def test_result_of_the_workflow_that_cannot_be_read_goes_to_a_person() -> None:
    """An undo handed a result of the wrong type tries a few times and then asks a person; never without end."""
    world = World(KEY)
    await world.act()

    failures = [await world.fails(world.undo(outcome=Outcome.DONE)) for _ in range(3)]

    assert [failure.needs_person for failure in failures] == [False, False, True]
    assert {failure.kind for failure in failures} == {FailureKind.BUG}


# --- claimed, lease live ----------------------------------------------------------------------------------------------


@every
async def test_undo_waits_for_a_live_lease(strategy: Strategy) -> None:
    """While an attempt of the action holds the row the undo neither asks nor undoes."""
    world = World(strategy).fault("charge", CRASH_AFTER)
    with pytest.raises(Crash):
        await world.act()

    failure = await world.fails(world.undo())

    assert (failure.reason, failure.permanent) == ("lease_live", False)
    assert world.provider.calls == {"charge": 1}


async def test_undo_waits_for_another_undo() -> None:
    """Two attempts of the undo do not run at once."""
    world = World(KEY)
    await world.act()
    world.fault("void", CRASH_BEFORE)
    with pytest.raises(Crash):
        await world.undo()

    failure = await world.fails(world.undo())

    assert failure.reason == "lease_live"


# --- claimed, lease over; or unknown ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST, LATE, VANISHED], ids=lambda f: f"{f}"[:40])
@knowing
async def test_undo_in_doubt_leaves_nothing_live(strategy: Strategy, fault: Fault) -> None:
    """Wherever the action broke off, the undo after the settle time leaves no effect, and none comes later."""
    world = World(strategy).fault("charge", fault)
    await _break_off(world)
    await settled()

    await world.undo()

    assert world.provider.live("o-1") == 0
    assert (await world.fails(world.act())).reason == "after_undo"


@probing
async def test_undo_finds_the_effect_and_takes_it_back(strategy: Strategy) -> None:
    """A lost reply is looked up, not repeated, and what is found is undone."""
    world = World(strategy).fault("charge", LOST)
    await world.fails(world.act())

    assert await world.undo() is True

    assert world.provider.calls == {"charge": 1, "find": 1, "void": 1}
    assert await world.state() == State.UNDONE


@probing
async def test_undo_does_not_believe_an_early_look_up(strategy: Strategy) -> None:
    """A late effect is not left behind: the undo waits the settle time out before it says that there is nothing."""
    world = World(strategy).fault("charge", LATE)
    await world.fails(world.act())

    early = await world.fails(world.undo())
    await asyncio.sleep(early.delay.total_seconds())

    assert (early.reason, early.delay, early.permanent) == ("settling", SETTLE, False)
    assert await world.undo() is True
    assert (world.provider.made("o-1"), world.provider.live("o-1")) == (1, 0)


@probing
async def test_undo_of_what_never_happened_is_void(strategy: Strategy) -> None:
    """A settled look-up that finds nothing closes the key."""
    world = World(strategy).fault("charge", VANISHED)
    await world.fails(world.act())
    await asyncio.sleep(SETTLE.total_seconds())

    assert await world.undo() is False
    assert await world.state() == State.VOID
    assert world.provider.calls["void"] == 0


@pytest.mark.parametrize("strategy", [KEY, STATE], ids=str)
async def test_undo_without_a_look_up_repeats_and_takes_back(strategy: Strategy) -> None:
    """Without a look-up the action is repeated under its key or state, and its effect undone with the result."""
    world = World(strategy).fault("charge", LOST)
    await world.fails(world.act())

    assert await world.undo() is True
    assert world.provider.calls == {"charge": 2, "void": 1}
    assert (world.provider.made("o-1"), world.provider.live("o-1")) == (1, 0)


@pytest.mark.parametrize("strategy", [KEY, STATE], ids=str)
async def test_refusal_of_the_repetition_goes_to_a_person(strategy: Strategy) -> None:
    """A refusal now says nothing about then: without a look-up a person must."""
    world = World(strategy).fault("charge", VANISHED, DECLINED)
    await world.fails(world.act())

    failure = await world.fails(world.undo())

    assert (failure.needs_person, failure.outcome) == (True, Outcome.UNKNOWN)


@pytest.mark.parametrize("strategy", [KEY, STATE], ids=str)
async def test_repetition_that_fails_is_tried_again(strategy: Strategy) -> None:
    """A repetition that does not come through leaves the undo to its next attempt."""
    world = World(strategy).fault("charge", LOST, UNSENT)
    await world.fails(world.act())

    failure = await world.fails(world.undo())

    assert (failure.kind, failure.permanent) == (FailureKind.UNAVAILABLE, False)
    assert await world.undo() is True


async def test_undo_in_doubt_under_a_dead_key_goes_to_a_person() -> None:
    """After the key's time and without a look-up the undo repeats nothing."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    await asyncio.sleep(KEY_TTL.total_seconds())

    failure = await world.fails(world.undo())

    assert (failure.needs_person, failure.reason) == (True, "unknowable")
    assert world.provider.calls["charge"] == 1


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST], ids=["before", "after", "lost"])
async def test_undo_of_never_twice_in_doubt_goes_to_a_person(fault: Fault) -> None:
    """What cannot be known is neither undone nor called void."""
    world = World(NEVER).fault("charge", fault)
    await _break_off(world)
    await settled()

    failure = await world.fails(world.undo())

    assert (failure.needs_person, failure.outcome, failure.reason) == (True, Outcome.UNKNOWN, "unknowable")
    assert await world.state() == State.UNDOING
    assert world.provider.calls == {"charge": 1}


async def test_look_up_of_the_wrong_type_undoes_nothing() -> None:
    """A probe that answers with something else than a result is a bug, and no reason to undo or to close."""
    world = World(PROBE).fault("charge", LOST).fault("find", Fault(gives=False))
    await world.fails(world.act())

    failure = await world.fails(world.undo())

    assert (failure.kind, failure.reason) == (FailureKind.BUG, "invalid_result")
    assert world.provider.calls["void"] == 0
    assert await world.state() == State.UNDOING


# --- the compensation fails -------------------------------------------------------------------------------------------


@every
async def test_lost_reply_of_the_compensation_is_repeated(strategy: Strategy) -> None:
    """A compensation whose reply is lost is made again until it is confirmed."""
    world = World(strategy)
    receipt = await world.act()
    world.fault("void", LOST)

    failure = await world.fails(world.undo(result=receipt))

    assert (failure.outcome, failure.permanent) == (Outcome.UNKNOWN, False)
    assert await world.state() == State.UNDOING
    assert await world.undo(result=receipt) is True
    assert await world.state() == State.UNDONE


@probing
async def test_undo_that_crashed_after_it_took_effect_says_that_it_was_undone(strategy: Strategy) -> None:
    """What a look-up found is written down before it is undone: afterwards there is nothing left to find."""
    world = World(strategy).fault("charge", LOST).fault("void", CRASH_AFTER)
    await world.fails(world.act())
    with pytest.raises(Crash):
        await world.undo()
    await lease_over()

    assert await world.undo() is True

    assert await world.state() == State.UNDONE
    assert world.provider.calls["find"] == 1


@pytest.mark.parametrize(("command", "passing"), [(ReleaseUndo, 0), (ClaimUndo, 1)])
async def test_nothing_is_undone_while_what_was_found_cannot_be_written(command: type[Command], passing: int) -> None:
    """When the ledger fails between look-up and compensation, nothing is sent, and the undo is tried again."""
    world = World(PROBE).fault("charge", LOST)
    await world.fails(world.act())
    world.ledger.fail(command, passing=passing)

    failure = await world.fails(world.undo())

    assert failure.reason == "ledger_unavailable"
    assert world.provider.calls["void"] == 0
    assert await world.undo() is True


async def test_undo_that_lost_its_row_while_looking_undoes_nothing() -> None:
    """An attempt that was taken over during its look-up leaves the compensation to the new owner."""
    world = World(PROBE).fault("charge", LOST)
    await world.fails(world.act())
    slow = world.attempt("o-1", "undo")
    slow.started_at -= timedelta(seconds=30)
    first = asyncio.ensure_future(world.fails(world.fault("find", Fault(hang=3)).undo(attempt=slow)))
    await asyncio.sleep(1)
    second = asyncio.ensure_future(world.fault("void", Fault(wait=5)).undo())

    failure = await first

    assert failure.reason == "lease_live"
    assert await second is True
    assert world.provider.calls["void"] == 1


async def test_transient_failure_of_an_undo_never_gives_up() -> None:
    """An undo is retried without end while what fails may pass, whatever the caps of the action are."""
    world = World(KEY)
    await world.act()
    world.fault("void", *[UNSENT] * 50)

    failures = [await world.fails(world.undo()) for _ in range(50)]

    assert not any(failure.permanent for failure in failures)
    assert await world.undo() is True


async def test_refused_undo_goes_to_a_person() -> None:
    """A compensation that is refused leaves an effect behind: a person is asked, and the row says so."""
    world = World(KEY)
    await world.act()
    world.fault("void", Fault(before=http_error(400)))

    failure = await world.fails(world.undo())

    assert (failure.kind, failure.outcome, failure.needs_person) == (FailureKind.INVALID, Outcome.UNKNOWN, True)
    assert await world.state() == State.UNDOING


async def test_person_may_have_the_undo_tried_again() -> None:
    """After a refusal another attempt of the undo may succeed."""
    world = World(KEY)
    await world.act()
    await world.fails(world.fault("void", Fault(before=http_error(400))).undo())

    assert await world.undo() is True
    assert world.provider.live("o-1") == 0


async def test_cancelled_undo_frees_the_row_for_the_next() -> None:
    """A worker that shuts down during a compensation lets another attempt begin at once."""
    world = World(KEY)
    await world.act()
    task = asyncio.ensure_future(world.fault("void", Fault(hang=60)).undo())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await world.undo() is True


async def test_late_compensation_is_cut_off() -> None:
    """A compensation that hangs ends before its lease and is tried again."""
    world = World(KEY)
    await world.act()

    failure = await world.fails(world.fault("void", Fault(hang=3600)).undo())

    assert (failure.kind, failure.permanent) == (FailureKind.TIMEOUT, False)


# --- effects without an undo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [Effect.RECONCILABLE, Effect.IRREVERSIBLE])
async def test_effect_without_an_undo_goes_to_a_person(effect: Effect) -> None:
    """What happened and has no compensation is put to a person."""
    world = World(KEY_PROBE, effect=effect)
    await world.act()

    failure = await world.fails(world.undo())

    assert (failure.needs_person, failure.reason, failure.outcome) == (True, "no_undo", Outcome.UNKNOWN)


@pytest.mark.parametrize("effect", [Effect.RECONCILABLE, Effect.IRREVERSIBLE])
async def test_effect_without_an_undo_that_did_not_happen_needs_none(effect: Effect) -> None:
    """What did not happen needs no compensation, whatever its effect would have been."""
    world = World(KEY_PROBE, effect=effect).fault("charge", DECLINED)
    await world.fails(world.act())

    assert await world.undo() is False


# --- the effect comes after its undo ----------------------------------------------------------------------------------


@pytest.mark.parametrize("undone", [False, True], ids=["void", "undone"])
async def test_late_attempt_takes_its_effect_back_on_the_spot(undone: bool) -> None:
    """A stale attempt whose effect lands after the undo undoes it itself, although its own time is over."""
    world = World(PROBE).fault("charge", Fault(wait=8.5, hang=0.1))
    late = asyncio.ensure_future(world.fails(world.act(attempt=world.delayed())))
    await asyncio.sleep(0.1)
    if undone:
        await world.act()
    await world.undo()
    assert world.provider.live("o-1") == 0

    failure = await late

    assert (world.provider.made("o-1"), world.provider.live("o-1")) == (2 if undone else 1, 0)
    assert (failure.reason, failure.outcome, failure.permanent) == ("late", Outcome.REFUSED, True)


async def test_late_effect_is_taken_back_with_time_of_its_own() -> None:
    """The attempt's time is over when its late effect is undone, and the provider fails at first: it goes on."""
    world = World(PROBE).fault("charge", Fault(wait=8.5, hang=0.49)).fault("void", UNSENT, LOST, UNSENT)
    late = asyncio.ensure_future(world.fails(world.act(attempt=world.delayed())))
    await asyncio.sleep(0.1)
    await world.undo()

    failure = await late

    assert (failure.reason, world.provider.live("o-1")) == ("late", 0)
    assert world.provider.calls["void"] == 4


async def test_late_effect_that_cannot_be_taken_back_goes_to_a_person() -> None:
    """When the late effect's undo fails until its time is over, its outcome is unknown and a person is asked."""
    world = World(PROBE).fault("charge", Fault(wait=8.5)).fault("void", *[UNSENT] * 1000)
    late = asyncio.ensure_future(world.fails(world.act(attempt=world.delayed())))
    await asyncio.sleep(0.1)
    await world.undo()

    failure = await late

    assert (failure.needs_person, failure.outcome) == (True, Outcome.UNKNOWN)


async def test_late_effect_without_an_undo_goes_to_a_person() -> None:
    """A late effect that has no compensation is put to a person."""
    world = World(KEY_PROBE, effect=Effect.IRREVERSIBLE).fault("charge", Fault(wait=8.5))
    late = asyncio.ensure_future(world.fails(world.act(attempt=world.delayed())))
    await asyncio.sleep(0.1)
    await world.undo()

    assert (await late).needs_person


async def test_late_effect_is_taken_back_although_the_activity_is_cancelled() -> None:
    """The server gives the stale attempt up while it undoes its effect: it finishes that first."""
    world = World(PROBE).fault("charge", Fault(wait=8.5)).fault("void", Fault(wait=3))
    late = asyncio.ensure_future(world.act(attempt=world.delayed()))
    await asyncio.sleep(0.1)
    await world.undo()
    await asyncio.sleep(9)
    assert world.provider.live("o-1") == 1

    late.cancel()
    await asyncio.sleep(0.1)
    late.cancel()

    with pytest.raises(asyncio.CancelledError):
        await late
    assert world.provider.live("o-1") == 0


async def _break_off(world: World) -> None:
    try:
        await world.fails(world.act())
    except Crash:
        return
