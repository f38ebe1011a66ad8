"""What is said about an external system, and how often it may be asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.contract import DEFAULT_RETRY, TRANSIENT, Breaker, Dependency, Effect, FailureKind, Once, RateLimit, Retry
from kit.errors import DefinitionError

SECOND = timedelta(seconds=1)


def _build(**changes: Any) -> Dependency:
    given: dict[str, Any] = {"name": "bank", "owner": "bank-team", "settle": SECOND}
    return Dependency(**{**given, **changes})


@pytest.mark.parametrize("name", ["", "Bank", "big bank", "2bank", "bank.pay", "bank\n"])
def test_a_dependency_needs_a_name(name: str) -> None:
    """The name becomes the first half of failure types, and a metric label."""
    with pytest.raises(DefinitionError) as raised:
        _build(name=name)

    assert str(raised.value) == (
        f"dependency {name!r}: its name must be lower case letters, digits and underscores. "
        "Fix: use a short system name such as 'payments'."
    )


def test_a_dependency_needs_an_owner() -> None:
    """Somebody is asked when it fails."""
    with pytest.raises(DefinitionError) as raised:
        _build(owner=" ")

    assert str(raised.value) == "dependency 'bank': owner=' ' is empty. Fix: name the team that is asked."


def test_a_settle_time_is_not_negative() -> None:
    """Zero is a statement about the provider; less than zero is none."""
    assert _build(settle=timedelta(0)).settle == timedelta(0)
    with pytest.raises(DefinitionError) as raised:
        _build(settle=-SECOND)

    assert str(raised.value) == (
        "dependency 'bank': settle=datetime.timedelta(days=-1, seconds=86399) is negative. "
        "Fix: give how late an accepted request can still take effect, or timedelta(0)."
    )


def test_a_settle_time_has_no_default() -> None:
    """The dangerous parameter has no default."""
    with pytest.raises(TypeError, match="settle"):
        Dependency(name="bank", owner="bank-team")  # type: ignore[call-arg]  # what the test is about


def test_retry_rules_are_completed() -> None:
    """Rules that are not given are the default ones, and the whole table is read-only."""
    bank = _build(retry={FailureKind.TIMEOUT: Retry(attempts=1)})

    assert dict(bank.retry) == {**DEFAULT_RETRY, FailureKind.TIMEOUT: Retry(attempts=1)}
    with pytest.raises(TypeError):
        bank.retry[FailureKind.TIMEOUT] = Retry(attempts=2)  # type: ignore[index]  # what the test is about


def test_every_kind_has_a_rule() -> None:
    """No kind of failure falls through."""
    assert set(DEFAULT_RETRY) == set(FailureKind)
    assert set(FailureKind) >= TRANSIENT


@pytest.mark.parametrize(("failures", "reset"), [(0, SECOND), (1, timedelta(0))])
def test_a_breaker_that_cannot_work_is_refused(failures: int, reset: timedelta) -> None:
    """A circuit that is always open, or never, is no breaker."""
    with pytest.raises(DefinitionError) as raised:
        Breaker(failures=failures, reset=reset)

    assert str(raised.value) == (
        f"Breaker: failures={failures!r} must be at least 1 and reset={reset!r} positive. "
        "Fix: use for example Breaker(failures=10, reset=timedelta(seconds=15)), or breaker=None for none."
    )


@pytest.mark.parametrize(("calls", "per"), [(0, SECOND), (1, timedelta(0))])
def test_a_rate_limit_that_cannot_work_is_refused(calls: int, per: timedelta) -> None:
    """A limit of nothing would stop every call."""
    with pytest.raises(DefinitionError) as raised:
        RateLimit(calls=calls, per=per)

    assert str(raised.value) == (
        f"RateLimit: calls={calls!r} must be at least 1 and per={per!r} positive. "
        "Fix: use for example RateLimit(calls=50), or limit=None for none."
    )


def test_limits_have_working_defaults() -> None:
    """A breaker needs no numbers, a rate limit only one."""
    assert (Breaker().failures, Breaker().reset) == (10, timedelta(seconds=15))
    assert RateLimit(calls=50).per == SECOND


# -- retry ---------------------------------------------------------------------------------------------------------


def test_no_attempt_is_refused() -> None:
    """An operation is attempted at least once."""
    with pytest.raises(DefinitionError) as raised:
        Retry(attempts=0)

    assert str(raised.value) == "Retry: attempts=0 must be at least 1. Fix: use 1 for a terminal failure."


@pytest.mark.parametrize(("base", "cap"), [(timedelta(0), SECOND), (2 * SECOND, SECOND)])
def test_waits_that_cannot_grow_are_refused(base: timedelta, cap: timedelta) -> None:
    """The first wait is positive, and the longest is not below it."""
    with pytest.raises(DefinitionError) as raised:
        Retry(attempts=1, base=base, cap=cap)

    assert str(raised.value) == (
        f"Retry: base={base!r} and cap={cap!r} must satisfy 0 < base <= cap. "
        "Fix: give a positive base and a cap that is not below it."
    )


def test_attempts_run_out() -> None:
    """The cap counts failures of one kind; without one they never run out."""
    assert [Retry(attempts=2).exhausted(n) for n in (1, 2, 3)] == [False, True, True]
    assert not Retry(attempts=None).exhausted(10**9)


def test_waits_double_up_to_the_cap() -> None:
    """1, 2, 4, ... and never more than the cap."""
    rule = Retry(attempts=None, base=SECOND, cap=timedelta(seconds=5))

    assert [rule.ceiling(n).total_seconds() for n in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


@given(st.integers(min_value=1, max_value=10**6), st.timedeltas(min_value=timedelta(microseconds=1)))
def test_waits_never_shrink_nor_overflow(failures: int, cap: timedelta) -> None:
    """However often something fails, the longest wait grows or stays, and stays below the cap."""
    rule = Retry(attempts=None, base=min(SECOND, cap), cap=cap)

    assert rule.base <= rule.ceiling(failures) <= rule.ceiling(failures + 1) <= cap


# -- effects -------------------------------------------------------------------------------------------------------


def test_two_effects_are_undoable() -> None:
    """A compensation belongs to what can be taken back or made good."""
    assert [effect for effect in Effect if effect.undoable] == [Effect.REVERSIBLE, Effect.COMPENSATABLE]


@pytest.mark.parametrize("ttl", [timedelta(0), -SECOND])
def test_a_key_that_is_forgotten_at_once_is_refused(ttl: timedelta) -> None:
    """BY_KEY says for how long the provider remembers."""
    with pytest.raises(DefinitionError) as raised:
        Once.by_key(ttl=ttl)

    assert str(raised.value) == (
        f"Once.by_key: ttl={ttl!r} must be positive. "
        "Fix: give the time the provider documents for its idempotency keys, e.g. timedelta(hours=24)."
    )


def test_only_by_key_has_a_time_to_live() -> None:
    """The other strategies have nothing that expires."""
    others = [Once.by_probe(), Once.by_state(), Once.by_transaction(), Once.never_twice()]

    assert [(once.strategy.value, once.ttl) for once in others] == [
        ("by_probe", None),
        ("by_state", None),
        ("by_transaction", None),
        ("never_twice", None),
    ]
