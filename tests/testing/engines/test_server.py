"""The server engine: every kind of fault, and every way a run can stand, on the real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History

from kit.errors import UnsupportedScenario
from kit.ledger import State
from kit.testing.engines.server import ServerEngine
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Ending, Run
from kit.testing.world import Subject
from kit.workflow import Choice
from tests.testing.engines.travels import FIVE, travel
from tests.testing.engines.workflows import ByHand, OtherTravel
from tests.worlds import CHECKOUT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

COMPLETED, CANCELLED, COMPENSATED = Ending.COMPLETED, Ending.CANCELLED, Ending.COMPENSATED

ENDINGS: Final[dict[str, tuple[Subject, str, Ending]]] = {
    # One for each kind of fault.
    "clean": (FIVE, "clean", COMPLETED),
    "refused": (FIVE, "card.charge#1:refused", COMPENSATED),
    "outage": (FIVE, "car.book#1:outage", COMPLETED),
    "rate_limited": (CHECKOUT, "payments.authorize#1:rate_limited", COMPLETED),
    "server_error": (CHECKOUT, "payments.authorize#1:server_error", COMPLETED),
    "reply_lost": (FIVE, "hotel.book#1:reply_lost", COMPLETED),
    "replies_lost": (CHECKOUT, "fulfilment.request_shipment#1:replies_lost", COMPLETED),
    "too_slow": (FIVE, "car.book#1:too_slow", COMPLETED),
    "late_after_retry": (FIVE, "car.book#1:late_after_retry", COMPLETED),
    "late_after_undo": (FIVE, "car.book#1:late_after_undo+card.charge#1:refused", COMPENSATED),
    "twice": (FIVE, "card.charge#1:twice", COMPLETED),
    "final_error": (FIVE, "card.charge#1:final_error", COMPLETED),
    "held": (FIVE, "car.book#1:held", COMPLETED),
    "unrecorded": (FIVE, "hotel.book#1:unrecorded", COMPLETED),
    "stalled": (FIVE, "car.book#1:stalled", COMPLETED),
    "crash_before": (FIVE, "car.book#1:crash_before", COMPLETED),
    "crash_after": (FIVE, "hotel.book#1:crash_after", COMPLETED),
    "crash_recorded": (FIVE, "car.book#1:crash_recorded", COMPLETED),
    "cancel_before": (FIVE, "car.book#1:cancel_before", CANCELLED),
    "cancel_during": (FIVE, "car.book#1:cancel_during", CANCELLED),
    "cancel_with_result": (FIVE, "car.book#1:cancel_with_result", CANCELLED),
    "terminated": (FIVE, "car.book#1:terminated", Ending.TERMINATED),
    "started_again": (FIVE, "car.book#1:started_again", COMPLETED),
    "handed_over": (FIVE, "car.book#1:handed_over", COMPLETED),
    # What differs by where the fault strikes.
    "undo": (FIVE, "card.charge#1:refused+car.book.undo#1:reply_lost", COMPENSATED),
    "cancel_before a retry": (FIVE, "car.book#1:reply_lost+car.book#2:cancel_before", CANCELLED),
    "cancel_before after the pivot": (FIVE, "visa.file#1:cancel_before", COMPLETED),
    "started_again twice": (FIVE, "flight.book#1:started_again+card.charge#1:started_again", COMPLETED),
    "parked": (FIVE, "visa.file#1:refused", Ending.PARKED),
    "unknowable": (travel("pivot card", "step fax"), "fax.send#1:crash_after", Ending.PARKED),
    "nothing left": (travel("step car", "wait"), "clean", Ending.STUCK),
    "incompatible": (replace(FIVE, previous=OtherTravel), "car.book#1:handed_over", Ending.STUCK),
    "by hand": (replace(FIVE, workflow=ByHand), "car.book#1:reply_lost", COMPLETED),
    "by hand, refused": (replace(FIVE, workflow=ByHand), "card.charge#1:refused", Ending.FAILED),
}
"""Scenarios by what they show, and how each ends when left alone."""

WRONG: Final = {"nothing left", "incompatible", "by hand, refused"}
"""Those in which something is wrong, and must be found wrong."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runs(engine: ServerEngine) -> dict[str, Run]:
    """All of them, run side by side."""
    found = await asyncio.gather(
        *(engine.run(subject, Scenario.parse(scenario)) for subject, scenario, _ in ENDINGS.values())
    )
    return dict(zip(ENDINGS, found, strict=True))


def _kinds(run: Run) -> list[str]:
    events = History.FromString(run.history).events
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]


async def test_every_kind_of_fault_is_among_them() -> None:
    """No kind of fault is left to the simulation alone."""
    tried = {fault.kind for _, scenario, _ in ENDINGS.values() for fault in Scenario.parse(scenario).faults}

    assert tried == set(FaultKind)


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_scenario_ends_as_it_must(runs: dict[str, Run], name: str) -> None:
    """A scenario's faults are met, and the run ends as the design says."""
    run = runs[name]

    assert (run.ending, run.unreached, bool(run.violations)) == (ENDINGS[name][2], (), name in WRONG)


async def test_scenarios_do_not_see_each_other(runs: dict[str, Run]) -> None:
    """Runs that go on side by side use the same ids and keys, and each world has only its own effects."""
    run = runs["clean"]

    assert run.workflow_id == "sweep"
    assert [effect.key for effect in run.truth if not effect.live] == []
    assert sorted(row.key for row in run.rows) == sorted(effect.key for effect in run.truth)


async def test_what_was_undone_is_not_live(runs: dict[str, Run]) -> None:
    """A compensated run has left nothing, by the provider's own record, and says so itself."""
    run = runs["undo"]

    assert [effect for effect in run.truth if effect.live] == []
    assert run.summary is not None
    assert run.summary.status == "compensated"


async def test_a_result_that_could_not_be_written_down_stays_open(runs: dict[str, Run]) -> None:
    """The guard gives up in time to report the effect, and leaves the row for the look-up."""
    run = runs["unrecorded"]

    assert {row.key: row.state for row in run.rows}["hotel:1"] is State.CLAIMED
    assert [seen.point.call for seen in run.seen if seen.key == "hotel:1"] == [1]


async def test_a_cancellation_comes_before_the_activity_is_taken_up(runs: dict[str, Run]) -> None:
    """The activity was scheduled, and never started: its request never went out."""
    kinds = _kinds(runs["cancel_before"])

    assert kinds[kinds.index("WORKFLOW_EXECUTION_CANCEL_REQUESTED") :].count("ACTIVITY_TASK_CANCELED") == 1
    assert "car:1" not in {seen.key for seen in runs["cancel_before"].seen}


async def test_a_cancellation_comes_between_two_attempts(runs: dict[str, Run]) -> None:
    """The second attempt is never made; what the first one did is looked after."""
    run = runs["cancel_before a retry"]

    assert _kinds(run).count("ACTIVITY_TASK_CANCELED") == 1
    assert {seen.attempt for seen in run.seen if seen.key == "car:1"} == {1}
    assert [effect for effect in run.truth if effect.live] == []


async def test_a_cancellation_and_a_result_share_a_workflow_task(runs: dict[str, Run]) -> None:
    """Between the two events the workflow's code was not asked."""
    kinds = _kinds(runs["cancel_with_result"])

    asked = kinds.index("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    done = kinds.index("ACTIVITY_TASK_COMPLETED", asked)
    assert "WORKFLOW_TASK_STARTED" not in kinds[asked:done]


async def test_a_duplicate_start_runs_beside_it(runs: dict[str, Run]) -> None:
    """Both runs end, and the effects are there once."""
    run = runs["started_again"]

    assert [(duplicate.workflow_id, duplicate.ending) for duplicate in run.duplicates] == [("sweep-again", COMPLETED)]
    assert any(line.text == "sweep-again: completed" for line in run.story)
    assert len({effect.key for effect in run.truth}) == len(run.truth)


async def test_each_duplicate_start_is_a_run_of_its_own(runs: dict[str, Run]) -> None:
    """Starting it once more disturbs neither of the two that there are."""
    run = runs["started_again twice"]

    assert [(other.workflow_id, other.ending) for other in run.duplicates] == [
        ("sweep-again", COMPLETED),
        ("sweep-again-2", COMPLETED),
    ]


async def test_a_person_repairs_what_has_parked(runs: dict[str, Run]) -> None:
    """The run says what it asked, and how it ended once everything was well and somebody had answered."""
    run = runs["parked"]

    assert [(task.operation, Choice.RETRY in task.choices) for task in run.tasks] == [("visa.file", True)]
    assert run.repaired is COMPLETED


async def test_a_person_looks_before_they_say_that_nothing_happened(runs: dict[str, Run]) -> None:
    """What no machine can look up, a person does: the effect is there, so it is supplied and not repeated."""
    run = runs["unknowable"]

    assert run.repaired is COMPLETED
    assert [effect.key for effect in run.truth if effect.key == "fax:1"] == ["fax:1"]
    assert any(line.lane == "person" and "supply" in line.text for line in run.story)


async def test_a_run_that_waits_for_nobody_is_stuck(runs: dict[str, Run]) -> None:
    """Nothing is left to happen, and there is no task: that is no way to end."""
    assert "nobody will bring" in (runs["nothing left"].error or "")


async def test_code_that_does_not_fit_its_history_is_stuck(runs: dict[str, Run]) -> None:
    """The previous version cannot go on where the new one has begun; the engine says why."""
    assert "Nondeterminism" in (runs["incompatible"].error or "")


async def test_the_circuit_breaker_lives_in_the_servers_time(runs: dict[str, Run]) -> None:
    """Back-offs are skipped, so the breaker's pause must be, too: it opens, and the calls go on after it."""
    run = runs["replies_lost"]

    assert max(seen.point.call for seen in run.seen if seen.point.operation == "fulfilment.request_shipment") == 13
    assert run.story[-1].at > timedelta(minutes=1)


async def test_the_same_scenario_has_the_same_fingerprint(engine: ServerEngine, runs: dict[str, Run]) -> None:
    """No id, instant or name of an attempt is in it."""
    again = await engine.run(FIVE, Scenario.parse("hotel.book#1:crash_after"))

    assert again.fingerprint == runs["crash_after"].fingerprint
    assert again.fingerprint != runs["clean"].fingerprint


async def test_a_local_activity_cannot_die_here(engine: ServerEngine) -> None:
    """What the server does not see, this engine cannot stop: it refuses, and says what."""
    with pytest.raises(UnsupportedScenario, match=r"diary\.note is a local activity"):
        await engine.run(travel("step diary"), Scenario.parse("diary.note#1:crash_after"))
