"""Classification, caps per kind, and how long to wait before the next attempt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationErrorCategory

from kit.contract import DEFAULT_RETRY, Breaker, Effect, FailureKind, Outcome, RateLimit, Retry
from kit.errors import LedgerUnavailable, NotStarted, OperationFailure, OutcomeUnknown, Refused
from kit.worker.attempt import LOST as LOST_COUNT
from kit.worker.attempt import Attempt
from kit.worker.failures import MAX_RETRY_AFTER, Waiting, application_error, classify, ledger_down, retry_after
from tests.worker.world import (
    BUG,
    CRASH_BEFORE,
    EPOCH,
    KEY,
    KEY_PROBE,
    LOST,
    NEVER,
    OK,
    PROBE,
    TIMEOUT,
    UNSENT,
    VANISHED,
    Crash,
    Failure,
    Fault,
    Provider,
    Receipt,
    Strategy,
    World,
    bank,
    dependency,
    http_error,
    lease_over,
)

VIRTUAL_TIME = True

KINDS = sorted(FailureKind)


# --- from an exception to a failure -----------------------------------------------------------------------------------


def _classify(error: Exception, says: OperationFailure | Exception | None = None) -> OperationFailure:
    operation, connector = bank(
        Provider(remembers=timedelta(0)),
        once=KEY.once,
        effect=Effect.COMPENSATABLE,
        probe=False,
        dependency=dependency(),
    )
    connector.says = says
    return classify(connector, operation, error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (http_error(402), (Refused, FailureKind.DECLINED, "http_402")),
        (http_error(503), (OutcomeUnknown, FailureKind.UNAVAILABLE, "http_503")),
        (http_error(429), (NotStarted, FailureKind.RATE_LIMITED, "http_429")),
        (httpx.ConnectError("no"), (NotStarted, FailureKind.UNAVAILABLE, "unavailable")),
        (httpx.ReadTimeout("no"), (OutcomeUnknown, FailureKind.TIMEOUT, "timeout")),
        (ZeroDivisionError(), (OutcomeUnknown, FailureKind.BUG, "ZeroDivisionError")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_map_decides(error: Exception, expected: tuple[type, FailureKind, str]) -> None:
    """An exception becomes the kind and outcome that the dependency's failure map gives it, with a reason code."""
    failure = _classify(error)

    assert (type(failure), failure.kind, failure.reason) == expected


def test_message_names_the_exception() -> None:
    """The failure's message begins with the exception's class, also when the exception says nothing."""
    assert str(_classify(ZeroDivisionError())) == "ZeroDivisionError"
    assert str(_classify(httpx.ConnectError("no route"))) == "ConnectError: no route"


def test_connectors_own_word_wins() -> None:
    """What the connector says about an error comes before the failure map."""
    own = Refused(FailureKind.CONFLICT, "in use", reason="in_use")

    assert _classify(http_error(402), says=own) is own


def test_failure_that_a_connector_raises_is_taken_as_it_is() -> None:
    """A connector may raise a classified failure itself."""
    own = NotStarted(FailureKind.HELD, "switched off")

    assert _classify(own) is own


def test_classifier_that_fails_is_a_bug_in_doubt() -> None:
    """A connector whose `classify` raises does not hide that the outcome is unknown."""
    failure = _classify(http_error(402), says=ZeroDivisionError("oops"))

    assert (type(failure), failure.kind, failure.reason) == (OutcomeUnknown, FailureKind.BUG, "classify_failed")
    assert "oops" in str(failure)
    assert "402" in str(failure)


async def test_classifier_that_fails_writes_the_doubt() -> None:
    """The row does not stay claimed when a connector cannot read its own error."""
    world = World(KEY).fault("charge", LOST)
    world.connector.says = ZeroDivisionError("oops")

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome) == (FailureKind.BUG, Outcome.UNKNOWN)
    assert await world.state() == "unknown"


def test_unavailable_ledger_started_nothing() -> None:
    """Without the ledger nothing is done."""
    failure = ledger_down(LedgerUnavailable("gone"))

    assert (type(failure), failure.kind) == (NotStarted, FailureKind.UNAVAILABLE)


# --- Retry-After ------------------------------------------------------------------------------------------------------


def test_retry_after_in_seconds() -> None:
    """Seconds are taken as they are."""
    assert retry_after(http_error(429, {"Retry-After": "7"})) == timedelta(seconds=7)


def test_retry_after_as_a_date_is_read_on_the_senders_clock() -> None:
    """A date counts from the response's own Date, so that a wrong clock here does not matter."""
    headers = {
        "Date": format_datetime(EPOCH, usegmt=True),
        "Retry-After": format_datetime(EPOCH + timedelta(seconds=90), usegmt=True),
    }

    assert retry_after(http_error(503, headers)) == timedelta(seconds=90)


def test_retry_after_as_a_date_without_a_zone_is_utc() -> None:
    """An HTTP date is UTC whether it says so or not."""
    headers = {"Date": "Thu, 01 Jan 2026 00:00:00", "Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}

    assert retry_after(http_error(503, headers)) == timedelta(seconds=30)


def test_retry_after_as_a_date_without_a_sender_clock_uses_ours() -> None:
    """Without a Date header, a date long past means at once and one far away the longest wait there is."""
    past = format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True)
    future = format_datetime(datetime(9000, 1, 1, tzinfo=UTC), usegmt=True)

    assert retry_after(http_error(503, {"Retry-After": past})) == timedelta(0)
    assert retry_after(http_error(503, {"Retry-After": future})) == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("value", "wait"),
    [("-5", timedelta(0)), ("999999", MAX_RETRY_AFTER), ("inf", None), ("nan", None), ("", None), ("soon", None)],
)
def test_retry_after_stays_within_bounds(value: str, wait: timedelta | None) -> None:
    """Neither a negative nor an absurd wait is obeyed, and what cannot be read is no wish."""
    assert retry_after(http_error(429, {"Retry-After": value})) == wait


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_retry_after_never_raises(value: str) -> None:
    """Whatever a provider writes there, reading it raises nothing and gives no or a bounded wait."""
    wait = retry_after(http_error(429, {"Retry-After": value}))

    assert wait is None or timedelta(0) <= wait <= MAX_RETRY_AFTER


def test_connectors_own_wish_wins() -> None:
    """A wait that the connector read itself is not overruled by a header."""
    own = NotStarted(FailureKind.RATE_LIMITED, "slow down", retry_after=timedelta(seconds=3))

    assert _classify(http_error(429, {"Retry-After": "60"}), says=own).retry_after == timedelta(seconds=3)


def test_errors_without_a_response_ask_for_nothing() -> None:
    """There is no wish where there is no response."""
    assert retry_after(ValueError()) is None


async def test_retry_after_is_obeyed() -> None:
    """The next attempt comes no sooner than the provider asked."""
    world = World(KEY).fault("charge", Fault(before=http_error(429, {"Retry-After": "40"})))

    assert (await world.fails(world.act())).delay >= timedelta(seconds=40)


# --- the error that Temporal sees -------------------------------------------------------------------------------------


def _error(
    failure: OperationFailure,
    *,
    counts: dict[str, int] | None = None,
    number: int | None = None,
    persistent: bool = False,
    retry: dict[FailureKind, Retry] | None = None,
    key: str = "",
) -> Failure:
    operation, _ = bank(
        Provider(remembers=timedelta(0)),
        once=KEY.once,
        effect=Effect.COMPENSATABLE,
        probe=False,
        dependency=dependency(retry=retry),
    )
    counts = dict(counts or {})
    number = number or sum(counts.values()) + 1
    attempt = Attempt(number=number, started_at=EPOCH, timeout=TIMEOUT, counts=counts)
    error = application_error(operation, failure, attempt, outcome=failure.outcome, persistent=persistent, key=key)
    return Failure.of(error)


@pytest.mark.parametrize("kind", KINDS)
def test_type_is_dependency_and_kind(kind: FailureKind) -> None:
    """The error's type is the dependency and the kind, for every kind."""
    assert _error(OutcomeUnknown(kind, "x")).type == f"bank.{kind.value}"


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_of_one_kind_are_capped(kind: FailureKind) -> None:
    """The last attempt that a kind's rule allows is permanent, and none before it."""
    cap = DEFAULT_RETRY[kind].attempts
    last = 1000 if cap is None else cap

    assert _error(NotStarted(kind, "x"), counts={kind.value: last - 1}).permanent is (cap is not None)
    if last > 1:
        assert not _error(NotStarted(kind, "x"), counts={kind.value: last - 2}).permanent


@pytest.mark.parametrize("kind", KINDS)
def test_persistent_attempts_end_only_for_what_does_not_pass(kind: FailureKind) -> None:
    """Where the saga cannot turn round, what passes by itself has no cap; everything else keeps its own."""
    passes = kind in {
        FailureKind.TIMEOUT,
        FailureKind.UNAVAILABLE,
        FailureKind.RATE_LIMITED,
        FailureKind.CIRCUIT_OPEN,
        FailureKind.HELD,
    }

    assert _error(NotStarted(kind, "x"), counts={kind.value: 1000}, persistent=True).permanent is not passes


def test_caps_of_different_kinds_do_not_add_up() -> None:
    """Nine timeouts of the network do not use up the caps of a rate limit."""
    counts = {"unavailable": 9, "timeout": 4, "conflict": 4}

    assert not _error(NotStarted(FailureKind.RATE_LIMITED, "x"), counts=counts).permanent


def test_waiting_costs_no_cap() -> None:
    """Waiting for a lease or the settle time is no failure."""
    waiting = Waiting(FailureKind.TIMEOUT, "not yet", retry_after=timedelta(seconds=3))

    failure = _error(waiting, counts={"waiting": 1000, "timeout": 4})

    assert (failure.permanent, failure.delay) == (False, timedelta(seconds=3))


def test_permanent_bug_needs_a_person() -> None:
    """Nobody knows what an unclassified exception left: who retries or undoes it blindly may make it worse."""
    failure = _error(OutcomeUnknown(FailureKind.BUG, "x"), counts={"bug": 2})

    assert (failure.permanent, failure.needs_person) == (True, True)


def test_permanent_failure_with_a_known_kind_needs_nobody() -> None:
    """A terminal refusal is the saga's business, not a person's."""
    failure = _error(Refused(FailureKind.DECLINED, "x"))

    assert (failure.permanent, failure.needs_person) == (True, False)


def test_only_bugs_alarm_the_worker() -> None:
    """Expected failures are benign in Temporal's own logs and metrics; a bug is not."""
    bug = _error(OutcomeUnknown(FailureKind.BUG, "x")).error
    refusal = _error(Refused(FailureKind.DECLINED, "x")).error

    assert (bug.category, refusal.category) == (
        ApplicationErrorCategory.UNSPECIFIED,
        ApplicationErrorCategory.BENIGN,
    )


def test_message_says_what_is_left_behind() -> None:
    """A person reads what failed, why, and what it left."""
    error = _error(OutcomeUnknown(FailureKind.TIMEOUT, "no answer within 9.0 s")).error

    assert error.message == "bank.pay: no answer within 9.0 s (timeout). It may have happened."


# --- jitter -----------------------------------------------------------------------------------------------------------


@given(
    failures=st.integers(1, 100),
    base=st.integers(1, 10_000),
    factor=st.integers(1, 1000),
    asked=st.none() | st.integers(0, 10_000),
)
def test_wait_has_full_jitter_below_its_ceiling(failures: int, base: int, factor: int, asked: int | None) -> None:
    """The wait lies between nothing and the doubled base up to the cap, or is what the provider asked for."""
    rule = Retry(attempts=None, base=timedelta(milliseconds=base), cap=timedelta(milliseconds=base * factor))
    ceiling = min(rule.cap, rule.base * 2 ** min(failures - 1, 32))
    wish = None if asked is None else timedelta(milliseconds=asked)

    failure = _error(
        NotStarted(FailureKind.UNAVAILABLE, "x", retry_after=wish),
        counts={"unavailable": failures - 1},
        retry={FailureKind.UNAVAILABLE: rule},
    )

    assert timedelta(milliseconds=1) <= failure.delay <= max(ceiling, wish or ceiling, timedelta(milliseconds=1))
    assert failure.delay >= (wish or timedelta(0))


def test_jitter_is_full() -> None:
    """The waits of many callers spread over the whole interval, not around its end."""
    counts = {"unavailable": 5}
    waits = [_error(NotStarted(FailureKind.UNAVAILABLE, "x"), counts=counts, key=f"pay:{n}").delay for n in range(300)]

    assert min(waits) < timedelta(seconds=8)
    assert timedelta(seconds=24) < max(waits) <= timedelta(seconds=32)
    assert len(set(waits)) > 250


# --- counts go from attempt to attempt --------------------------------------------------------------------------------


async def test_counts_reach_the_next_attempt() -> None:
    """What failed, and how often, is handed on in the heartbeat details."""
    world = World(KEY).fault("charge", UNSENT, LOST, UNSENT, BUG)
    for _ in range(4):
        await world.fails(world.act())

    assert world.counts["o-1", "action"] == {"unavailable": 2, "timeout": 1, "bug": 1}


async def test_last_attempt_hands_nothing_on() -> None:
    """There is no next attempt after a permanent failure."""
    world = World(KEY).fault("charge", Fault(before=http_error(402)))
    await world.fails(world.act())

    assert world.counts == {}


async def test_unclassified_exception_has_three_attempts() -> None:
    """A bug is tried three times, in doubt each time, and then put to a person."""
    world = World(PROBE, dependency=dependency(settle=timedelta(0))).fault("charge", BUG, BUG, BUG)

    failures = [await world.fails(world.act()) for _ in range(3)]

    assert [failure.permanent for failure in failures] == [False, False, True]
    assert {(failure.kind, failure.outcome, failure.reason) for failure in failures} == {
        (FailureKind.BUG, Outcome.UNKNOWN, "KeyError")
    }
    assert failures[-1].needs_person


async def test_lost_attempts_count_as_timeouts() -> None:
    """An attempt that kills its worker every time is given up after the attempts of a timeout, and nothing is sent."""
    world = World(PROBE, dependency=dependency(settle=timedelta(0))).fault("charge", *[CRASH_BEFORE] * 10)
    for _ in range(5):
        with pytest.raises(Crash):
            await world.act()
        await lease_over()

    failure = await world.fails(world.act())

    assert (failure.kind, failure.outcome, failure.reason) == (FailureKind.TIMEOUT, Outcome.UNKNOWN, "lost")
    assert failure.permanent
    assert world.provider.calls["charge"] == 5


async def test_attempts_of_stopping_workers_are_not_lost() -> None:
    """However often its worker is stopped under it, an action is not given up: only the dead count as lost."""
    world = World(PROBE, dependency=dependency(settle=timedelta(0))).fault("charge", *[Fault(wait=60)] * 10)
    for _ in range(10):
        task = asyncio.ensure_future(world.act())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await world.act() == Receipt(charge="ch_1")
    assert world.counts["o-1", "action"] == {"waiting": 10}


async def test_stopped_undo_does_not_count_as_lost() -> None:
    """An undo whose worker is stopped hands on that it was stopped, beside what failed before."""
    world = World(KEY)
    await world.act()
    await world.fails(world.fault("void", UNSENT).undo())
    task = asyncio.ensure_future(world.fault("void", Fault(hang=60)).undo())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert world.attempt("o-1", "undo").counts == {"unavailable": 1, "waiting": 1}


async def test_lost_and_slow_attempts_count_together() -> None:
    """Two lost workers and three timeouts are five attempts that ran into their time."""
    attempt = Attempt(number=5, started_at=EPOCH, timeout=TIMEOUT, counts={"timeout": 2})

    assert attempt.counts == {"timeout": 2, LOST_COUNT: 2}
    assert _error(OutcomeUnknown(FailureKind.TIMEOUT, "x"), counts={"timeout": 2}, number=5).permanent


async def test_lost_attempts_of_a_persistent_step_go_on() -> None:
    """Past the point of return a step whose worker keeps dying is tried on."""
    world = World(PROBE, dependency=dependency(settle=timedelta(0)), persistent=True)
    world.fault("charge", *[CRASH_BEFORE] * 10)
    for _ in range(10):
        with pytest.raises(Crash):
            await world.act()
        await lease_over()

    assert (await world.act()).charge == "ch_1"


async def test_lost_read_left_nothing_behind() -> None:
    """A READ that kills its worker every time ends without an outcome to settle."""
    world = World(effect=Effect.READ).fault("charge", *[CRASH_BEFORE] * 5)
    for _ in range(5):
        with pytest.raises(Crash):
            await world.act()

    failure = await world.fails(world.act())

    assert (failure.outcome, failure.reason) == (Outcome.REFUSED, "lost")


async def test_open_circuit_costs_no_cap() -> None:
    """Attempts that an open circuit turns away are never the last, started nothing, and free the row."""
    world = World(KEY, dependency=dependency(breaker=Breaker(failures=1, reset=timedelta(hours=1))))
    await world.fails(world.fault("charge", UNSENT).act())

    failures = [await world.fails(world.act()) for _ in range(50)]

    assert {(f.kind, f.outcome, f.permanent) for f in failures} == {
        (FailureKind.CIRCUIT_OPEN, Outcome.NOT_STARTED, False)
    }
    assert world.provider.calls["charge"] == 1
    assert await world.state() == "refused"


async def test_circuit_closes_when_the_trial_succeeds() -> None:
    """After the reset one attempt is let through, and its success lets the others through again."""
    world = World(KEY, dependency=dependency(breaker=Breaker(failures=2, reset=timedelta(seconds=15))))
    world.fault("charge", UNSENT, LOST)
    await world.fails(world.act("a"))
    await world.fails(world.act("b"))
    turned_away = await world.fails(world.act("c"))
    await asyncio.sleep(turned_away.delay.total_seconds())

    await world.act("c")

    assert turned_away.kind is FailureKind.CIRCUIT_OPEN
    assert turned_away.delay >= timedelta(seconds=14.9)
    assert await world.act("d")


async def test_cancelled_trial_leaves_room_for_another() -> None:
    """A worker that shuts down during the trial does not keep the circuit shut for the others."""
    world = World(KEY, dependency=dependency(breaker=Breaker(failures=1, reset=timedelta(seconds=15))))
    await world.fails(world.fault("charge", UNSENT).act("a"))
    await asyncio.sleep(15)
    trial = asyncio.ensure_future(world.fault("charge", Fault(hang=60)).act("b"))
    await asyncio.sleep(1)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial

    assert await world.act("c")


async def test_local_rate_limit_has_no_patience_beyond_half_the_time() -> None:
    """An attempt that would wait longer than half of what it has left gives its place up, having started nothing."""
    world = World(KEY, dependency=dependency(limit=RateLimit(calls=1, per=timedelta(seconds=4))))
    waits = [asyncio.ensure_future(world.act(order)) for order in ("a", "b")]
    await asyncio.sleep(0.5)

    failure = await world.fails(world.act("c"))

    assert (failure.kind, failure.outcome, failure.reason) == (
        FailureKind.RATE_LIMITED,
        Outcome.NOT_STARTED,
        "local_limit",
    )
    assert failure.delay >= timedelta(seconds=7.4)
    assert [(await wait).charge for wait in waits] == ["ch_1", "ch_2"]


async def test_local_rate_limit_is_no_answer_of_the_dependency() -> None:
    """A place that was not to be had does not close a circuit that counts failures."""
    limit = RateLimit(calls=1, per=timedelta(seconds=8))
    world = World(KEY, dependency=dependency(limit=limit, breaker=Breaker(failures=2)))
    await world.fails(world.fault("charge", UNSENT).act("a"))
    assert (await world.fails(world.act("b"))).reason == "local_limit"
    await asyncio.sleep(8)
    await world.fails(world.fault("charge", UNSENT).act("c"))
    await asyncio.sleep(8)

    assert (await world.fails(world.act("d"))).kind is FailureKind.CIRCUIT_OPEN


# --- exactly where a machine cannot know ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [KEY, KEY_PROBE, PROBE], ids=str)
@pytest.mark.parametrize("fault", [OK, UNSENT, LOST, VANISHED], ids=["ok", "unsent", "lost", "vanished"])
async def test_no_person_is_asked_where_a_machine_can_find_out(strategy: Strategy, fault: Fault) -> None:
    """A timeout under a key or with a look-up parks nothing, even when it is the last attempt."""
    world = World(strategy).fault("charge", *[fault] * 10)

    end = await world.drive(world.act)

    assert not (isinstance(end, Failure) and end.needs_person)


async def test_never_twice_that_was_refused_needs_nobody() -> None:
    """A clean refusal is clean whatever the strategy."""
    world = World(NEVER).fault("charge", Fault(before=http_error(402)))

    assert not (await world.fails(world.act())).needs_person
