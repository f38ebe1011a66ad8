"""Entities: each event once, in order, whatever happens between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Entity, EntityEvent
from kit.workflow import APPLY_UPDATE, CLOSED, ENTITY_QUERY, EVENT_SIGNAL, Fate, OnFailure, Receipt
from tests.workflow.entities import Asks, Busy, Change, Diary, Faulty, GoesOn, Owns, Patient, Repaired
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import Gate, World, declined, held, lost

pytestmark = pytest.mark.slow

IDLE = timedelta(hours=1)
Notes = Entity[Diary]


def event(id: str, *, version: int | None = None, do: str = "", source: str = "desk") -> EntityEvent[Change]:
    """A change event whose note is its id."""
    return EntityEvent(id=id, source=source, version=version, data=Change(note=id, do=do))


def guest(*events: EntityEvent[Change], close_when_idle: timedelta | None = IDLE) -> Notes:
    """An entity that begins with these events."""
    return Entity(state=Diary(), tenant="ada", events=events, close_when_idle=close_when_idle)


@asynccontextmanager
async def entities(
    server: WorkflowEnvironment, world: World, *classes: type, cached: bool = True
) -> AsyncIterator[Scene]:
    """A worker that runs these entities."""
    async with scene(server, world, cached=cached, workflows=classes) as found:
        yield found


async def carried(run: Run) -> Notes:
    """What an entity would carry on."""
    found: Notes = await run.query(ENTITY_QUERY, result_type=Notes)
    return found


async def apply(run: Run, change: EntityEvent[Change]) -> Receipt:
    """Send an event by update."""
    receipt: Receipt = await run.execute_update(APPLY_UPDATE, change, result_type=Receipt)
    return receipt


async def dealt_with(run: Run, change: EntityEvent[Change]) -> Receipt:
    """Send an event by update until the entity has dealt with it, across its runs."""
    while True:
        receipt = await apply(run, change)
        if receipt.fate is not Fate.WAITING:
            return receipt


async def test_events_are_applied_in_order_of_version_each_once(server: WorkflowEnvironment, cached: bool) -> None:
    """Of what waits the lowest version comes first, a second delivery changes nothing, late versions are stale."""
    world = World()
    async with entities(server, world, Asks, cached=cached) as here:
        waiting = (
            event("b", version=2, do="hotel"),
            event("a", version=1, do="hotel"),
            event("b", version=2, do="hotel"),
            event("x", source="billing"),
            event("other b", version=2),
        )

        run = await here.worker.start(Asks.run, guest(*waiting, close_when_idle=None))
        late = await apply(run, event("late", version=1))
        again = await apply(run, event("a", version=1, do="hotel"))
        other = await apply(run, event("other b", version=2))
        remembered = await carried(run)
        await run.cancel()

    assert remembered.state == Diary(notes=("a", "b", "x"))
    assert other == Receipt(event_id="other b", fate=Fate.STALE, duplicate=True)
    assert late == Receipt(event_id="late", fate=Fate.STALE)
    assert again == Receipt(event_id="a", fate=Fate.APPLIED, duplicate=True)
    assert world.provider.live == {"hotel:a": 1, "hotel:b": 1}
    told = [(token.correlation_id, token.tenant, token.step) for token in world.provider.tokens]
    assert told == [("a", "ada", 1), ("b", "ada", 2)]
    assert remembered.memory.counts == {"applied": 3, "duplicate": 3, "stale": 2}
    assert remembered.memory.versions == {"desk": 2}


async def test_nothing_is_lost_or_repeated_across_runs(server: WorkflowEnvironment, cached: bool) -> None:
    """What comes while the entity continues as new is applied once, and duplicates of earlier runs are known."""
    world = World()
    changes = [event(f"e{n}", source=f"s{n}", version=1, do="hotel") for n in range(1, 17)]
    async with entities(server, world, Asks, cached=cached) as here:
        run = await here.worker.start(Asks.run, guest(close_when_idle=None))
        latest = here.worker.client.get_workflow_handle(run.id)

        await asyncio.gather(*(latest.signal(EVENT_SIGNAL, change) for change in changes))
        receipts = await asyncio.gather(*(dealt_with(latest, change) for change in changes))
        remembered = await carried(latest)
        await latest.cancel()

    # Known by its id as long as the window remembers it, afterwards by its version.
    assert all(receipt.duplicate or receipt.fate is Fate.STALE for receipt in receipts)
    assert sorted(remembered.state.notes) == sorted(change.id for change in changes)
    assert remembered.memory.runs == 3
    assert remembered.memory.counts["applied"] == 16
    assert world.provider.live == {f"hotel:{change.id}": 1 for change in changes}


async def test_thousands_of_events_across_many_runs(server: WorkflowEnvironment) -> None:
    """Two thousand events, shuffled within reach and a tenth of them twice, are applied once each over ten runs."""
    world = World()
    events = [event(f"e{n}", version=n, do="hotel" if n % 200 == 0 else "") for n in range(1, 2001)]
    sent = [each for n, each in enumerate(events) for each in ([each, each] if n % 10 == 0 else [each])]
    for place in range(0, len(sent) - 7, 7):
        sent[place : place + 7] = reversed(sent[place : place + 7])
    async with entities(server, world, Busy) as here:
        run = await here.worker.start(Busy.run, guest(*sent))
        result = await run.result()
        remembered = await carried(here.worker.client.get_workflow_handle(run.id))

    assert result == Diary(notes=("e2000",))
    assert remembered.memory.counts == {"applied": 2000, "duplicate": 200}
    assert remembered.memory.runs == 10
    assert world.provider.live == {f"hotel:e{n}": 1 for n in range(200, 2001, 200)}


async def test_event_that_fails_is_undone_and_put_to_a_person(server: WorkflowEnvironment, cached: bool) -> None:
    """What cannot be applied leaves nothing and waits for a person, who has it tried again under new keys."""
    world = World()
    world.provider.script("car.book", declined())
    async with entities(server, world, Asks, cached=cached) as here:
        run = await here.worker.start(Asks.run, guest(event("a", do="hotel, car"), event("b")))
        latest = here.worker.client.get_workflow_handle(run.id)
        task = await here.task(latest)
        parked = await carried(latest)
        undone = dict(world.provider.live)

        await here.decide(latest, Choice.RETRY)
        result = await asyncio.wait_for(run.result(), 60)

    assert "Event 'a' of desk could not be applied" in task.question
    assert (task.owner, set(task.choices)) == ("travel-desk", {Choice.RETRY, Choice.SKIP})
    assert (parked.state, [waiting.event.id for waiting in parked.memory.waiting]) == (Diary(), ["b"])
    assert undone == {}
    assert result == Diary(notes=("a", "b"))
    assert world.provider.live == {"hotel:a~2": 1, "car:a~2": 1}


async def test_person_skips_what_can_never_be_applied(server: WorkflowEnvironment) -> None:
    """An event that is skipped is remembered as failed, with who decided so, and can be sent again."""
    world = World()
    async with entities(server, world, Asks) as here:
        run = await here.worker.start(Asks.run, guest(event("a", do="hotel, refuse"), event("b")))
        latest = here.worker.client.get_workflow_handle(run.id)

        await here.decide(latest, Choice.SKIP)
        result = await run.result()
        remembered = await carried(latest)

    assert result == Diary(notes=("b",))
    assert world.provider.live == {}
    (failed,) = remembered.memory.failed
    assert (failed.event.id, failed.reason, failed.who) == ("a", "NoSuchGuest", "ada")
    assert remembered.memory.seen["a"] is Fate.FAILED


async def test_entity_that_records_goes_on_by_itself(server: WorkflowEnvironment) -> None:
    """With `OnFailure.RECORD` failures of every sort are written down, nothing of them is left, and nobody is asked."""
    world = World()
    world.provider.script("car.book", declined())
    events: tuple[EntityEvent[Any], ...] = (
        event("declined", do="hotel, car"),
        event("bug", do="hotel, bug"),
        event("same key", do="same card"),
        event("leaves", do="continue"),
        EntityEvent[Any](id="unreadable", source="desk", data={"no": "note"}),
        event("good", do="hotel"),
    )
    async with entities(server, world, GoesOn) as here:
        run = await here.worker.start(GoesOn.run, guest(*events))
        result = await run.result()
        remembered = await carried(run)
        history = await here.worker.history(run)

    assert result == Diary(notes=("good",))
    assert world.provider.live == {"hotel:good": 1}
    reasons = {failed.event.id: failed.reason for failed in remembered.memory.failed}
    assert reasons == {
        "declined": "card_declined",
        "bug": "KeyError",
        "same key": "SagaInvalidStep",
        "leaves": "SagaUsageError",
        "unreadable": "ValidationError",
    }
    assert history.closed_as == "WORKFLOW_EXECUTION_COMPLETED"


async def test_fixed_code_applies_what_its_version_before_could_not(server: WorkflowEnvironment) -> None:
    """An event that a bug has stopped waits in a run without the bug in its history, so that fixed code may go on."""
    world = World()
    async with entities(server, world, Faulty) as here:
        run = await here.worker.start(Faulty.run, guest(event("a", do="hotel, bug"), event("b")))
        latest = here.worker.client.get_workflow_handle(run.id)
        await here.task(latest)
        queue = here.worker.task_queue
    async with scene(server, world, cached=False, workflows=[Repaired], task_queue=queue) as there:
        await there.decide(latest, Choice.RETRY)

        result = await run.result()

    assert result == Diary(notes=("a", "b"))
    assert world.provider.live == {"flight:a~2": 1, "flight:b": 1}


async def test_version_waits_for_the_one_before_it(server: WorkflowEnvironment, cached: bool) -> None:
    """With patience a version waits until what is missing has come, and another source does not wait with it."""
    world = World()
    gate = Gate()
    world.provider.script("hotel.book", held(gate))
    waiting = (event("1", version=1), event("3", version=3), event("other", source="billing", do="hotel"))
    async with entities(server, world, Patient, cached=cached) as here:
        run = await here.worker.start(Patient.run, guest(*waiting))
        await gate.reached()
        await run.signal(EVENT_SIGNAL, event("2", version=2))
        gate.open()
        result = await run.result()
        remembered = await carried(run)

    assert result == Diary(notes=("1", "other", "2", "3"))
    assert remembered.memory.counts == {"applied": 4}


async def test_gap_that_is_not_filled_is_passed(server: WorkflowEnvironment) -> None:
    """Patience has an end: the gap is recorded, and what was missing is stale when it comes."""
    world = World()
    async with entities(server, world, Patient) as here:
        run = await here.worker.start(
            Patient.run, guest(event("1", version=1), event("4", version=4), close_when_idle=None)
        )
        fourth = await apply(run, event("4", version=4))
        third = await apply(run, event("3", version=3))
        remembered = await carried(run)
        await run.cancel()

    assert (fourth.fate, third.fate) == (Fate.APPLIED, Fate.STALE)
    assert remembered.state == Diary(notes=("1", "4"))
    assert remembered.memory.counts["gaps"] == 1


async def test_cancellation_finishes_the_event_at_work(server: WorkflowEnvironment, cached: bool) -> None:
    """A cancelled entity finishes its event, applies no other, answers who waits, and hands over what is left."""
    world = World()
    gate = Gate()
    world.provider.script("hotel.book", held(gate))
    async with entities(server, world, Asks, cached=cached) as here:
        run = await here.worker.start(Asks.run, guest(event("a", do="hotel, car"), close_when_idle=None))
        await gate.reached()
        asked = asyncio.create_task(apply(run, event("b")))
        await here.until(run, event="WORKFLOW_EXECUTION_UPDATE_ACCEPTED")

        await run.cancel()
        await here.until(run, event="WORKFLOW_EXECUTION_CANCEL_REQUESTED")
        gate.open()
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await asked
        with pytest.raises(WorkflowFailureError) as ended:
            await run.result()
        left = await carried(run)
        history = await here.worker.history(run)

    assert history.closed_as == "WORKFLOW_EXECUTION_CANCELED"
    assert world.provider.live == {"hotel:a": 1, "car:a": 1}
    assert getattr(refused.value.cause, "type", None) == CLOSED
    assert isinstance(ended.value.cause, CancelledError)
    assert (left.state, [waiting.event.id for waiting in left.memory.waiting]) == (Diary(notes=("a",)), ["b"])


async def test_parked_entity_is_cancelled_without_an_answer(server: WorkflowEnvironment) -> None:
    """Nothing of an event that waits for a person is at work, so a cancellation does not wait for the answer."""
    world = World()
    async with entities(server, world, Asks) as here:
        run = await here.worker.start(Asks.run, guest(event("a", do="hotel, refuse")))
        latest = here.worker.client.get_workflow_handle(run.id)
        await here.task(latest)

        await latest.cancel()
        with pytest.raises(WorkflowFailureError) as ended:
            await latest.result()
        left = await carried(latest)

    assert isinstance(ended.value.cause, CancelledError)
    assert left.memory.stuck is not None
    assert left.memory.stuck.event.id == "a"


async def test_effect_of_doubtful_outcome_is_found_not_repeated(server: WorkflowEnvironment, cached: bool) -> None:
    """A lost reply within an event is looked up as in every saga; an alternative way leaves nothing of the first."""
    world = World()
    world.provider.script("hotel.book", lost())
    world.provider.script("car.book", declined())
    async with entities(server, world, Asks, cached=cached) as here:
        run = await here.worker.start(Asks.run, guest(event("a", do="hotel"), event("b", do="car or flight")))
        result = await run.result()

    assert result == Diary(notes=("a", "b"))
    assert world.provider.live == {"flight:b": 1, "hotel:a": 1}
    assert world.provider.story.count("+hotel:a") == 1


async def test_signal_that_is_no_event_harms_nothing(server: WorkflowEnvironment) -> None:
    """What is no event is counted and dropped, also when it starts the entity; the events beside it are applied."""
    world = World()
    async with entities(server, world, Asks) as here:
        run = await here.worker.start(
            Asks.run, guest(), start_signal=EVENT_SIGNAL, start_signal_args=[{"nothing": "known"}]
        )
        await run.signal(EVENT_SIGNAL, event("a"))
        result = await run.result()
        remembered = await carried(run)

    assert result == Diary(notes=("a",))
    assert remembered.memory.counts == {"applied": 1, "unreadable": 1}


async def test_write_by_a_stranger_is_recorded_as_drift(server: WorkflowEnvironment) -> None:
    """A field is taken from its owner only; what others say of it is remembered as drift."""
    world = World()
    events: tuple[EntityEvent[Any], ...] = (
        EntityEvent(id="1", source="desk", data={"name": "Ada", "balance": 7}),
        EntityEvent(id="2", source="billing", data={"balance": 5, "shoe_size": 38}),
    )
    async with entities(server, world, Owns) as here:
        run = await here.worker.start(Owns.run, Entity(state={}, events=events, close_when_idle=IDLE))
        result = await run.result()
        remembered: Entity[Any] = await run.query(ENTITY_QUERY, result_type=Entity[Any])

    assert result == {"name": "Ada", "balance": 5}
    told = [(drift.field, drift.owner, drift.writer, drift.offered) for drift in remembered.memory.drift]
    assert told == [("balance", "billing", "desk", 7), ("shoe_size", "", "billing", 38)]


def test_policies_are_a_closed_vocabulary() -> None:
    """An entity parks or records; there is no third way."""
    assert [policy.value for policy in OnFailure] == ["park", "record"]
