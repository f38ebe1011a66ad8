"""Entities that are wrong in one way each, and the nearest that are right: each event books a trip of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError

from kit import Entity, EntityEvent, EntityWorkflow
from kit.workflow import OnFailure
from kit.workflow.entity import _life
from kit.workflow.saga import _saga
from tests.worlds.five_steps import Trip, fly, sleep


class Traveller(EntityWorkflow[int, str], owner="travel", uses=(fly, sleep), deadline=timedelta(hours=1)):
    """Base of the entities here: books a flight for each event, and counts them."""

    async def apply(self, event: EntityEvent[str]) -> None:
        """Fly."""
        await self.step(fly, Trip(trip=event.key))
        self.state += 1


@workflow.defn
class EndsInTime(Traveller):
    """Finishes the event at work when it is cancelled, and begins no other."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)


@workflow.defn
class OneMore(Traveller):
    """Begins another event although it was cancelled."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live a little longer."""
        try:
            return await self.live(traveller)
        except CancelledError:
            life: Any = _life(self)
            await life._deal_with_one(life._inbox)  # the defect
            raise


@workflow.defn
class Late(Traveller):
    """Gives an event more time when it has none left."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)

    async def apply(self, event: EntityEvent[str]) -> None:
        """Fly, oversleep, and sleep."""
        await super().apply(event)
        _saga(self).run._deadline += timedelta(days=1)  # the defect
        await workflow.sleep(timedelta(hours=2))
        await self.step(sleep, Trip(trip=event.key))


@workflow.defn
class InTime(Traveller, deadline=timedelta(hours=3)):
    """Has enough time for each event, and takes longer than one has for all of them."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)

    async def apply(self, event: EntityEvent[str]) -> None:
        """Fly, and sleep two hours later."""
        await super().apply(event)
        await workflow.sleep(timedelta(hours=2))
        await self.step(sleep, Trip(trip=event.key))


class Rejects(Traveller):
    """Base of those that fail on the first round of the first event, once it has booked."""

    forgets = False

    async def apply(self, event: EntityEvent[str]) -> None:
        """Fly, and think better of it."""
        await super().apply(event)
        if event.id == "rome" and event.round == 1:
            if self.forgets:
                _saga(self).run.steps.clear()  # the defect
            raise ApplicationError("not to Rome", type="NotToRome")


@workflow.defn
class Undoes(Rejects, on_failure=OnFailure.RECORD):
    """Undoes what it did for an event that it writes down as failed."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)


@workflow.defn
class Forgets(Rejects, on_failure=OnFailure.RECORD):
    """Does not."""

    forgets = True

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)


@workflow.defn
class UndoesAndAsks(Rejects):
    """Undoes what it did for an event, before a person is asked about it in the next run."""

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)


@workflow.defn
class ForgetsAndAsks(Rejects):
    """Does not."""

    forgets = True

    @workflow.run
    async def run(self, traveller: Entity[int]) -> int:
        """Live."""
        return await self.live(traveller)
