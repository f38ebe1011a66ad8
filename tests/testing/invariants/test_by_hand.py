"""What an invariant says of runs that no saga can be made to have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.contract import FailureDetails, FailureKind, Outcome
from kit.ledger import State
from kit.testing import Ending, Scenario
from kit.workflow import Choice
from kit.workflow.steps import Phase, UndoState
from kit.workflow.unwound import Unwound
from tests.testing.invariants.by_hand import (
    LOST,
    MAIL,
    SELL,
    WRAP,
    broken,
    effect,
    key_of,
    row,
    run,
    step,
    task,
)

COMPLETE = "completed means every effect is there"
NOTHING_LEFT = "ended without success: nothing is left"
LEDGER = "the ledger says what is true"
UNWOUND = "terminated, then unwound: nothing is left"
SAYS = "the summary says how it ended"
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
    """Nobody would ever look at it again; while somebody waits for it, somebody will."""
    over = run(Ending.COMPENSATED, [step(SELL, undo=UndoState.NOTHING)], rows=(row(SELL, state),))

    found = await broken(over)
    waiting = await broken(replace(over, ending=Ending.STUCK))

    assert set(found) == {LEDGER}
    assert LEDGER not in waiting


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


UNRECORDED = Scenario.parse("shop.sell#1:unrecorded")


@pytest.mark.parametrize(
    ("ending", "state", "undo"),
    [(Ending.COMPLETED, State.CLAIMED, UndoState.NONE), (Ending.COMPENSATED, State.UNDOING, UndoState.UNDONE)],
    ids=["done", "undone"],
)
async def test_a_row_that_could_not_be_written_stays_open(ending: Ending, state: State, undo: UndoState) -> None:
    """The result went to the workflow, whose word must be true; without such a fault the row is a defect."""
    truth = (replace(effect(SELL), live=ending is Ending.COMPLETED),)
    said = run(ending, [step(SELL, undo=undo)], rows=(row(SELL, state),), truth=truth, scenario=UNRECORDED)

    excused = await broken(said)
    untrue = await broken(replace(said, truth=(replace(truth[0], live=not truth[0].live),)))
    unexcused = await broken(replace(said, scenario=LOST))

    assert excused == {}
    assert LEDGER in untrue
    assert set(unexcused) == {LEDGER}


async def test_a_person_is_not_told_that_it_is_done_when_it_is_not() -> None:
    """Whoever is asked relies on what the task says of the effect."""
    failure = FailureDetails(
        operation=SELL.name, kind=FailureKind.BUG, outcome=Outcome.DONE, reason="unreadable", needs_person=True
    )
    parked = run(Ending.PARKED, [step(SELL)], tasks=[task(SELL, failure=failure)])

    found = await broken(parked, when="parked")

    assert f"a person is told that shop.sell is done, but no effect stands (key {key_of(SELL)!r})" in found[ASKS]


async def test_a_closed_saga_says_how_it_ended() -> None:
    """It has a summary; after turning round nothing in it is open, and nothing is left."""
    turned = run(Ending.COMPENSATED, [])

    silent = await broken(replace(turned, summary=None))
    unsettled = await broken(run(Ending.COMPENSATED, [step(SELL, outcome=Outcome.UNKNOWN)]))
    with_residue = await broken(run(Ending.COMPENSATED, [step(SELL, undo=UndoState.LEFT)], residue=[key_of(SELL)]))

    assert silent == {SAYS: "the run ended compensated, and has no summary"}
    assert unsettled == {SAYS: "the run ended compensated, and says that shop.sell is 'unknown'"}
    assert with_residue == {SAYS: f"the run ended compensated, and says that it has left {[key_of(SELL)]}"}


async def test_what_a_terminated_run_left_is_gone_when_it_is_unwound() -> None:
    """Its unwind ends, and only what a person left stands."""
    terminated = run(Ending.TERMINATED, [], rows=(row(SELL),), truth=(effect(SELL),))

    never = await broken(terminated)
    missed = await broken(replace(terminated, unwound=Unwound(saga="run")))
    left = await broken(replace(terminated, unwound=Unwound(saga="run", left=[key_of(SELL)])))

    assert never == {UNWOUND: "the run was terminated, and its unwind has not ended"}
    assert missed == {UNWOUND: f"the run was unwound, but shop.sell stands (key {key_of(SELL)!r}): an effect"}
    assert left == {}


async def test_an_undo_that_a_person_left_is_open_only_where_no_result_is_known() -> None:
    """Of what nobody knows the undo stays unconfirmed; of a known effect the row says that it was left in place."""
    unwound = Unwound(saga="run", left=[key_of(SELL)])
    rows = (row(SELL, State.UNDOING),)
    terminated = run(Ending.TERMINATED, [], rows=rows, truth=(effect(SELL),), unwound=unwound)

    in_doubt = await broken(terminated)
    not_left = await broken(replace(terminated, truth=(), unwound=Unwound(saga="run")))
    known = await broken(replace(terminated, rows=(row(SELL, State.UNDOING, result=b"{}"),)))

    assert in_doubt == {}
    assert set(not_left) == set(known) == {LEDGER}
