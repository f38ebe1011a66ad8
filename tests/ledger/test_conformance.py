"""Every ledger keeps the guard's table, fences, answers repeats and loses nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from kit.errors import FailureKind
from kit.ledger import (
    REASON_AFTER_UNDO,
    REASON_KEY_REUSED,
    SETTLED_STATES,
    Busy,
    Claimed,
    Command,
    Ledger,
    Lost,
    Recorded,
    Rejected,
    Settled,
    State,
)
from tests.ledger._commands import (
    LEASE,
    RESULT,
    at,
    bring_to,
    claim,
    complete,
    decision,
    doubt,
    entry,
    release,
    release_undo,
    undo,
    undone,
)

Ask = Callable[..., Command]

EVERY_STATE = sorted(State)
AFTER_UNDO = [State.UNDOING, State.UNDONE, State.VOID]


# --- an attempt of the action asks ----------------------------------------------------------------


async def test_new_key_is_claimed(ledger: Ledger) -> None:
    """A key nobody has seen is claimed, without doubt."""
    verdict = await ledger.apply(claim())

    assert verdict == Claimed(entry())
    assert await ledger.get("k") == entry()


async def test_live_lease_keeps_others_out(ledger: Ledger) -> None:
    """While a lease is live, another attempt is told when it ends."""
    row = await bring_to(ledger, State.CLAIMED)

    verdict = await ledger.apply(claim(owner="b", now=LEASE - 0.000_001))

    assert verdict == Busy(row, at(LEASE))


async def test_lease_that_is_over_is_taken_in_doubt(ledger: Ledger) -> None:
    """From the instant a lease ends, another attempt may claim, in doubt since that instant."""
    await bring_to(ledger, State.CLAIMED)

    verdict = await ledger.apply(claim(owner="b", now=LEASE))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.owner == "b"
    assert verdict.entry.attempts == 2
    assert verdict.entry.lease_until == at(2 * LEASE)
    assert verdict.entry.unknown_since == at(LEASE)


async def test_unknown_outcome_is_claimed_in_doubt(ledger: Ledger) -> None:
    """After an attempt of unknown outcome the next one claims, in doubt since the request may have gone out."""
    await ledger.apply(claim())
    await ledger.apply(doubt(since=3, now=4))

    verdict = await ledger.apply(claim(owner="b", now=5))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.unknown_since == at(3)


async def test_done_is_answered_with_the_recorded_result(ledger: Ledger) -> None:
    """What is done is not done again: the recorded result is the answer."""
    row = await bring_to(ledger, State.DONE)

    verdict = await ledger.apply(claim(owner="b", now=5))

    assert verdict == Recorded(row)
    assert row.result == RESULT


async def test_refused_key_is_free(ledger: Ledger) -> None:
    """After a clean refusal a new attempt claims, without doubt."""
    await bring_to(ledger, State.REFUSED)

    verdict = await ledger.apply(claim(owner="b", now=5))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.unknown_since is None


@pytest.mark.parametrize("state", AFTER_UNDO)
async def test_action_after_its_undo_is_rejected(ledger: Ledger, state: State) -> None:
    """Once an undo has begun, the action never starts, also when it arrives late."""
    row = await bring_to(ledger, state)

    verdict = await ledger.apply(claim(owner="b", now=100))

    assert verdict == Rejected(row, FailureKind.CONFLICT, REASON_AFTER_UNDO)


@pytest.mark.parametrize("state", EVERY_STATE)
@pytest.mark.parametrize("ask", [claim, undo])
async def test_other_fingerprint_is_rejected(ledger: Ledger, state: State, ask: Ask) -> None:
    """A key that comes back with another request is refused, whatever has become of the first."""
    row = await bring_to(ledger, state)

    verdict = await ledger.apply(ask(owner="b", now=100, fingerprint="other"))

    assert verdict == Rejected(row, FailureKind.KEY_REUSED, REASON_KEY_REUSED)
    assert await ledger.get("k") == row


# --- an attempt of the undo asks ------------------------------------------------------------------


async def test_undo_of_nothing_leaves_a_tombstone(ledger: Ledger) -> None:
    """The undo of an action that never arrived is done at once, and the action can never start."""
    verdict = await ledger.apply(undo())

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.VOID
    assert isinstance(await ledger.apply(claim()), Rejected)


async def test_undo_with_a_result_survives_a_lost_row(ledger: Ledger) -> None:
    """An asker that holds the action's result gets to undo it, though the ledger has no row."""
    verdict = await ledger.apply(undo(result=RESULT))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.state is State.UNDOING
    assert verdict.entry.result == RESULT


@pytest.mark.parametrize("state", [State.CLAIMED, State.UNDOING])
async def test_undo_waits_for_a_live_lease(ledger: Ledger, state: State) -> None:
    """While an attempt of the action or of the undo is at work, another undo waits."""
    row = await bring_to(ledger, state)

    assert await ledger.apply(undo(owner="v", now=1)) == Busy(row, at(LEASE))


async def test_undo_takes_over_in_doubt(ledger: Ledger) -> None:
    """An undo takes a lease that is over, in doubt whether there is anything to undo."""
    await bring_to(ledger, State.CLAIMED)

    verdict = await ledger.apply(undo(now=LEASE))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.state is State.UNDOING
    assert verdict.entry.unknown_since == at(LEASE)


async def test_undo_of_unknown_outcome_is_in_doubt(ledger: Ledger) -> None:
    """An undo after an unknown outcome is claimed in doubt, and learns the result its asker knows."""
    await bring_to(ledger, State.UNKNOWN)

    verdict = await ledger.apply(undo(now=1, result=RESULT))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.unknown_since == at(0)
    assert verdict.entry.result == RESULT


async def test_undo_of_done_needs_nothing_else(ledger: Ledger) -> None:
    """The undo of what is done gets request and result from the row."""
    done = await bring_to(ledger, State.DONE)

    verdict = await ledger.apply(undo(now=1))

    assert isinstance(verdict, Claimed)
    assert (verdict.entry.request, verdict.entry.result) == (done.request, RESULT)
    assert verdict.entry.unknown_since is None


async def test_undo_of_refused_is_void(ledger: Ledger) -> None:
    """There is nothing to undo after a refusal, and never will be."""
    await bring_to(ledger, State.REFUSED)

    verdict = await ledger.apply(undo(now=1))

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.VOID
    assert verdict.entry.lease_until is None


async def test_undo_of_refused_with_a_known_result_is_claimed(ledger: Ledger) -> None:
    """A refusal does not stand against a result in hand: the effect is undone, not declared void."""
    await bring_to(ledger, State.REFUSED)

    verdict = await ledger.apply(undo(now=1, result=RESULT))

    assert isinstance(verdict, Claimed)
    assert (verdict.entry.state, verdict.entry.owner) == (State.UNDOING, "u")
    assert (verdict.entry.result, verdict.entry.unknown_since) == (RESULT, None)
    assert verdict.entry.lease_until == at(1 + LEASE)
    assert isinstance(await ledger.apply(claim(owner="b", now=2)), Rejected)


async def test_undo_leaves_the_effect_of_another_saga_alone(ledger: Ledger) -> None:
    """A saga that was only told of an effect, because another one had it first, has nothing to undo."""
    await ledger.apply(claim())
    await ledger.apply(complete())

    verdict = await ledger.apply(undo(saga="checkout-2", result=RESULT))

    assert isinstance(verdict, Settled)
    row = await ledger.get("k")
    assert row is not None
    assert (row.state, row.saga) == (State.DONE, "checkout-1")


async def test_saga_that_takes_a_row_over_owns_its_effect(ledger: Ledger) -> None:
    """Whoever has had the effect undoes it; whoever had claimed before does not."""
    await ledger.apply(claim())
    await ledger.apply(release())
    await ledger.apply(claim(owner="b", saga="checkout-2", step=7))
    await ledger.apply(complete(owner="b"))

    first = await ledger.apply(undo(saga="checkout-1"))
    second = await ledger.apply(undo(owner="u2", saga="checkout-2"))

    assert isinstance(first, Settled)
    assert isinstance(second, Claimed)
    assert second.entry.saga == "checkout-2"


@pytest.mark.parametrize("now", [LEASE, LEASE + 5])
async def test_undo_that_stopped_is_taken_over(ledger: Ledger, now: float) -> None:
    """When the lease of an undo is over, another undo carries on."""
    await bring_to(ledger, State.UNDOING)

    verdict = await ledger.apply(undo(owner="v", now=now))

    assert isinstance(verdict, Claimed)
    assert (verdict.entry.state, verdict.entry.owner) == (State.UNDOING, "v")


async def test_released_undo_is_taken_at_once(ledger: Ledger) -> None:
    """An undo that failed cleanly is free for the next attempt, and the action still cannot start."""
    await bring_to(ledger, State.UNDOING)

    await ledger.apply(release_undo(now=1))

    assert isinstance(await ledger.apply(claim(owner="b", now=1)), Rejected)
    assert isinstance(await ledger.apply(undo(owner="v", now=1)), Claimed)


@pytest.mark.parametrize("state", [State.VOID, State.UNDONE])
async def test_undo_of_undone_does_nothing(ledger: Ledger, state: State) -> None:
    """What is undone is not undone again."""
    row = await bring_to(ledger, state)

    assert await ledger.apply(undo(owner="v", now=1)) == Settled(row)


# --- fencing and repeats --------------------------------------------------------------------------

ACTION_WRITES = [complete(now=20), release(now=20), release(now=20, certain=True), doubt(now=20)]
UNDO_WRITES = [undone(now=20), undone(now=20, happened=False), release_undo(now=20)]


@pytest.mark.parametrize("late", ACTION_WRITES)
async def test_stale_attempt_cannot_write(ledger: Ledger, late: Command) -> None:
    """An attempt whose row was taken over can neither complete nor release it."""
    seen = await bring_to(ledger, State.CLAIMED)
    taken = await ledger.apply(claim(owner="b", now=LEASE))
    assert isinstance(taken, Claimed)

    for expected in (None, seen, taken.entry):
        assert await ledger.apply(late, expected=expected) == Lost(taken.entry)
    assert await ledger.get("k") == taken.entry


@pytest.mark.parametrize("late", UNDO_WRITES)
async def test_stale_undo_cannot_write(ledger: Ledger, late: Command) -> None:
    """An undo whose row was taken over can neither confirm nor release it."""
    seen = await bring_to(ledger, State.UNDOING)
    taken = await ledger.apply(undo(owner="v", now=LEASE))
    assert isinstance(taken, Claimed)

    for expected in (None, seen):
        assert await ledger.apply(late, expected=expected) == Lost(taken.entry)


@pytest.mark.parametrize("write", [*ACTION_WRITES, *UNDO_WRITES])
async def test_write_without_a_row_is_lost(ledger: Ledger, write: Command) -> None:
    """A write on a key without a row writes nothing, also when the writer remembers a row."""
    assert await ledger.apply(write) == Lost(None)
    assert await ledger.apply(write, expected=entry()) == Lost(None)
    assert await ledger.get("k") is None


@pytest.mark.parametrize("write", ACTION_WRITES)
async def test_repeated_write_is_answered_like_the_first(ledger: Ledger, write: Command) -> None:
    """An attempt whose reply was lost repeats its write and gets the same answer."""
    seen = await bring_to(ledger, State.CLAIMED)
    first = await ledger.apply(write, expected=seen)
    assert isinstance(first, Settled)

    assert await ledger.apply(write, expected=seen) == first
    assert await ledger.apply(write) == first


@pytest.mark.parametrize("write", UNDO_WRITES)
async def test_repeated_undo_write_is_answered_like_the_first(ledger: Ledger, write: Command) -> None:
    """The same holds for an undo."""
    seen = await bring_to(ledger, State.UNDOING)
    first = await ledger.apply(write, expected=seen)
    assert isinstance(first, Settled)

    assert await ledger.apply(write, expected=seen) == first


@pytest.mark.parametrize("ask", [claim(), undo(owner="a", result=RESULT)])
async def test_repeated_claim_is_answered_like_the_first(ledger: Ledger, ask: Command) -> None:
    """A claim whose reply was lost is repeated, and still is this attempt's claim."""
    first = await ledger.apply(ask)
    assert isinstance(first, Claimed)

    assert await ledger.apply(ask) == first


async def test_repeated_claim_after_its_lease_is_in_doubt(ledger: Ledger) -> None:
    """An attempt that asks again after its own lease gets a new lease, in doubt: it holds nothing otherwise."""
    await ledger.apply(claim())

    verdict = await ledger.apply(claim(now=LEASE))

    assert isinstance(verdict, Claimed)
    assert verdict.entry.lease_until == at(2 * LEASE)
    assert verdict.entry.unknown_since == at(LEASE)


async def test_attempt_may_record_after_its_lease(ledger: Ledger) -> None:
    """A result is recorded after the lease as long as nobody has taken the row."""
    await bring_to(ledger, State.CLAIMED)

    verdict = await ledger.apply(complete(now=5 * LEASE))

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.DONE


# --- doubt is sticky ------------------------------------------------------------------------------


async def test_clean_release_leaves_earlier_doubt(ledger: Ledger) -> None:
    """A refusal of the second attempt does not make the first one's timeout safe."""
    await bring_to(ledger, State.UNKNOWN)
    await ledger.apply(claim(owner="b", now=1))

    verdict = await ledger.apply(release(owner="b", now=2))

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.UNKNOWN
    assert verdict.entry.unknown_since == at(0)


async def test_certain_release_ends_the_doubt(ledger: Ledger) -> None:
    """Looking up the truth and finding nothing frees the key."""
    await bring_to(ledger, State.UNKNOWN)
    await ledger.apply(claim(owner="b", now=1))

    verdict = await ledger.apply(release(owner="b", now=2, certain=True))

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.REFUSED
    assert verdict.entry.unknown_since is None


async def test_doubt_keeps_its_latest_instant(ledger: Ledger) -> None:
    """Two doubtful attempts leave the later instant: the settle time counts from there."""
    await bring_to(ledger, State.UNKNOWN)
    await ledger.apply(claim(owner="b", now=5))

    verdict = await ledger.apply(doubt(owner="b", since=6, now=7))

    assert isinstance(verdict, Settled)
    assert verdict.entry.unknown_since == at(6)


async def test_doubtful_attempt_may_still_complete(ledger: Ledger) -> None:
    """An attempt that was in doubt and then learned its result records it."""
    await bring_to(ledger, State.UNKNOWN)

    verdict = await ledger.apply(complete(now=1))

    assert isinstance(verdict, Settled)
    assert (verdict.entry.state, verdict.entry.unknown_since) == (State.DONE, None)


# --- a person decides -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(SETTLED_STATES))
async def test_person_decides_without_a_row(ledger: Ledger, state: State) -> None:
    """A decision about a key the ledger has never seen is recorded, with no lease and no doubt."""
    verdict = await ledger.apply(decision(state, result=RESULT))

    assert isinstance(verdict, Settled)
    assert (verdict.entry.state, verdict.entry.lease_until) == (state, None)


@pytest.mark.parametrize("state", sorted(SETTLED_STATES))
async def test_person_ends_the_doubt(ledger: Ledger, state: State) -> None:
    """A decision settles a row of unknown outcome, and the attempt that was in doubt loses it."""
    await bring_to(ledger, State.UNKNOWN)

    verdict = await ledger.apply(decision(state, now=1, result=RESULT))

    assert isinstance(verdict, Settled)
    assert (verdict.entry.state, verdict.entry.unknown_since) == (state, None)
    assert verdict.entry.reason == "looked up"
    assert isinstance(await ledger.apply(complete(now=2)), Lost)


async def test_person_waits_for_a_live_lease(ledger: Ledger) -> None:
    """A decision is not taken while an attempt is at work."""
    row = await bring_to(ledger, State.CLAIMED)

    assert await ledger.apply(decision(State.VOID, now=1)) == Busy(row, at(LEASE))


async def test_person_decides_about_this_request(ledger: Ledger) -> None:
    """A decision about another request under the same key is refused."""
    row = await bring_to(ledger, State.UNKNOWN)

    verdict = await ledger.apply(decision(State.VOID, now=1, fingerprint="other"))

    assert verdict == Rejected(row, FailureKind.KEY_REUSED, REASON_KEY_REUSED)


async def test_recorded_result_never_changes(ledger: Ledger) -> None:
    """Deciding another result for what is done answers with the recorded one."""
    row = await bring_to(ledger, State.DONE)

    assert await ledger.apply(decision(State.DONE, now=1, result=b'"other"')) == Recorded(row)
    assert await ledger.apply(decision(State.DONE, now=1, result=RESULT)) == Settled(row)


@pytest.mark.parametrize("said", [State.REFUSED, State.VOID])
async def test_decision_never_hides_what_was_done(ledger: Ledger, said: State) -> None:
    """A person who saw nothing is overruled by a recorded effect: it stays live."""
    await bring_to(ledger, State.DONE)

    verdict = await ledger.apply(decision(said, now=1))

    assert isinstance(verdict, Recorded)
    assert isinstance(await ledger.apply(claim(owner="b", now=2)), Recorded)


async def test_decision_leaves_the_effect_of_another_saga_alone(ledger: Ledger) -> None:
    """What is decided about one saga's step changes nothing for the saga that has had the effect since."""
    await ledger.apply(claim(saga="checkout-2"))
    await ledger.apply(complete())

    verdict = await ledger.apply(decision(State.UNDONE, now=1))

    assert isinstance(verdict, Settled)
    row = await ledger.get("k")
    assert row is not None
    assert (row.state, row.saga) == (State.DONE, "checkout-2")


@pytest.mark.parametrize("state", [State.UNDONE, State.VOID])
async def test_decision_never_frees_what_was_undone(ledger: Ledger, state: State) -> None:
    """Deciding "no effect" after an undo is a tombstone and frees no key."""
    await bring_to(ledger, state)

    verdict = await ledger.apply(decision(State.REFUSED, now=1))

    assert isinstance(verdict, Settled)
    assert verdict.entry.state is State.VOID
    assert isinstance(await ledger.apply(claim(owner="b", now=2)), Rejected)


# --- what the store itself promises ---------------------------------------------------------------


async def test_every_field_survives(ledger: Ledger) -> None:
    """A row comes back exactly as it was answered, to the microsecond, in UTC."""
    await ledger.apply(claim())
    await ledger.apply(doubt(since=0.000_001, now=0.000_002))
    await ledger.apply(claim(owner="b", now=1.5))
    verdict = await ledger.apply(complete(owner="b", now=2.25))
    assert isinstance(verdict, Settled)

    row = await ledger.get("k")

    assert row == verdict.entry
    assert row is not None
    assert row.updated_at.utcoffset() == timedelta(0)


async def test_times_of_other_zones_are_the_same_instants(ledger: Ledger) -> None:
    """A time given in another zone is stored as that instant."""
    zone = timezone(timedelta(hours=5, minutes=30))
    local = replace(entry(), lease_until=at(LEASE).astimezone(zone))

    await ledger.apply(replace(claim(), entry=local))

    row = await ledger.get("k")
    assert row is not None
    assert row.lease_until == at(LEASE)


async def test_expected_row_saves_nothing_but_a_read(ledger: Ledger) -> None:
    """With the row as last seen, the answer is the same as without."""
    claimed = await ledger.apply(claim())
    assert isinstance(claimed, Claimed)

    verdict = await ledger.apply(complete(now=1), expected=claimed.entry)

    assert isinstance(verdict, Settled)
    assert await ledger.get("k") == verdict.entry


async def test_expected_row_of_a_purged_life_is_not_believed(ledger: Ledger) -> None:
    """A row seen before its key was purged and claimed anew opens nothing, though its revision is the same."""
    seen = await ledger.apply(claim(owner="a", expires=5))
    assert isinstance(seen, Claimed)
    await ledger.apply(release(now=1))
    assert await ledger.purge(at(6)) == 1
    again = await ledger.apply(claim(owner="b", now=7))
    assert isinstance(again, Claimed)
    assert again.entry.revision == seen.entry.revision

    assert await ledger.apply(complete(now=8), expected=seen.entry) == Lost(again.entry)


async def test_own_memory_from_before_a_doubt_erases_nothing(ledger: Ledger) -> None:
    """An attempt that was in doubt and releases by an older memory of its own row leaves the doubt."""
    before = await bring_to(ledger, State.CLAIMED)
    await ledger.apply(doubt(now=1))

    await ledger.apply(release(now=2), expected=before)

    row = await ledger.get("k")
    assert row is not None
    assert row.state is State.UNKNOWN


async def test_of_many_claims_at_once_one_wins(ledger: Ledger) -> None:
    """When many attempts claim one key together, exactly one goes ahead and all others see it."""
    verdicts = await asyncio.gather(*(ledger.apply(claim(owner=f"o{n}")) for n in range(40)))

    winners = [verdict for verdict in verdicts if isinstance(verdict, Claimed)]
    assert len(winners) == 1
    assert all(verdict.entry == winners[0].entry for verdict in verdicts)


async def test_many_keys_at_once_do_not_mix(ledger: Ledger) -> None:
    """Claims and completions of many keys at once each get their own row."""

    async def one(n: int) -> None:
        claimed = await ledger.apply(claim(f"k{n}", f"o{n}"))
        assert isinstance(claimed, Claimed)
        assert claimed.entry.key == f"k{n}"
        result = f'"{n}"'.encode()
        done = await ledger.apply(complete(f"k{n}", f"o{n}", result=result), expected=claimed.entry)
        assert isinstance(done, Settled)
        assert (done.entry.key, done.entry.result) == (f"k{n}", result)

    await asyncio.gather(*(one(n) for n in range(60)))

    assert len(await ledger.of_saga("checkout-1")) == 60


async def test_take_overs_at_once_have_one_winner(ledger: Ledger) -> None:
    """When a lease is over and many attempts take it at once, exactly one does."""
    await bring_to(ledger, State.CLAIMED)

    verdicts = await asyncio.gather(*(ledger.apply(claim(owner=f"o{n}", now=LEASE)) for n in range(20)))

    assert sum(isinstance(verdict, Claimed) for verdict in verdicts) == 1
    assert sum(isinstance(verdict, Busy) for verdict in verdicts) == 19


async def test_bad_data_fails_its_own_caller_only(ledger: Ledger) -> None:
    """A command that cannot be stored fails for who gave it; its neighbours are done."""
    naive = replace(claim("bad").entry, updated_at=at(0).replace(tzinfo=None), lease_until=None)
    bad = replace(decision(State.VOID, "bad"), entry=replace(naive, state=State.VOID, step=2**70))
    good = [ledger.apply(claim(f"k{n}")) for n in range(5)]

    answers = await asyncio.gather(*good, ledger.apply(bad), return_exceptions=True)

    assert all(isinstance(answer, Claimed) for answer in answers[:5])
    assert len(await ledger.of_saga("checkout-1")) >= 5


async def test_rows_of_a_saga_come_by_step(ledger: Ledger) -> None:
    """A saga's rows are listed by step, then key; other sagas' are not."""
    for key, step, saga in [("b", 2, "s"), ("z", 1, "s"), ("A", 2, "s"), ("x", 1, "other")]:
        await ledger.apply(claim(key, saga=saga, step=step))

    assert [row.key for row in await ledger.of_saga("s")] == ["z", "A", "b"]
    assert await ledger.of_saga("none") == []


async def test_rows_of_a_prefix_come_by_key_and_by_pages(ledger: Ledger) -> None:
    """Rows are listed by the code points of their keys, page by page, and others in between are left out."""
    for key in ("receipt:b", "receipt:B", "receipt:ä", "receipt:a%3Ab", "receipt", "receipts:a", "refund:a"):
        await ledger.apply(claim(key))

    first = await ledger.page("receipt:", limit=3)
    rest = await ledger.page("receipt:", after=first[-1].key, limit=3)

    assert [row.key for row in (*first, *rest)] == ["receipt:B", "receipt:a%3Ab", "receipt:b", "receipt:ä"]
    assert await ledger.page("receipt:", after="receipt:ä") == []


async def test_unknown_key_has_no_row(ledger: Ledger) -> None:
    """A key nobody claimed has no row."""
    assert await ledger.get("k") is None


@pytest.mark.parametrize("state", EVERY_STATE)
async def test_purge_takes_settled_rows_only(ledger: Ledger, state: State) -> None:
    """When its time is over a settled row goes; what is claimed, unknown or being undone stays."""
    await bring_to(ledger, state)

    gone = await ledger.purge(at(86_400))

    assert gone == (1 if state in SETTLED_STATES else 0)
    assert (await ledger.get("k") is None) == (state in SETTLED_STATES)


async def test_purge_spares_what_is_not_over(ledger: Ledger) -> None:
    """A row stays until its time has come, and for ever when it has none."""
    for key, expires in [("soon", 10.0), ("late", 11.0), ("never", None)]:
        await ledger.apply(undo(key, expires=expires))

    assert await ledger.purge(at(10)) == 1
    assert await ledger.get("soon") is None
    assert await ledger.get("late") is not None
    assert await ledger.get("never") is not None


async def test_retention_grows_with_a_later_attempt(ledger: Ledger) -> None:
    """A row that is claimed again is kept as long as its latest attempt asks for."""
    await ledger.apply(claim(expires=100))
    await ledger.apply(release())
    await ledger.apply(claim(owner="b", now=90, expires=190))
    await ledger.apply(complete(owner="b", now=91))

    assert await ledger.purge(at(100)) == 0
    assert await ledger.purge(at(190)) == 1


async def test_opening_and_closing_twice_is_harmless(ledger: Ledger) -> None:
    """Opening an open ledger keeps its rows; closing a closed one does nothing."""
    await ledger.apply(claim())

    await ledger.open()
    assert await ledger.get("k") is not None
    await ledger.close()
    await ledger.close()
    await ledger.open()

    assert await ledger.get("k") is not None
