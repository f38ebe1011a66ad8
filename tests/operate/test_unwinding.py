"""Unwinding from outside: which runs are meant, at what pace, and after an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.errors import DefinitionError
from kit.operate import Operating
from kit.operate.unwinding import State, Target, Unwinding, plan, target_of, targets
from kit.worker.effects import quoted
from tests.harness import Running, running
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import Gate, World, held

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest.fixture
def world() -> World:
    """A world of one's own."""
    return World()


@asynccontextmanager
async def service(server: WorkflowEnvironment, world: World) -> AsyncIterator[tuple[Running, Operating]]:
    """A service at work, and what its operators have."""
    async with running(server, world.plugin, [Travel]) as worker:
        yield worker, Operating(client=worker.client, ledger=world.ledger, task_queue=worker.task_queue)


async def travelled(worker: Running, name: str, *, id: str | None = None) -> str:
    """A completed run; returns its first run's id."""
    handle = await worker.start(Travel.run, Plan(id=name, lines=("step hotel",)), id=id or f"it's {name}")
    await handle.result()
    return str(handle.first_execution_run_id)


async def found(operating: Operating, *, number: int) -> list[Target]:
    """The completed runs of the service, once visibility has heard of so many."""
    query = f"TaskQueue = {quoted(operating.task_queue)} AND WorkflowType = 'Travel'"
    closed = f"{query} AND ExecutionStatus = 'Completed'"
    while (await operating.client.count_workflows(closed)).count < number:  # noqa: ASYNC110 - visibility tells nobody
        await asyncio.sleep(0.05)
    return [target async for target in targets(operating, query, limit=100)]


async def test_an_interrupted_unwinding_is_gone_on_with(server: WorkflowEnvironment, world: World) -> None:
    """Cut off while one run is being unwound, and called again, it joins that one and does the rest."""
    gate = Gate()
    async with service(server, world) as (worker, operating):
        for name in ("1", "2", "3"):
            await travelled(worker, name)
        plans = await plan(operating, await found(operating, number=3))
        world.provider.script("hotel.book.undo", held(gate))
        first = Unwinding(operating, who="ada", why="bad release", rate=1000, at_once=1)
        at_work = asyncio.ensure_future(first.run(plans))
        await gate.reached()
        at_work.cancel()
        await asyncio.wait([at_work])
        gate.open()

        fates = await Unwinding(operating, who="ada", why="bad release", rate=1000).run(plans)
        again = await Unwinding(operating, who="ada", why="bad release").run(
            await plan(operating, [p.target for p in plans])
        )

    assert first.fates == []
    assert [fate.state for fate in fates] == [State.UNWOUND] * 3
    assert [fate.state for fate in again] == [State.NOTHING] * 3
    assert world.provider.live == {}
    assert sorted(world.provider.story[3:]) == ["-hotel:1", "-hotel:2", "-hotel:3"]


async def test_a_query_means_the_runs_it_finds(server: WorkflowEnvironment, world: World) -> None:
    """One run of a workflow id that it finds is meant alone; of several of them, all; open runs never."""
    async with service(server, world) as (worker, operating):
        queue = worker.task_queue
        only = await travelled(worker, "1", id=f"once-{queue}")
        await travelled(worker, "2", id=f"twice-{queue}")
        await travelled(worker, "3", id=f"twice-{queue}")
        open_ = await worker.start(Travel.run, Plan(id="4", lines=("wait",)))

        meant = {target.saga: target.run_id for target in await found(operating, number=3)}
        by_id = await target_of(operating, f"once-{queue}")
        by_run = await target_of(operating, f"once-{queue}", run_id=only)
        await open_.terminate()

    assert meant == {f"once-{queue}": only, f"twice-{queue}": None}
    assert (by_id.run_id, by_run.run_id) == (None, only)
    assert (by_id.closed_as, by_id.task_queue) == ("completed", queue)


async def test_an_open_run_is_refused_before_anything_is_started(server: WorkflowEnvironment, world: World) -> None:
    """The plan says so, and carrying it out changes nothing."""
    async with service(server, world) as (worker, operating):
        run = await worker.start(Travel.run, Plan(id="1", lines=("step hotel", "wait")))
        await world.provider.happens("+hotel:1")

        (fate,) = await Unwinding(operating, who="ada", why="x").run(
            await plan(operating, [await target_of(operating, run.id)])
        )
        await run.terminate()

    assert fate.state is State.REFUSED
    assert "it is open" in fate.why
    assert world.provider.live == {"hotel:1": 1}


async def test_a_query_that_the_server_does_not_take_is_told(server: WorkflowEnvironment, world: World) -> None:
    """Its own words, and what to do."""
    operating = Operating(client=server.client, ledger=world.ledger, task_queue="none")

    with pytest.raises(DefinitionError, match=r"the server does not take it: .*Colour"):
        [target async for target in targets(operating, "Colour = 'red'", limit=1)]


async def test_a_pace_that_cannot_be_kept_is_refused(server: WorkflowEnvironment, world: World) -> None:
    """No unwinds at all in a second, or none at once, is no pace."""
    operating = Operating(client=server.client, ledger=world.ledger, task_queue="none")

    with pytest.raises(DefinitionError, match="rate=0"):
        Unwinding(operating, who="ada", why="x", rate=0)
