"""The sagas of the tests. A module of their own: the sandbox loads it for every run, and loads no test tool with it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from kit import Model, SagaWorkflow
from tests.workflow.world import OPERATIONS, Ask, Booked, car, card, flight, hotel, mail, visa

RUNBOOK = "https://runbooks.test/travel"


class Plan(Model):
    """What a `Travel` does, line by line.

    ``step hotel``, ``parallel flight hotel``, ``pivot card``, ``after mail``, ``sleep 60``, ``wait`` (for `go`),
    ``fail Type``; in a ``parallel``, ``idle-60`` is a timer that runs beside the steps.
    """

    id: str
    lines: tuple[str, ...]


class Ticket(Model):
    """What a `Travel` gives."""

    trip_id: str
    status: str = "booked"
    passenger: str = "Ada Lovelace"


@workflow.defn
class Travel(
    SagaWorkflow,
    owner="travel-desk",
    deadline=timedelta(hours=6),
    runbook=RUNBOOK,
    uses=tuple(OPERATIONS.values()),
):
    """Does what its plan says."""

    def __init__(self) -> None:
        self.gone = False

    @workflow.run
    async def run(self, plan: Plan) -> Ticket:
        ask = Ask(id=plan.id)
        for line in plan.lines:
            verb, *words = line.split()
            match verb:
                case "step":
                    await self.step(OPERATIONS[words[0]], ask)
                case "parallel":
                    idle = [workflow.sleep(float(word[5:])) for word in words if word.startswith("idle-")]
                    calls = [(OPERATIONS[word], ask) for word in words if not word.startswith("idle-")]
                    await asyncio.gather(self.parallel(*calls), *idle)
                case "pivot":
                    await self.pivot(OPERATIONS[words[0]], ask)
                case "after":
                    self.after_commit(OPERATIONS[words[0]], ask)
                case "sleep":
                    await workflow.sleep(float(words[0]))
                case "wait":
                    await workflow.wait_condition(lambda: self.gone)
                case "fail":
                    raise ApplicationError("out of luck", type=words[0])
        return Ticket(trip_id=plan.id)

    @workflow.signal
    def go(self) -> None:
        """Let ``wait`` end."""
        self.gone = True


class Bodied(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """Base of the sagas with a body of their own."""


@workflow.defn
class TakesAnotherWay(Bodied):
    """Goes by car when there is no flight, and looks at nothing but that the step failed."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        try:
            return (await self.step(flight, ask)).id
        except ActivityError:
            return (await self.step(car, ask)).id


@workflow.defn
class FilesVisa(Bodied):
    """Has a point of no return that nothing undoes."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.step(flight, ask)
        await self.pivot(visa, ask)
        await self.step(hotel, ask)


@workflow.defn
class TriesAgain(Bodied):
    """Tries the same step again when it has failed for good."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        try:
            return (await self.step(hotel, ask)).id
        except ActivityError:
            return (await self.step(hotel, ask)).id


@workflow.defn
class WaitsInVain(Bodied):
    """Waits for something with a timeout, and lets the timeout pass."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.step(flight, ask)
        await workflow.wait_condition(lambda: False, timeout=timedelta(minutes=5))


@workflow.defn(failure_exception_types=[LookupError])
class DeclaresFailures(Bodied):
    """Raises what it declares as a failure."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.step(flight, ask)
        raise KeyError("seat")


@workflow.defn
class Impatient(Bodied):
    """Gives one step a minute, and goes on without it."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        try:
            async with asyncio.timeout(60):
                await self.step(hotel, ask)
        except TimeoutError:
            await self.step(car, ask)
            return "by car"
        return "in time"


@workflow.defn
class ImpatientWithSeveral(Bodied):
    """Gives several steps a minute together, and goes on without them."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        try:
            async with asyncio.timeout(60):
                await self.parallel((hotel, ask), (flight, ask))
        except TimeoutError:
            return "neither"
        return "both"


@workflow.defn
class Gathers(Bodied):
    """Runs steps at once by hand."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await asyncio.gather(self.step(hotel, ask), self.step(card, ask))


@workflow.defn
class Forgets(Bodied):
    """Starts a step and does not wait for it."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        task = asyncio.create_task(self.step(hotel, ask))
        await asyncio.sleep(0)
        return str(task.done())


@workflow.defn
class Swallows(Bodied):
    """Catches everything, even what says that it has turned round, and returns."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        await self.step(flight, ask)
        with contextlib.suppress(ActivityError, asyncio.CancelledError):
            await self.step(hotel, ask)
        with contextlib.suppress(ActivityError, asyncio.CancelledError):
            await self.step(car, ask)
        return "all is well"


@workflow.defn
class StartsOver(Bodied):
    """Continues as new."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        if ask.note == "after a step":
            await self.step(flight, ask)
        if ask.note != "again":
            workflow.continue_as_new(Ask(id=ask.id, note="again"))
        return ask.note


@workflow.defn
class AsksBadly(Bodied):
    """Makes a mistake with a step."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.step(flight, ask)
        match ask.note:
            case "wrong request":
                await self.step(hotel, Booked(id="?"))  # type: ignore[misc] # the mistake
            case "long key":
                await self.step(hotel, Ask(id="x" * 300))
            case "empty key":
                await self.step(hotel, Ask(id=""))
            case "invalid model":
                await self.step(hotel, Ask.model_validate({"nr": 7}))
            case "too early":
                await getattr(self, "step")(mail, ask)  # noqa: B009 - hidden from the check of the source


@workflow.defn(name="Repaired")
class Broken(Bodied):
    """Has a bug that no release note mentions."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        await self.step(flight, ask)
        raise KeyError("typo")


@workflow.defn(name="Repaired")
class Fixed(Bodied):
    """The same workflow after the fix."""

    @workflow.run
    async def run(self, ask: Ask) -> str:
        await self.step(flight, ask)
        return (await self.step(car, ask)).id


@workflow.defn
class Hasty(
    SagaWorkflow, owner="travel-desk", deadline=timedelta(seconds=30), tenant="{id}", uses=tuple(OPERATIONS.values())
):
    """Takes its steps one by one, has half a minute for them, and says whose run it is."""

    @workflow.run
    async def run(self, plan: Plan) -> Ticket:
        for line in plan.lines:
            await self.step(OPERATIONS[line], Ask(id=plan.id))
        return Ticket(trip_id=plan.id)
