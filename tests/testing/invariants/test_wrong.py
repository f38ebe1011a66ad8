"""What breaks each invariant, run through the engine; and that the nearest right thing does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pytest

from kit.contract import Role
from kit.testing import Ending, Invariant, Run, Scenario, Subject
from kit.testing.engines.simulation import Simulation
from kit.testing.invariants import BUILT_IN
from tests.testing.invariants import wrong_sagas as sagas
from tests.testing.invariants import wrong_worlds as worlds
from tests.worlds.five_steps import Agency, BookTrip

SEAT_LOST: Final = "airline.fly#1:reply_lost"
ROOM_LOST: Final = "hotel.sleep#1:reply_lost"
ROOM_REFUSED: Final = "hotel.sleep#1:refused"
PAY_REFUSED: Final = "bank.pay#1:refused"


@dataclass(frozen=True)
class Wrong:
    """Something wrong, where it shows, and the nearest that is right.

    Attributes:
        breaks: The invariant.
        says: A part of what it says.
        scenario: Where it shows.
        workflow: The workflow.
        world: Its world.
        right: The right workflow for a wrong one.
    """

    breaks: str
    says: str
    scenario: str
    workflow: type = BookTrip
    world: Any = Agency
    right: type = BookTrip


WRONG: Final = {
    "another key with each attempt": Wrong(
        "at most one live effect per key",
        "hotel.sleep has 2 live effects under the key 'hotel-sleep:rome'",
        ROOM_LOST,
        world=worlds.NumbersItsKeys,
    ),
    "done, and nothing is there": Wrong(
        "completed means every effect is there",
        "calls airline.fly done, but no effect stands under the key 'airline-fly:rome'",
        "clean",
        world=worlds.OnlyLooks,
    ),
    "refused, and it is there": Wrong(
        "completed means every effect is there",
        "the run completed and calls airline.fly 'refused', but it stands",
        SEAT_LOST,
        workflow=sagas.GoesOn,
        world=worlds.DeniesSeats,
        right=sagas.GoesOn,
    ),
    "a step after the pivot is left out": Wrong(
        "completed means every effect is there",
        "hotel.sleep, which comes after its pivot, is 'not_started'",
        "clean",
        workflow=sagas.LeavesOneOut,
        right=sagas.Forward,
    ),
    "a letter is held back for ever": Wrong(
        "completed means every effect is there",
        "post.send, held back for it, is 'not_started'",
        "clean",
        workflow=sagas.KeepsTheLetter,
        right=sagas.LetterLast,
    ),
    "an undo that undoes nothing": Wrong(
        "ended without success: nothing is left",
        "the run ended compensated, but hotel.sleep stands (key 'hotel-sleep:rome')",
        PAY_REFUSED,
        world=worlds.UndoesNothing,
    ),
    "no undo, by hand": Wrong(
        "ended without success: nothing is left",
        "the run ended failed, but airline.fly stands (key 'airline-fly:rome')",
        ROOM_REFUSED,
        workflow=sagas.Careless,
        right=sagas.ByHand,
    ),
    "a letter before its reason": Wrong(
        "nothing irreversible before the commit",
        "post.send took effect before bank.pay, and cannot be taken back",
        "clean",
        workflow=sagas.LetterFirst,
        right=sagas.LetterLast,
    ),
    "back after the pivot": Wrong(
        "after the commit a saga only goes forward",
        "the run ended compensated after the commit (its pivot was bank.pay)",
        ROOM_REFUSED,
        workflow=sagas.TurnsBack,
        right=sagas.Forward,
    ),
    "a cancellation that nobody heeds": Wrong(
        "a cancelled saga takes no further step",
        "the run had heard of its cancellation, and went on with hotel.sleep",
        "airline.fly#1:cancel_during",
        workflow=sagas.Deaf,
        right=sagas.Hearing,
    ),
    "a deadline that does not count": Wrong(
        "nothing is begun after the deadline",
        "airline.fly was begun, or tried again, when the deadline of 1:00:00 was over",
        "clean",
        workflow=sagas.Late,
        right=sagas.InTime,
    ),
    "an undo of what was refused": Wrong(
        "only what may have happened is undone",
        "hotel.sleep was undone under the key 'hotel-sleep:rome', though it was refused, or never asked for",
        ROOM_REFUSED,
        workflow=sagas.UndoesTheRefused,
        right=sagas.ByHand,
    ),
    "an undo while a step is at work": Wrong(
        "nothing is undone while a step is at work",
        "airline.fly.undo was begun while airline.fly was at work",
        "airline.fly#1:crash_before+hotel.sleep#1:refused",
        workflow=sagas.Unsettled,
        right=sagas.Together,
    ),
    "the oldest step is undone first": Wrong(
        "the latest step is undone first",
        "airline.fly was undone before hotel.sleep, which came after it",
        PAY_REFUSED,
        workflow=sagas.OldestFirst,
        right=sagas.LatestFirst,
    ),
    "undone in the ledger only": Wrong(
        "the ledger says what is true",
        "the ledger says that hotel.sleep is undone under the key 'hotel-sleep:rome', but it stands",
        PAY_REFUSED,
        world=worlds.UndoesNothing,
    ),
    "done in the ledger only": Wrong(
        "the ledger says what is true",
        "the ledger says that airline.fly is done under the key 'airline-fly:rome', but no effect stands",
        "clean",
        world=worlds.OnlyLooks,
    ),
    "an effect under another's key": Wrong(
        "the ledger says what is true",
        "the ledger knows nothing of airline.fly under the key 'hotel-sleep:rome'",
        "clean",
        world=worlds.Bundles,
    ),
    "a result that is not recorded": Wrong(
        "the ledger says what is true",
        "the run is over, and the ledger's row of airline.fly is claimed (key 'airline-fly:rome')",
        "clean",
        world=worlds.Forgetting,
    ),
    "nothing to sell": Wrong(
        "without a fault it completes",
        "nothing went wrong, and the run ended compensated: ",
        "clean",
        world=worlds.SoldOut,
    ),
    "waits for nobody": Wrong(
        "every run ends, or waits for a person",
        "the run neither ends nor waits for anybody: it waits for what nobody will bring",
        "clean",
        workflow=sagas.WaitsForNothing,
        right=sagas.Hearing,
    ),
    "an undo that is refused for ever": Wrong(
        "every run ends, or waits for a person",
        "everything is well, a person has answered again and again, and the run still waits: The undo of",
        PAY_REFUSED,
        world=worlds.NeverUndoes,
    ),
    "a saga that nobody watches": Wrong(
        "every run ends, or waits for a person",
        "the saga failed without turning round: ",
        ROOM_REFUSED,
        workflow=sagas.Unwatched,
        right=sagas.Hearing,
    ),
    "a question that is not true": Wrong(
        "what a person is asked is true",
        "a person is told that hotel.sleep is refused, but it stands (key 'hotel-sleep:rome')",
        ROOM_LOST,
        workflow=sagas.Forward,
        world=worlds.DeniesRooms,
        right=sagas.Forward,
    ),
    "a run that hides": Wrong(
        "what a person is asked is true",
        "the run asks ['2-1'], and its memo, by which operators find it, says []",
        ROOM_REFUSED,
        workflow=sagas.Hides,
        right=sagas.Forward,
    ),
    "completed, and still running": Wrong(
        "the summary says how it ended",
        "the run ended completed, and says that it is running",
        "clean",
        workflow=sagas.Unwatched,
        right=sagas.Hearing,
    ),
    "a refusal that nobody understands": Wrong(
        "a refusal for good is not asked for again",
        "the action of hotel.sleep was refused for good 3 times under the key 'hotel-sleep:rome'",
        ROOM_REFUSED,
        world=worlds.Mumbles,
    ),
    "failures that cost nothing": Wrong(
        "attempts stay within the caps",
        "hotel.sleep was attempted 13 times under the key 'hotel-sleep:rome'; its retry rules allow 10",
        "hotel.sleep#1:replies_lost",
        world=worlds.CountsNothing,
    ),
    "rows of nobody": Wrong(
        "terminated, then unwound: nothing is left",
        "the run was unwound, but hotel.sleep stands (key 'hotel-sleep:rome')",
        "hotel.sleep#1:terminated",
        world=worlds.Anonymous,
    ),
}


def run(workflow: type, world: Any, scenario: str) -> Run:
    """What comes of a trip to Rome."""
    return Simulation().run_here(Subject(workflow, sagas.ROME, world), Scenario.parse(scenario))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(wrong: Wrong) -> None:
    """The invariant says what it sees, with operation and key."""
    found = run(wrong.workflow, wrong.world, wrong.scenario)

    assert found.unreached == ()
    assert any(wrong.says in one.text for one in found.violations if one.invariant == wrong.breaks), found.violations


@pytest.mark.parametrize(
    ("workflow", "scenario"), sorted({(wrong.right, wrong.scenario) for wrong in WRONG.values()}, key=str)
)
def test_the_nearest_right_thing_breaks_nothing(workflow: type, scenario: str) -> None:
    """In the same scenario the right workflow in the right world passes every invariant."""
    found = run(workflow, Agency, scenario)

    assert found.unreached == ()
    assert found.violations == ()


def test_every_invariant_has_been_broken() -> None:
    """There is none that nothing breaks: it would say nothing when it holds."""
    assert {wrong.breaks for wrong in WRONG.values()} == {rule.name for rule in BUILT_IN}


def test_a_transaction_that_finds_nothing_to_undo_is_no_undo() -> None:
    """Whether there is anything to undo is found out in the very transaction that would undo it."""
    found = run(BookTrip, Agency, "desk.file#1:cancel_before")

    roles = [seen.point.role for seen in found.seen if seen.point.operation == "desk.file"]
    assert roles == [Role.COMPENSATION]
    assert found.violations == ()


def test_a_duplicate_is_judged_like_the_first_run() -> None:
    """The first run takes back what the second one relies on: the second one completes, and is wrong."""
    scenario = "airline.fly#1:started_again+hotel.sleep#1:cancel_before"

    selfish, sharing = run(BookTrip, worlds.Selfish, scenario), run(BookTrip, Agency, scenario)

    assert [duplicate.ending.value for duplicate in sharing.duplicates] == ["completed"]
    assert sharing.violations == ()
    said = {one.text for one in selfish.violations if one.invariant == "completed means every effect is there"}
    assert any(text.startswith("sweep-again: the run completed and calls airline.fly done") for text in said), said


def test_a_rule_of_ones_own_sees_the_run_that_decides() -> None:
    """Cancelled and started again: the second run completes, and the rule is asked about that one."""
    seen: list[tuple[str, str]] = []

    def rule(world: Agency, run: Run) -> list[str]:
        seen.append((run.workflow_id, run.ending.value))
        return []

    subject = Subject(BookTrip, sagas.ROME, Agency, (Invariant("a rule", rule),))
    scenario = Scenario.parse("airline.fly#1:started_again+hotel.sleep#1:cancel_before")

    found = Simulation().run_here(subject, scenario)

    assert found.ending is Ending.CANCELLED
    assert seen == [("sweep-again", "completed")]
