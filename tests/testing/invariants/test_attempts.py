"""How often a thing may be tried: what counts against a cap, and what waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kit.contract import FailureKind, Outcome, Retry, Role
from kit.ledger import State
from kit.testing import Ending, Run, Scenario
from kit.testing.faults import Point
from kit.testing.runs import Seen
from kit.workflow.steps import UndoState
from tests.testing.invariants.by_hand import (
    LOST,
    SELL,
    broken,
    effect,
    key_of,
    operation,
    row,
    run,
    step,
)

HELD = Scenario.parse("shop.sell#1:held").faults[0]
CAPS = "attempts stay within the caps"


def _tried(times: int, *, role: Role = Role.ACTION, every: int = 1, **said: Any) -> tuple[Seen, ...]:
    """Calls of one activity, one in each of its attempts, or in every second or third."""
    calls = [Point(SELL.name, role, number + 1) for number in range(times)]
    lost = {"fault": LOST.faults[0]} | said
    return tuple(Seen(point, "sweep", key_of(SELL), 1 + number * every, **lost) for number, point in enumerate(calls))


def _bought(*seen: Seen) -> Run:
    return run(Ending.COMPLETED, [step(SELL, attempts=99)], rows=(row(SELL),), truth=(effect(SELL),), seen=seen)


async def test_what_has_no_cap_is_bound_by_the_deadline_only() -> None:
    """An unlimited rule allows any number of attempts; the same number is too many for a limited one."""
    unlimited = operation(retry={FailureKind.TIMEOUT: Retry(attempts=None)})
    turned = run(
        Ending.COMPENSATED,
        [step(SELL, outcome=Outcome.UNKNOWN, undo=UndoState.NOTHING)],
        rows=(row(SELL, State.VOID),),
        seen=_tried(40),
    )

    free, bound = await broken(turned, unlimited), await broken(turned, SELL)

    assert free == {}
    assert set(bound) == {CAPS}


async def test_all_rules_may_be_unlimited() -> None:
    """Then there is no cap to be within."""
    unlimited = operation(retry={kind: Retry(attempts=None) for kind in FailureKind})
    completed = run(Ending.COMPLETED, [step(SELL)], rows=(row(SELL),), truth=(effect(SELL),), seen=_tried(40))

    found = await broken(completed, unlimited)

    assert found == {}


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (_tried(10, every=3), "two of three attempts waited for the lease of another run"),
        (_tried(40, role=Role.PROBE, fault=None, outcome=Outcome.DONE), "each looked, and found nothing yet"),
        (_tried(40, fault=HELD, outcome=Outcome.NOT_STARTED), "a hold was on"),
        (_tried(40, persistent=True), "it is tried without end after the commit, or by an undo"),
        ((*_tried(10), *_tried(10)), "a person had it begun anew"),
    ],
    ids=["lease", "look-up", "hold", "persistent", "again"],
)
async def test_what_waits_costs_no_attempt(seen: tuple[Seen, ...], why: str) -> None:
    """Only what went out and failed counts against the cap, and only within one activity."""
    found = await broken(_bought(*seen))

    assert found == {}, why


@pytest.mark.parametrize(
    "seen",
    [_tried(11), _tried(11, role=Role.PROBE), (*_tried(3), *_tried(11))],
    ids=["calls", "look-ups that failed", "the second time"],
)
async def test_one_more_failure_than_the_cap_is_said(seen: tuple[Seen, ...]) -> None:
    """The default rules allow ten."""
    found = await broken(_bought(*seen))

    assert found == {CAPS: f"shop.sell was attempted 11 times under the key {key_of(SELL)!r}; its retry rules allow 10"}


async def test_two_runs_have_their_own_caps() -> None:
    """Each run that shares a key has all its attempts."""
    others = tuple(replace(seen, workflow_id="sweep-again") for seen in _tried(10))
    both = _bought(*_tried(10), *others)

    found = await broken(replace(both, duplicates=(replace(both, workflow_id="sweep-again", truth=(), rows=()),)))

    assert found == {}
