"""A worker of another version takes a run over whose results it cannot read: nothing is closed, nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kit import Model, Operation, SagaWorkflow, Token
from kit.worker import Connector, ReliabilityPlugin
from tests.workflow.scene import scene
from tests.workflow.world import Ask, Booked, World, flight, operation


class Seated(Booked):
    """What the newer version of `flight` gives: one more field, which the older one refuses to drop."""

    seat: str


newer: Operation[Ask, Seated] = operation("flight.book", result=Seated)


class NewerAgency(Connector):
    """Serves the newer version."""

    def __init__(self, world: World) -> None:
        self.world = world

    @newer.action
    async def act(self, request: Ask, token: Token) -> Seated:
        """Book, and say which seat."""
        return Seated(id=(await self.world.provider.act("flight.book", token)).id, seat="12A")

    @newer.compensation
    async def take_back(self, undo: Any, token: Token) -> None:
        """Cancel the booking."""
        await self.world.provider.undo("flight.book.undo", token)


@workflow.defn(name="Flies")
class Older(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """As it was before the result had a seat."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        """Book."""
        return (await self.step(flight, ask)).id


@workflow.defn(name="Flies")
class Newer(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """As it is since."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        """Book, and give the seat."""
        return (await self.step(newer, ask)).seat


async def test_a_result_of_another_version_fails_the_task_and_not_the_run(
    server: WorkflowEnvironment, world: World
) -> None:
    """What an older worker cannot read keeps its run waiting with its effect; the newer worker goes on from there."""
    plugin = ReliabilityPlugin(ledger=world.ledger, connectors=[NewerAgency(world)])
    config = server.client.config()
    config["plugins"] = [plugin]

    async with scene(server, world, cached=False, workflows=[Older], no_remote_activities=True) as old:
        queue = old.worker.task_queue
        quick = timedelta(seconds=1)  # a failed workflow task is tried again after this long, in real time
        run = await old.worker.start(Older.run, Ask(id="1"), task_timeout=quick)
        async with Worker(Client(**config), task_queue=queue, build_id="activities"):
            await old.until(run, event="WORKFLOW_TASK_FAILED")
    stands = dict(world.provider.live)
    async with Worker(Client(**config), task_queue=queue, workflows=[Newer], build_id="tests"):
        result = await run.result()

    assert stands == {"flight:1": 1}
    assert result == "12A"
    assert world.provider.live == {"flight:1": 1}


class Seat(Model):
    """What the child gives, as its parent's version knows it."""

    id: str


class RowAndSeat(Seat):
    """What it gives in the newer version."""

    row: int


@workflow.defn(name="Sits")
class OlderChild(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """As the parent knows it."""

    @workflow.run
    async def run(self, ask: Ask) -> Seat:
        """Book."""
        return Seat(id=(await self.step(flight, ask)).id)


@workflow.defn(name="Sits")
class NewerChild(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """As another service's workers run it."""

    @workflow.run
    async def run(self, ask: Ask) -> RowAndSeat:
        """Book."""
        return RowAndSeat(id=(await self.step(flight, ask)).id, row=12)


@workflow.defn(name="Seats")
class OlderParent(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """Knows the older child."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        """Book a seat."""
        seat: Seat = await self.child(OlderChild, ask, task_queue=ask.note)
        return seat.id


@workflow.defn(name="Seats")
class NewerParent(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """Knows the newer one."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        """Book a seat."""
        seat: RowAndSeat = await self.child(NewerChild, ask, task_queue=ask.note)
        return f"{seat.id} in row {seat.row}"


async def test_a_childs_result_of_another_version_fails_the_task_and_not_the_run(
    server: WorkflowEnvironment, world: World
) -> None:
    """A parent that cannot read what its child gave waits with everything in place, as for a step's result."""
    quick = timedelta(seconds=1)
    async with scene(server, world, workflows=[NewerChild]) as children:
        ask = Ask(id="1", note=children.worker.task_queue)
        async with scene(server, world, cached=False, workflows=[OlderParent, OlderChild]) as old:
            queue = old.worker.task_queue
            run = await old.worker.start(OlderParent.run, ask, task_timeout=quick)
            await old.until(run, event="WORKFLOW_TASK_FAILED")
        stands = dict(world.provider.live)
        async with scene(server, world, workflows=[NewerParent, NewerChild], task_queue=queue):
            result = await run.result()

    assert stands == world.provider.live == {"flight:1": 1}
    assert result == "flight:1! in row 12"
