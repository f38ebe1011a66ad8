"""Holds: what they stop of a saga, and that nothing is lost by waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from kit.contract import Hold, HoldGate, HoldScope
from kit.errors import StartHeld
from kit.ledger.states import State
from kit.worker import ReliabilityPlugin
from tests.workflow.sagas import Hasty, Plan, Travel
from tests.workflow.scene import End, scene
from tests.workflow.world import Fault, Gate, World, declined, held, lost

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def on(world: World, scope: HoldScope, name: str, **terms: Any) -> None:
    """Switch a hold on; the worker has seen it when this returns."""
    hold = Hold(scope=scope, name=name, reason="double charges", who="ada", since=datetime.now(UTC), **terms)
    await world.ledger.holds.switch_on(hold)
    await look(world)


async def off(world: World, scope: HoldScope, name: str) -> None:
    """Switch it off again."""
    await world.ledger.holds.switch_off(scope, name, who="ada", reason="mended", at=datetime.now(UTC))
    await look(world)


async def look(world: World) -> None:
    """Do what a worker does every second."""
    assert world.plugin.holds is not None
    assert await world.plugin.holds.look()


def unaware(server: WorkflowEnvironment) -> Client:
    """A client that knows nothing of holds, as an old version's."""
    config = server.client.config()
    config["plugins"] = [ReliabilityPlugin()]
    return Client(**config)


async def test_held_step_waits_and_loses_no_attempt(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """More attempts are held than any cap allows; the step is carried out once when the hold is lifted."""
    async with scene(server, world, cached=cached) as travel:
        await on(world, HoldScope.DEPENDENCY, "agency", gates={HoldGate.EXECUTE})
        run = await travel.start("step hotel")
        await travel.attempted(run, "hotel.book", times=12)
        asked = dict(world.provider.calls)
        await off(world, HoldScope.DEPENDENCY, "agency")
        ended = await travel.end(run)

    assert asked == {}
    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["hotel.book"]
    assert world.provider.story == ["+hotel:1"]


async def test_hold_switched_on_between_two_attempts_stops_the_next(server: WorkflowEnvironment, world: World) -> None:
    """An attempt whose reply was lost is not resolved while the hold is on, and its effect is found afterwards."""
    gate = Gate()
    world.provider.script("hotel.book", Fault(after_gate=gate, after=lost().after))

    async with scene(server, world) as travel:
        run = await travel.start("step hotel")
        await gate.reached()
        await on(world, HoldScope.OPERATION, "hotel.book")
        gate.open()
        await travel.attempted(run, "hotel.book", times=3)
        asked = world.provider.calls.total()
        await off(world, HoldScope.OPERATION, "hotel.book")
        ended = await travel.end(run)

    assert asked == 1
    assert ended.closed_as == "COMPLETED"
    assert list(world.provider.live.values()) == [1]


async def test_undo_passes_a_hold(server: WorkflowEnvironment, world: World) -> None:
    """A hold on everything that a saga does keeps none of it from being taken back."""
    gate = Gate()
    world.provider.script("card.charge", held(gate, before=declined().before))

    async with scene(server, world) as travel:
        run = await travel.start("step flight", "step card")
        await gate.reached()
        await on(world, HoldScope.WORKFLOW, "Travel")
        gate.open()
        ended = await travel.end(run)

    assert ended.activities == ["flight.book", "card.charge", "flight.book.undo"]
    assert world.provider.live == {}


async def test_hold_that_names_undos_stops_them(server: WorkflowEnvironment, world: World) -> None:
    """With `undo` the taking back waits as well."""
    gate = Gate()
    world.provider.script("card.charge", held(gate, before=declined().before))

    async with scene(server, world) as travel:
        run = await travel.start("step flight", "step card")
        await gate.reached()
        await on(world, HoldScope.OPERATION, "flight.book", undo=True)
        gate.open()
        await travel.attempted(run, "flight.book.undo", times=12)
        there = dict(world.provider.live)
        await off(world, HoldScope.OPERATION, "flight.book")
        ended = await travel.end(run)

    assert list(there.values()) == [1]
    assert world.provider.live == {}
    assert ended.rows["flight:1"] is State.UNDONE


async def test_after_commit_alone_is_held(server: WorkflowEnvironment, world: World) -> None:
    """The same effect goes out in the body and waits where it was held back until the success."""
    async with scene(server, world) as travel:
        await on(world, HoldScope.EFFECT, "irreversible", gates={HoldGate.AFTER_COMMIT})
        run = await travel.start("pivot card", "step letter", "after mail")
        await travel.attempted(run, "mail.send", times=2)
        story = list(world.provider.story)
        await off(world, HoldScope.EFFECT, "irreversible")
        ended = await travel.end(run)

    assert story == ["+card:1", "+letter:1"]
    assert ended.closed_as == "COMPLETED"
    assert world.provider.story == ["+card:1", "+letter:1", "+mail:1"]


# -- the start -----------------------------------------------------------------------------------------------------


async def test_start_is_refused_while_the_hold_is_on(server: WorkflowEnvironment, world: World) -> None:
    """A caller hears which hold it is and who to ask; afterwards the same start is accepted."""
    async with scene(server, world) as travel:
        await on(world, HoldScope.WORKFLOW, "Travel")
        with pytest.raises(StartHeld) as refused:
            await travel.start("step hotel")
        await off(world, HoldScope.WORKFLOW, "Travel")
        ended = await travel.run("step hotel")

    assert (refused.value.scope, refused.value.name, refused.value.who) == ("workflow", "Travel", "ada")
    assert "Travel is not started: workflow 'Travel' is on hold by ada until it is switched off" in str(refused.value)
    assert ended.closed_as == "COMPLETED"


async def test_accepted_start_waits_before_its_first_effect(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A hold that accepts lets the run start and keeps all of its first steps from beginning."""
    async with scene(server, world, cached=cached) as travel:
        await on(world, HoldScope.WORKFLOW, "Travel", gates={HoldGate.START}, accepts=True)
        run = await travel.start("parallel flight hotel")
        await travel.attempted(run, "flight.book", times=2)
        await travel.attempted(run, "hotel.book", times=2)
        story = list(world.provider.story)
        await off(world, HoldScope.WORKFLOW, "Travel")
        ended = await travel.end(run)

    assert story == []
    assert ended.closed_as == "COMPLETED"
    assert sorted(world.provider.story) == ["+flight:1", "+hotel:1"]


async def test_start_by_a_client_that_knows_no_holds_waits(server: WorkflowEnvironment, world: World) -> None:
    """The guard has the last word: what nobody refused at the door does not get past the first step."""
    async with scene(server, world) as travel:
        await on(world, HoldScope.WORKFLOW, "Travel", gates={HoldGate.START})
        client = unaware(server)
        plan = Plan(id="1", lines=("step hotel",))
        run = await client.start_workflow(
            Travel.run, plan, id=f"old-{travel.worker.task_queue}", task_queue=travel.worker.task_queue
        )
        await travel.attempted(run, "hotel.book", times=2)
        story = list(world.provider.story)
        await off(world, HoldScope.WORKFLOW, "Travel")
        await run.result()

    assert story == []
    assert world.provider.story == ["+hotel:1"]


async def test_run_that_had_begun_is_let_through(server: WorkflowEnvironment, world: World) -> None:
    """A hold on new runs alone does not touch those in flight."""
    async with scene(server, world) as travel:
        run = await travel.start("step flight", "wait", "step hotel")
        await travel.until(run, "flight.book")
        await on(world, HoldScope.WORKFLOW, "Travel", gates={HoldGate.START})
        await run.signal(Travel.go)
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"


async def test_hold_on_a_tenant_stops_its_runs_and_no_others(server: WorkflowEnvironment, world: World) -> None:
    """Whose run it is, the class says by the fields of its request: at the door and at each step."""
    async with scene(server, world, workflows=[Travel, Hasty]) as travel:
        await on(world, HoldScope.TENANT, "acme")
        with pytest.raises(StartHeld, match="tenant 'acme'"):
            await travel.worker.start(Hasty.run, Plan(id="acme", lines=("hotel",)))
        other = await travel.worker.start(Hasty.run, Plan(id="zenith", lines=("hotel",)))
        await other.result()
        queue = travel.worker.task_queue
        run = await unaware(server).start_workflow(
            Hasty.run, Plan(id="acme", lines=("hotel",)), id=f"acme-{queue}", task_queue=queue
        )
        await travel.attempted(run, "hotel.book", times=2)
        story = list(world.provider.story)
        await off(world, HoldScope.TENANT, "acme")
        await run.result()

    assert story == ["+hotel:zenith"]


def budgets(ended: End, activity: str) -> list[timedelta]:
    """What was left of the deadline each time an activity was scheduled."""
    return [
        each.activity_task_scheduled_event_attributes.schedule_to_close_timeout.ToTimedelta()
        for each in ended.history.raw.events
        if each.activity_task_scheduled_event_attributes.activity_type.name == activity
    ]


async def times_scheduled(run: Any, activity: str, times: int) -> None:
    """Wait until an activity has been scheduled so often."""
    async with asyncio.timeout(20):
        async for event in run.fetch_history_events(wait_new_event=True):
            times -= event.activity_task_scheduled_event_attributes.activity_type.name == activity
            if times == 0:
                return


# -- the deadline --------------------------------------------------------------------------------------------------


async def test_hold_longer_than_the_deadline_turns_nothing_round(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """The budget stands still while a step is held, with a handful of events however long it takes."""
    async with scene(server, world, cached=cached, workflows=[Travel, Hasty]) as travel:
        await on(world, HoldScope.OPERATION, "hotel.book")
        run = await travel.worker.start(Hasty.run, Plan(id="1", lines=("flight", "hotel", "car")))
        await times_scheduled(run, "hotel.book", 3)
        await travel.attempted(run, "hotel.book", times=2)
        await off(world, HoldScope.OPERATION, "hotel.book")
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    first, second, third = budgets(ended, "hotel.book")
    assert first < second < third
    assert third > timedelta(minutes=1)
    assert ended.history.timers == 0
    assert sorted(world.provider.story) == ["+car:1", "+flight:1", "+hotel:1"]


async def test_time_held_before_the_deadline_is_given_back(server: WorkflowEnvironment, world: World) -> None:
    """A hold that took nearly all of the budget leaves all of it to the steps that come later."""
    async with scene(server, world, workflows=[Travel, Hasty]) as travel:
        await on(world, HoldScope.OPERATION, "hotel.book")
        run = await travel.worker.start(Hasty.run, Plan(id="1", lines=("hotel", "car")))
        await travel.attempted(run, "hotel.book", times=8)
        await off(world, HoldScope.OPERATION, "hotel.book")
        ended = await travel.end(run)

    (budget,) = budgets(ended, "car.book")
    assert budget > timedelta(seconds=25)


async def test_local_step_is_held_as_well(server: WorkflowEnvironment, world: World) -> None:
    """A local activity waits like any other, and its attempts do not count as lost."""
    async with scene(server, world) as travel:
        await on(world, HoldScope.OPERATION, "diary.note")
        run = await travel.start("step diary")
        await fired(run, 8)
        await off(world, HoldScope.OPERATION, "diary.note")
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert world.provider.story == ["+diary:1"]


async def fired(run: Any, times: int) -> None:
    """Wait until so many timers have fired: between two attempts of a local activity there is one."""
    async with asyncio.timeout(20):
        async for event in run.fetch_history_events(wait_new_event=True):
            times -= event.HasField("timer_fired_event_attributes")
            if times == 0:
                return
