"""Sagas, and workflows by hand, that are wrong in one way each; and the nearest that are right."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

from kit import SagaWorkflow
from kit.contract import Outcome, Token, UndoRequest
from kit.workflow.saga import _saga
from kit.workflow.steps import Done, Phase, UndoEnded
from tests.worlds.five_steps import Booked, Trip, file, fly, pay, post, sleep

WorkflowT = TypeVar("WorkflowT", bound=type)

ROME: Final = Trip(trip="rome")


# -- sagas -------------------------------------------------------------------------------------------------------------


class Trips(SagaWorkflow, owner="travel", uses=(fly, sleep, file, pay, post)):
    """Base of the sagas here."""


@workflow.defn
class Deaf(Trips):
    """Takes no notice of a cancellation."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        _saga(self).steps.boundary = lambda: None  # type: ignore[method-assign] # the defect
        await self.step(fly, trip)
        await self.step(sleep, trip)


@workflow.defn
class Hearing(Trips):
    """Hears of it."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        await self.step(fly, trip)
        await self.step(sleep, trip)


@workflow.defn
class TurnsBack(Trips):
    """Turns round after its pivot."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Pay, and sleep."""
        await self.pivot(pay, trip)
        _saga(self).run.forward = False  # the defect
        await self.step(sleep, trip)


@workflow.defn
class KeepsTheLetter(Trips):
    """Forgets what it has held back."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Pay, and write a letter."""
        await self.pivot(pay, trip)
        self.after_commit(post, trip)
        _saga(self).steps.held_back.clear()  # the defect


@workflow.defn
class LeavesOneOut(Trips):
    """Puts a step on the stack, and does not take it."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Pay, and sleep nowhere."""
        await self.pivot(pay, trip)
        _saga(self).steps._push(sleep, trip, Phase.FORWARD, group=9)  # the defect


@workflow.defn
class Forward(Trips):
    """Takes it."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Pay, and sleep."""
        await self.pivot(pay, trip)
        await self.step(sleep, trip)


@workflow.defn
class Hides(Trips):
    """Tells no operator that it waits."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Pay, and sleep."""
        _saga(self).desk._tell = _saga(self).run.keep_time  # type: ignore[method-assign] # the defect
        await self.pivot(pay, trip)
        await self.step(sleep, trip)


@workflow.defn
class LetterFirst(Trips):
    """Sends the letter beside its steps, before it knows that there is anything to write about."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Write, and pay."""
        await workflow.execute_activity(
            post.name, args=[trip, token(post)], start_to_close_timeout=post.timeout, result_type=Done[Booked]
        )
        await self.pivot(pay, trip)


@workflow.defn
class LetterLast(Trips):
    """Holds it back."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Write, and pay."""
        self.after_commit(post, trip)
        await self.pivot(pay, trip)


@workflow.defn
class WaitsForNothing(Trips):
    """Waits for what nobody brings."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book, and wait."""
        await self.step(fly, trip)
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Together(Trips):
    """Books seat and room at once."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        await asyncio.gather(self.step(fly, trip), self.step(sleep, trip))


async def at_once() -> None:
    """Wait for nothing."""


@workflow.defn
class Unsettled(Trips):
    """Turns round before the other step has ended."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        _saga(self).steps.settle = at_once  # type: ignore[method-assign] # the defect
        await asyncio.gather(self.step(fly, trip), self.step(sleep, trip))


@workflow.defn
class OldestFirst(Trips):
    """Undoes its steps in the order in which it took them."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book, and pay."""
        await self.step(fly, trip)
        await self.step(sleep, trip)
        for step in _saga(self).run.steps:
            step.group = -step.group  # the defect
        await self.pivot(pay, trip)


@workflow.defn
class LatestFirst(Trips):
    """Undoes them in reverse."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book, and pay."""
        await self.step(fly, trip)
        await self.step(sleep, trip)
        await self.pivot(pay, trip)


@workflow.defn
class Late(Trips):
    """Gives itself more time when it has none left."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Oversleep, and book."""
        _saga(self).run._deadline += timedelta(days=1)  # the defect
        await workflow.sleep(timedelta(hours=2))
        await self.step(fly, trip)


@workflow.defn
class InTime(Trips, deadline=timedelta(hours=3)):
    """Has enough time."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Sleep, book, and sleep again."""
        await workflow.sleep(timedelta(hours=2))
        await self.step(fly, trip)
        await self.pivot(pay, trip)
        await workflow.sleep(timedelta(hours=2))
        await self.step(sleep, trip)


@workflow.defn
class GoesOn(Trips):
    """Goes on without a flight."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Sleep anyway."""
        try:
            await self.step(fly, trip)
        except ActivityError:
            await self.step(sleep, trip)


def unwatched(saga: WorkflowT) -> WorkflowT:
    """A saga whose run nobody supervises."""
    run: Any = vars(saga)["run"]
    saga.run = run.__wrapped__  # type: ignore[attr-defined] # the defect
    return saga


@workflow.defn
@unwatched
class Unwatched(Trips):
    """Takes steps, and has nobody to undo them."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        await self.step(fly, trip)
        await self.step(sleep, trip)


# -- other workflows ---------------------------------------------------------------------------------------------------


def token(operation: Any) -> Token:
    """What a workflow without steps sends along."""
    key = operation.key_for(ROME, workflow_id="sweep")
    return Token(key=key, correlation_id="sweep", workflow_id=workflow.info().workflow_id)


async def act(operation: Any, trip: Trip) -> Booked:
    """Carry an operation out by hand."""
    done = await workflow.execute_activity(
        operation.name,
        args=[trip, token(operation)],
        start_to_close_timeout=operation.timeout,
        result_type=Done[Booked],
    )
    assert isinstance(done.result, Booked)
    return done.result


async def take_back(operation: Any, trip: Trip, result: Booked) -> None:
    """Undo it by hand."""
    undo = UndoRequest[Trip, Booked](request=trip, result=result, outcome=Outcome.DONE)
    await workflow.execute_activity(
        operation.undo_name,
        args=[undo, token(operation)],
        start_to_close_timeout=operation.timeout,
        result_type=UndoEnded,
    )


@workflow.defn
class ByHand:
    """Undoes what it did."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        booked = await act(fly, trip)
        try:
            await act(sleep, trip)
        except ActivityError:
            await take_back(fly, trip, booked)
            raise


@workflow.defn
class Careless:
    """Undoes nothing."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        await act(fly, trip)
        await act(sleep, trip)


@workflow.defn
class UndoesTheRefused:
    """Undoes the very step that was refused, with a result that it makes up."""

    @workflow.run
    async def run(self, trip: Trip) -> None:
        """Book."""
        try:
            await act(sleep, trip)
        except ActivityError:
            await take_back(sleep, trip, Booked(id="hotel.sleep/1"))
            raise
