"""What an invariant says of runs that no saga can be made to have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kit.contract import FailureKind, Outcome, Retry, Role
from kit.ledger import State
from kit.testing import Ending, Run, Scenario
from kit.testing.faults import Point
from kit.testing.runs import Seen
from kit.workflow import Choice
from kit.workflow.steps import Phase, UndoState
from tests.testing.invariants.by_hand import (
    LOST,
    MAIL,
    SELL,
    WRAP,
    broken,
    effect,
    key_of,
    operation,
    row,
    run,
    step,
    task,
)

COMPLETE = "completed means every effect is there"
NOTHING_LEFT = "ended without success: nothing is left"
LEDGER = "the ledger says what is true"
HELD = Scenario.parse("shop.sell#1:held").faults[0]
CAPS = "attempts stay within the caps"
ASKS = "what a person is asked is true"


async def test_a_completed_run_with_its_effect_breaks_nothing() -> None:
    """Done, recorded and there: nothing is said."""
    completed = run(Ending.COMPLETED, [step(SELL)], rows=(row(SELL),), truth=(effect(SELL),))

    found = await broken(completed)

    assert found == {}


@pytest.mark.parametrize(
    ("outcome", "undo"),
    [
        (Outcome.UNKNOWN, UndoState.NONE),
        (Outcome.REFUSED, UndoState.NONE),
        (Outcome.DONE, UndoState.UNDONE),
        (Outcome.UNKNOWN, UndoState.NOTHING),
    ],
)
async def test_what_a_completed_run_gave_up_does_not_stand(outcome: Outcome, undo: UndoState) -> None:
    """A body may go on without a step; its effect must then be gone, whatever the ledger says of it."""
    steps = [step(SELL, outcome=outcome, undo=undo), step(WRAP, 2)]
    truth = (effect(SELL), effect(WRAP, order=2))

    found = await broken(run(Ending.COMPLETED, steps, rows=(row(SELL), row(WRAP)), truth=truth))

    assert set(found) == {COMPLETE}


async def test_a_step_that_was_taken_again_may_stand() -> None:
    """Refused first and done later, under one key: the later step has the effect."""
    steps = [step(SELL, outcome=Outcome.REFUSED), step(SELL, 2)]

    found = await broken(run(Ending.COMPLETED, steps, rows=(row(SELL),), truth=(effect(SELL),)))

    assert found == {}


@pytest.mark.parametrize("phase", [Phase.FORWARD, Phase.AFTER_COMMIT])
async def test_nothing_after_the_commit_is_missing_in_a_completed_run(phase: Phase) -> None:
    """What cannot turn the saga round any more is done before it completes."""
    steps = [step(SELL, phase=Phase.PIVOT), step(WRAP, 2, phase=phase, outcome=Outcome.UNKNOWN)]

    found = await broken(run(Ending.COMPLETED, steps, rows=(row(SELL),), truth=(effect(SELL),)))

    assert set(found) == {COMPLETE}


async def test_a_step_that_a_person_skipped_may_be_missing_or_there() -> None:
    """Whoever skips says what is true."""
    steps = [step(SELL, outcome=Outcome.REFUSED, phase=Phase.AFTER_COMMIT)]
    skipped = run(Ending.COMPLETED, steps, tasks=[task(SELL, choice=Choice.SKIP)], rows=(row(SELL, State.VOID),))

    without, with_effect = await broken(skipped), await broken(replace(skipped, truth=(effect(SELL),)))

    assert without == with_effect == {}


async def test_residue_is_what_a_person_left() -> None:
    """A skipped undo leaves its effect in place, and nothing else may stand."""
    left = step(SELL, undo=UndoState.LEFT)
    tasks = [task(SELL, undo=True, choice=Choice.SKIP)]
    failed = run(Ending.FAILED, [left], tasks=tasks, residue=[key_of(SELL)], rows=(row(SELL),), truth=(effect(SELL),))

    found = await broken(failed)
    more = await broken(replace(failed, truth=(*failed.truth, effect(WRAP)), rows=(*failed.rows, row(WRAP))))

    assert found == {}
    assert set(more) == {NOTHING_LEFT}


async def test_what_a_person_supplied_is_undone_like_everything_else() -> None:
    """A supplied result says that the effect is there: a saga that turns round must still take it back."""
    undone = step(SELL, undo=UndoState.UNDONE)
    tasks = [task(SELL, choice=Choice.SUPPLY)]

    found = await broken(
        run(Ending.COMPENSATED, [undone], tasks=tasks, rows=(row(SELL, State.UNDONE),), truth=(effect(SELL),))
    )

    assert set(found) == {NOTHING_LEFT}


async def test_the_row_of_another_operation_is_no_row() -> None:
    """Two operations under one key: the effect of the second one is unknown to the ledger."""
    truth = (effect(SELL), effect(WRAP, order=2, key=key_of(SELL)))

    found = await broken(run(Ending.COMPLETED, [step(SELL)], rows=(row(SELL),), truth=truth))

    assert found == {LEDGER: f"the ledger knows nothing of shop.wrap under the key {key_of(SELL)!r}: an effect"}


@pytest.mark.parametrize("state", [State.CLAIMED, State.UNKNOWN, State.UNDOING])
async def test_no_row_stays_open_when_the_run_is_over(state: State) -> None:
    """Nobody would ever look at it again; while a person is asked, somebody will."""
    over = run(Ending.COMPENSATED, [step(SELL, undo=UndoState.NOTHING)], rows=(row(SELL, state),))

    found = await broken(over)
    waiting = await broken(replace(over, ending=Ending.TERMINATED))

    assert set(found) == {LEDGER}
    assert waiting == {}


async def test_an_irreversible_effect_needs_its_commit() -> None:
    """A letter that is out stands beside everything that could turn the saga round."""
    steps = [step(SELL, phase=Phase.PIVOT), step(MAIL, 2, phase=Phase.AFTER_COMMIT)]
    committed = run(Ending.COMPLETED, steps, rows=(row(SELL), row(MAIL)), truth=(effect(SELL), effect(MAIL, order=2)))

    found = await broken(committed)
    alone = await broken(replace(committed, truth=(effect(MAIL),)))
    first = await broken(replace(committed, truth=(effect(SELL, order=2), effect(MAIL))))

    assert found == {}
    assert "nothing irreversible before the commit" in alone
    assert set(first) == {"nothing irreversible before the commit"}


async def test_a_step_that_was_cleared_up_need_not_stand_before_the_commit() -> None:
    """The body went on without it, and it was undone before the letter went out."""
    cleared = step(SELL, outcome=Outcome.UNKNOWN, undo=UndoState.UNDONE)
    steps = [cleared, step(WRAP, 2), step(MAIL, 3, phase=Phase.AFTER_COMMIT)]
    rows = (row(SELL, State.UNDONE), row(WRAP), row(MAIL))

    found = await broken(run(Ending.COMPLETED, steps, rows=rows, truth=(effect(WRAP), effect(MAIL, order=2))))

    assert found == {}


async def test_a_task_says_who_and_what() -> None:
    """A question without words, owner or choices cannot be answered."""
    asked = task(SELL, question="", owner="", choices=())
    parked = run(Ending.PARKED, [step(SELL, outcome=Outcome.UNKNOWN)], tasks=[asked])

    found = await broken(parked, when="parked")

    assert "has no question and no owner and no choices" in found[ASKS]


async def test_a_run_that_waits_asks_somebody() -> None:
    """Parked without a task is lost."""
    parked = run(Ending.PARKED, [step(SELL, outcome=Outcome.UNKNOWN)])

    found = await broken(parked, when="parked")

    assert found == {"every run ends, or waits for a person": "the run waits, and asks nobody"}


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
