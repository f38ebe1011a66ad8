"""Circuit breaker and rate limit: on a clock of their own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.contract import Breaker, FailureKind, RateLimit
from kit.errors import NotStarted, OperationFailure, OutcomeUnknown, Refused
from kit.worker.breaker import CircuitBreaker
from kit.worker.gates import Gate
from kit.worker.limits import RateLimiter
from tests.worker.world import CRASH_BEFORE, KEY, LOST, Crash, World, clock, dependency

VIRTUAL_TIME = True

RESET = timedelta(seconds=15)
DOWN = OutcomeUnknown(FailureKind.UNAVAILABLE, "down")


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def ticking() -> Clock:
    """A clock that stands still."""
    return Clock()


def _breaker(ticking: Clock, failures: int = 3) -> CircuitBreaker:
    return CircuitBreaker("bank", Breaker(failures=failures, reset=RESET), clock=ticking)


# --- breaker ----------------------------------------------------------------------------------------------------------


def test_circuit_opens_after_failures_in_a_row(ticking: Clock) -> None:
    """The last of so many failures in a row opens it, once."""
    breaker = _breaker(ticking)

    assert [breaker.failed() for _ in range(4)] == [False, False, True, False]
    assert breaker.is_open


def test_success_in_between_starts_the_count_anew(ticking: Clock) -> None:
    """Failures that are not in a row do not open it."""
    breaker = _breaker(ticking)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()

    assert not breaker.is_open


def test_open_circuit_says_when_it_will_be_tried(ticking: Clock) -> None:
    """What is turned away learns how long to wait."""
    breaker = _breaker(ticking, failures=1)
    breaker.failed()
    ticking.seconds += 5

    with pytest.raises(NotStarted, match="the circuit of bank is open after 1 failures in a row") as caught:
        breaker.enter()

    assert (caught.value.kind, caught.value.retry_after) == (FailureKind.CIRCUIT_OPEN, timedelta(seconds=10))


def test_one_trial_is_let_through_after_the_reset(ticking: Clock) -> None:
    """Half-open lets exactly one attempt in; the others come back a moment later."""
    breaker = _breaker(ticking, failures=1)
    breaker.failed()
    ticking.seconds += 15

    breaker.enter()

    with pytest.raises(NotStarted) as caught:
        breaker.enter()
    assert caught.value.retry_after == timedelta(seconds=0.1)


def test_trial_that_succeeds_closes(ticking: Clock) -> None:
    """The dependency is back: everybody may enter."""
    breaker = _breaker(ticking, failures=1)
    breaker.failed()
    ticking.seconds += 15
    breaker.enter()

    assert breaker.succeeded() is True
    breaker.enter()
    breaker.enter()
    assert breaker.succeeded() is False


def test_trial_that_fails_opens_for_another_reset(ticking: Clock) -> None:
    """One failure is enough now, and the wait begins again."""
    breaker = _breaker(ticking, failures=3)
    for _ in range(3):
        breaker.failed()
    ticking.seconds += 15
    breaker.enter()

    assert breaker.failed() is False
    ticking.seconds += 14
    with pytest.raises(NotStarted):
        breaker.enter()
    ticking.seconds += 1
    breaker.enter()


def test_trial_that_tells_nothing_makes_room_for_another(ticking: Clock) -> None:
    """A trial that was cancelled does not keep the circuit half-open for ever."""
    breaker = _breaker(ticking, failures=1)
    breaker.failed()
    ticking.seconds += 15
    breaker.enter()

    breaker.abandoned()

    breaker.enter()


# --- gate -------------------------------------------------------------------------------------------------------------


def _gate(failures: int = 2, limit: RateLimit | None = None) -> Gate:
    return Gate(dependency(breaker=Breaker(failures=failures, reset=RESET), limit=limit), clock=clock)


@pytest.mark.parametrize(
    "failure",
    [
        Refused(FailureKind.DECLINED, "no"),
        Refused(FailureKind.CONFLICT, "no"),
        NotStarted(FailureKind.RATE_LIMITED, "slow down"),
    ],
    ids=lambda failure: failure.kind.value,
)
async def test_refusal_is_an_answer(failure: OperationFailure) -> None:
    """A dependency that refuses is not down."""
    gate = _gate()
    gate.failed(DOWN)
    gate.failed(failure)
    gate.failed(DOWN)

    await gate.enter(patience=timedelta(0))


@pytest.mark.parametrize(
    "failure",
    [OutcomeUnknown(FailureKind.BUG, "KeyError"), NotStarted(FailureKind.INVALID, "malformed URL")],
    ids=lambda failure: failure.kind.value,
)
async def test_failure_of_our_own_is_no_answer(failure: OperationFailure) -> None:
    """A bug here says nothing about the dependency: it neither counts nor clears the count."""
    gate = _gate()
    gate.failed(DOWN)
    gate.failed(failure)
    gate.failed(DOWN)

    with pytest.raises(NotStarted):
        await gate.enter(patience=timedelta(0))


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.UNAVAILABLE])
async def test_silence_opens_the_circuit(kind: FailureKind) -> None:
    """Timeouts and unavailability count, and the one that opens it says so."""
    gate = _gate()

    assert [gate.failed(OutcomeUnknown(kind, "x")) for _ in range(3)] == [False, True, False]


async def test_trial_that_meets_a_bug_leaves_the_circuit_half_open() -> None:
    """After a trial that told nothing the next attempt is the trial."""
    gate = _gate(failures=1)
    gate.failed(DOWN)
    await asyncio.sleep(15)
    await gate.enter(patience=timedelta(0))

    gate.failed(OutcomeUnknown(FailureKind.BUG, "KeyError"))

    await gate.enter(patience=timedelta(0))
    assert gate.answered() is True


async def test_gate_without_breaker_and_limit_is_open() -> None:
    """What is switched off stops nobody."""
    gate = Gate(dependency())

    assert gate.failed(DOWN) is False
    assert gate.answered() is False
    gate.abandoned()
    await gate.enter(patience=timedelta(0))


async def test_limit_is_waited_for() -> None:
    """An attempt waits for its place as long as its patience allows, and then enters."""
    gate = _gate(limit=RateLimit(calls=1, per=timedelta(seconds=2)))
    await gate.enter(patience=timedelta(0))
    began = clock()

    await gate.enter(patience=timedelta(seconds=2))

    assert clock() - began == pytest.approx(2)


async def test_limit_beyond_patience_says_when_to_come_back() -> None:
    """Who would have to wait too long is told how long, and takes no place."""
    gate = _gate(limit=RateLimit(calls=1, per=timedelta(seconds=2)))
    await gate.enter(patience=timedelta(0))

    for _ in range(3):
        with pytest.raises(NotStarted, match="the local rate limit of bank") as caught:
            await gate.enter(patience=timedelta(seconds=1))
        assert (caught.value.kind, caught.value.reason) == (FailureKind.RATE_LIMITED, "local_limit")
        assert caught.value.retry_after == timedelta(seconds=2)


async def test_attempt_that_dies_does_not_keep_the_circuit_half_open() -> None:
    """The trial call of an attempt that dies gives its place to the next one."""
    world = World(KEY, dependency=dependency(breaker=Breaker(failures=1, reset=RESET)))
    world.fault("charge", LOST, CRASH_BEFORE)
    await world.fails(world.act())
    await asyncio.sleep(RESET.total_seconds())
    with pytest.raises(Crash):
        await world.act()
    await asyncio.sleep(RESET.total_seconds())

    await world.act()

    assert world.provider.calls == {"charge": 3}


# --- limiter ----------------------------------------------------------------------------------------------------------


def test_burst_is_as_large_as_the_calls(ticking: Clock) -> None:
    """So many calls go at once after a rest, and the next waits its turn."""
    limiter = RateLimiter(RateLimit(calls=4), clock=ticking)
    ticking.seconds += 60

    waits = [limiter.reserve(patience=10) for _ in range(6)]

    assert waits == [0, 0, 0, 0, pytest.approx(0.25), pytest.approx(0.5)]
    assert limiter.wait == pytest.approx(0.75)


@given(
    calls=st.integers(1, 20),
    per=st.floats(0.1, 10),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_every_span_stays_within_one_burst_and_the_rate(calls: int, per: float, gaps: list[float]) -> None:
    """Over any span the calls let through stay within one burst and the rate, however they arrive."""
    ticking = Clock()
    limiter = RateLimiter(RateLimit(calls=calls, per=timedelta(seconds=per)), clock=ticking)
    at: list[float] = []
    for gap in gaps:
        ticking.seconds += gap
        wait = limiter.reserve(patience=1.0)
        if wait is not None:
            assert wait <= 1.0
            at.append(ticking.seconds + wait)

    rate = calls / timedelta(seconds=per).total_seconds()
    for first in range(len(at)):
        for last in range(first, len(at)):
            assert last - first + 1 <= calls + rate * (at[last] - at[first]) + 1e-6
