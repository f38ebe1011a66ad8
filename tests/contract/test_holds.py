"""What a hold stops, as pure data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from kit.contract import (
    Asking,
    Dependency,
    Effect,
    Hold,
    HoldFails,
    HoldGate,
    HoldScope,
    Model,
    Once,
    Operation,
    stops,
    stops_start,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BANK = Dependency(name="bank", owner="money", settle=timedelta(0))


class Ask(Model):
    """Who asks."""

    id: str


def operation(name: str = "bank.pay", effect: Effect = Effect.COMPENSATABLE, **more: Any) -> Operation[Any, Any]:
    """An operation of the bank."""
    reads = effect is Effect.READ
    return Operation(
        name,
        Ask,
        Ask,
        dependency=BANK,
        effect=effect,
        once=None if reads else Once.by_state(),
        key=None if reads else name + ":{id}",
        timeout=timedelta(seconds=1),
        **more,
    )


PAY = operation()


def hold(scope: HoldScope = HoldScope.OPERATION, name: str = "bank.pay", **terms: Any) -> Hold:
    """A hold that is on."""
    return Hold(scope=scope, name=name, reason="why", who="ada", since=NOW, **terms)


def asking(operation: Operation[Any, Any] = PAY, **more: Any) -> Asking:
    """An attempt of a run of ``Shop``, of the tenant ``acme``."""
    return Asking(operation=operation, **{"workflow_type": "Shop", "tenant": "acme", **more})


@pytest.mark.parametrize(
    ("scope", "name", "other"),
    [
        (HoldScope.WORKFLOW, "Shop", "Shopping"),
        (HoldScope.OPERATION, "bank.pay", "bank.pay_back"),
        (HoldScope.DEPENDENCY, "bank", "mail"),
        (HoldScope.TENANT, "acme", "zenith"),
        (HoldScope.EFFECT, "compensatable", "irreversible"),
    ],
)
def test_hold_stops_what_it_names_and_nothing_else(scope: HoldScope, name: str, other: str) -> None:
    """Each scope is matched by the whole name."""
    assert stops(hold(scope, name), asking(), now=NOW)
    assert not stops(hold(scope, other), asking(), now=NOW)


def test_hold_on_a_tenant_does_not_stop_runs_of_nobody() -> None:
    """A run without a tenant belongs to no tenant."""
    assert not stops(hold(HoldScope.TENANT, "acme"), asking(tenant=""), now=NOW)


def test_undo_is_stopped_only_where_the_hold_names_it() -> None:
    """What takes an effect back passes, whatever the gates."""
    every = frozenset(HoldGate)

    assert not stops(hold(gates=every), asking(undo=True), now=NOW)
    assert stops(hold(undo=True), asking(undo=True), now=NOW)


@pytest.mark.parametrize(
    ("scope", "name", "stopped"),
    [
        (HoldScope.WORKFLOW, "Shop", False),
        (HoldScope.DEPENDENCY, "bank", False),
        (HoldScope.TENANT, "acme", False),
        (HoldScope.OPERATION, "bank.look", True),
    ],
)
def test_read_is_stopped_only_by_its_own_name(scope: HoldScope, name: str, stopped: bool) -> None:
    """A look changes nothing, so a hold on what happens lets it through."""
    look = asking(operation("bank.look", Effect.READ))

    assert stops(hold(scope, name), look, now=NOW) is stopped


def test_hold_ends_by_itself() -> None:
    """From the instant on that it names, it stops nothing."""
    timed = hold(until=NOW + timedelta(hours=1))

    assert stops(timed, asking(), now=NOW + timedelta(minutes=59))
    assert not stops(timed, asking(), now=NOW + timedelta(hours=1))
    assert not stops_start(timed, workflow_type="Shop", tenant="", operations=[PAY], now=NOW + timedelta(hours=1))


def test_after_commit_gate_stops_only_what_was_held_back() -> None:
    """The same operation passes in the body."""
    late = hold(gates={HoldGate.AFTER_COMMIT})

    assert stops(late, asking(after_commit=True), now=NOW)
    assert not stops(late, asking(), now=NOW)


def test_start_gate_stops_runs_that_begin_after_it_was_switched_on() -> None:
    """In the guard a new run is known by its first steps; those in flight go on."""
    new = hold(HoldScope.WORKFLOW, "Shop", gates={HoldGate.START})

    assert stops(new, asking(opened_at=NOW), now=NOW)
    assert not stops(new, asking(opened_at=NOW - timedelta(seconds=1)), now=NOW)
    assert not stops(new, asking(opened_at=None), now=NOW)


@pytest.mark.parametrize(
    ("scope", "name", "gates", "stopped"),
    [
        (HoldScope.WORKFLOW, "Shop", None, True),
        (HoldScope.TENANT, "acme", None, True),
        (HoldScope.DEPENDENCY, "bank", None, False),
        (HoldScope.DEPENDENCY, "bank", {HoldGate.START}, True),
        (HoldScope.EFFECT, "irreversible", {HoldGate.START}, False),
    ],
)
def test_start_is_stopped_by_type_tenant_or_what_it_may_carry_out(
    scope: HoldScope, name: str, gates: set[HoldGate] | None, stopped: bool
) -> None:
    """A hold on a system does not stop starts unless it says so."""
    made = hold(scope, name, **({} if gates is None else {"gates": gates}))

    assert stops_start(made, workflow_type="Shop", tenant="acme", operations=[PAY], now=NOW) is stopped


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"scope": HoldScope.EFFECT, "name": "read"}, "is no effect that can be held"),
        ({"scope": HoldScope.EFFECT, "name": "ireversible"}, "is no effect that can be held"),
        ({"until": NOW}, "before it begins"),
        ({"reason": ""}, "at least 1 character"),
        ({"since": datetime(2026, 1, 1)}, "timezone"),  # noqa: DTZ001 - what the test is about
    ],
)
def test_hold_that_could_not_work_is_refused(terms: dict[str, Any], said: str) -> None:
    """An unknown effect, an end before the beginning, no reason, a time without a zone."""
    given = {"scope": HoldScope.OPERATION, "name": "bank.pay", "reason": "why", "who": "ada", "since": NOW}

    with pytest.raises(ValidationError, match=said):
        Hold(**{**given, **terms})


@pytest.mark.parametrize(
    ("effect", "fails"),
    [
        (Effect.READ, HoldFails.OPEN),
        (Effect.REVERSIBLE, HoldFails.OPEN),
        (Effect.COMPENSATABLE, HoldFails.CLOSED),
        (Effect.RECONCILABLE, HoldFails.CLOSED),
        (Effect.IRREVERSIBLE, HoldFails.CLOSED),
    ],
)
def test_what_leaves_a_trace_waits_when_nobody_knows(effect: Effect, fails: HoldFails) -> None:
    """The default is the effect's; an operation may declare otherwise."""
    other = HoldFails.OPEN if fails is HoldFails.CLOSED else HoldFails.CLOSED

    assert operation(effect=effect).hold_fails is fails
    assert operation(effect=effect, hold_fails=other).hold_fails is other
