"""The deadline: a budget of the body, kept inside the workflow."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.workflow.scene import scene
from tests.workflow.world import World, declined, unsent, vanished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

HOUR = 3600


async def test_it_ends_a_retry(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step that waits for its next attempt when the deadline is over is given up, and the saga is undone."""
    world.provider.always("hotel.book", unsent(retry_after=timedelta(minutes=50)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "step hotel")

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "deadline"
    assert ended.activities == ["flight.book", "hotel.book", "flight.book.undo"]
    assert ended.history.timers == 0
    assert world.provider.story == ["+flight:1", "-flight:1"]
    assert ended.rows == {"flight:1": State.UNDONE, "hotel:1": State.REFUSED}


async def test_it_is_looked_at_before_each_step(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A body that has slept past its deadline takes no further step."""
    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", f"sleep {7 * HOUR}", "step hotel")

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "deadline"
    assert str(ended.error) == "SagaCompensated: the deadline of 6:00:00 is over. Undone: Book the flight of 1."
    assert ended.activities == ["flight.book", "flight.book.undo"]


async def test_it_is_looked_at_before_the_end(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A body without a pivot that returns too late is undone."""
    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", f"sleep {7 * HOUR}")

    assert ended.summary.reason_code == "deadline"
    assert world.provider.live == {}


async def test_it_ends_with_the_pivot(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """After the pivot there is no deadline."""
    world.provider.script("car.book", *(unsent(retry_after=timedelta(minutes=50)) for _ in range(10)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("pivot card", f"sleep {7 * HOUR}", "step car")

    assert ended.closed_as == "COMPLETED"
    assert world.provider.calls["car.book"] == 11


async def test_it_does_not_run_while_a_person_is_asked(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """The time a person takes does not count, however many are asked at once, and only that time."""
    world.provider.script("fax.send", vanished())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start(f"parallel fax idle-{10 * HOUR}", f"sleep {5 * HOUR}", "step hotel")
        await travel.until(run, event="TIMER_FIRED")
        await travel.decide(run, Choice.SUPPLY, result={"id": "sent"})
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert ended.activities == ["fax.send", "kit.record_decision", "hotel.book"]


async def test_it_runs_on_afterwards(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What was left of the deadline when a person was asked is what is left when they have answered."""
    world.provider.script("fax.send", vanished())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start(f"sleep {5 * HOUR}", f"parallel fax idle-{10 * HOUR}", f"sleep {2 * HOUR}", "step car")
        await travel.until(run, event="TIMER_FIRED")
        await travel.decide(run, Choice.SUPPLY, result={"id": "sent"})
        ended = await travel.end(run)

    assert ended.summary.reason_code == "deadline"
    assert ended.activities == ["fax.send", "kit.record_decision", "fax.send.undo"]


async def test_a_sibling_of_a_parked_step_has_its_time(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A step that runs out of time only because its sibling waits for a person goes on."""
    world.provider.script("fax.send", vanished())
    world.provider.script("hotel.book", *(unsent(retry_after=timedelta(minutes=50)) for _ in range(9)))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("parallel fax hotel")
        await travel.until(run, "hotel.book")
        await travel.decide(run, Choice.SUPPLY, result={"id": "sent"})
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert sorted(ended.activities) == ["fax.send", "hotel.book", "hotel.book", "kit.record_decision"]
    assert world.provider.calls["hotel.book"] == 10


async def test_it_does_not_bound_the_undo(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """An undo takes as long as it takes."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", *(unsent(retry_after=timedelta(minutes=50)) for _ in range(10)))

    async with scene(server, world, cached=cached) as travel:
        ended = await travel.run("step flight", "step card")

    assert ended.type == COMPENSATED
    assert ended.summary.reason_code == "card_declined"
    assert world.provider.live == {}
