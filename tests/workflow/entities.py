"""The entities of the tests. A module of their own, as `tests.workflow.sagas`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from kit import Entity, EntityEvent, EntityWorkflow, Model
from kit.contract import Ownership
from kit.workflow import OnFailure
from tests.workflow.world import Ask, car, card, flight, hotel

OWNERSHIP = Ownership("guest", {"name": "desk", "balance": "billing"})


class Change(Model):
    """What an event says: what to note, and what to do about it."""

    note: str
    do: str = ""


class Diary(Model):
    """What an entity knows: the notes, in the order in which they were applied."""

    notes: tuple[str, ...] = ()


class Guest(EntityWorkflow[Diary, Change], owner="travel-desk", deadline=timedelta(hours=6)):
    """Base of the entities: writes notes, and does what they say."""

    async def apply(self, event: EntityEvent[Change]) -> None:
        """Do what is to be done, then note it."""
        ask = Ask(id=event.key)
        self.state = Diary(notes=(*self.state.notes, event.data.note))
        match event.data.do:
            case "":
                return
            case "hotel":
                await self.step(hotel, ask)
            case "hotel, car":
                await self.step(hotel, ask)
                await self.step(car, ask)
            case "car or flight":
                try:
                    await self.step(car, ask)
                except ActivityError:
                    await self.step(flight, ask)
            case "same card":
                await self.step(card, Ask(id="always"))
            case "hotel, refuse":
                await self.step(hotel, ask)
                raise ApplicationError("no such guest", type="NoSuchGuest")
            case "hotel, bug":
                await self.step(hotel, ask)
                raise KeyError("typo")
            case "continue":
                workflow.continue_as_new(self.state)
            case other:
                raise AssertionError(other)


@workflow.defn
class Asks(Guest, continue_after=5, window=4):
    """Asks a person about what it cannot apply."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)


@workflow.defn
class GoesOn(Guest, on_failure=OnFailure.RECORD):
    """Writes down what it cannot apply."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)


@workflow.defn
class Patient(Guest, wait_for_missing=timedelta(minutes=5)):
    """Waits for what is missing."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)


@workflow.defn
class Busy(Guest, continue_after=200):
    """Takes very many events."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)

    async def apply(self, event: EntityEvent[Change]) -> None:
        """Keep the last note only."""
        await super().apply(event)
        self.state = Diary(notes=self.state.notes[-1:])


@workflow.defn(name="Repaired")
class Faulty(Guest):
    """Has a bug in what it does about a note."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)


@workflow.defn(name="Repaired")
class Repaired(Guest):
    """The same entity after the fix."""

    @workflow.run
    async def run(self, guest: Entity[Diary]) -> Diary:
        return await self.live(guest)

    async def apply(self, event: EntityEvent[Change]) -> None:
        """Do less."""
        await self.step(flight, Ask(id=event.key))
        self.state = Diary(notes=(*self.state.notes, event.data.note))


@workflow.defn
class Owns(EntityWorkflow[dict[str, Any], dict[str, Any]], owner="travel-desk"):
    """Takes fields from those who own them."""

    @workflow.run
    async def run(self, guest: Entity[dict[str, Any]]) -> dict[str, Any]:
        return await self.live(guest)

    async def apply(self, event: EntityEvent[dict[str, Any]]) -> None:
        """Merge what the source may say."""
        merged = OWNERSHIP.merge({}, event.data, writer=event.source, version=event.version, at=workflow.now())
        self.record_drift(merged)
        self.state = {**self.state, **{name: held.value for name, held in merged.fields.items()}}
