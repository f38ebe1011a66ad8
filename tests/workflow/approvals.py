"""The sagas of the tests of approvals. A module of their own, as the sandbox loads it for every run."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from kit import Approval, Operation, SagaWorkflow
from kit.workflow import EXPIRED, Choice
from tests.workflow.world import Ask, Booked, car, card, flight, hotel

WITHIN = timedelta(days=2)
SHORT = timedelta(hours=1)


@workflow.defn
class Asks(
    SagaWorkflow, owner="travel-desk", escalation="head-of-desk", deadline=timedelta(hours=6), uses=(card, hotel)
):
    """Books a flight, asks whether the card may be charged, and does with the approval what its note says."""

    def __init__(self) -> None:
        self.gone = False

    @workflow.run
    async def run(self, ask: Ask) -> str:
        await self.step(flight, ask)
        charge = Ask(id=ask.id, note="100 EUR")
        try:
            within = SHORT if ask.note == "late" else WITHIN
            given = await self.approval(card, charge, question="May 100 EUR be charged?", within=within)
        except ApplicationError as error:
            if ask.note != "wait when it has expired" or error.type != EXPIRED:
                raise
            await workflow.wait_condition(lambda: self.gone)
            return "expired"
        forged = Approval.model_validate({**given.model_dump(), "task_id": "approval-7"})
        match ask.note:
            case "misuse":
                more = Ask(id=ask.id, note="1000 EUR")
                said = [await self._refused(card, more, given), await self._refused(hotel, charge, given)]
                said += [await self._refused(card, charge, forged)]
                await self.step(card, charge, approval=given)
                said += [await self._refused(card, charge, given)]
                return "\n".join(said)
            case "late":
                await workflow.sleep(SHORT)
                await self.step(card, charge, approval=given)
            case "pivot":
                await self.pivot(card, charge, approval=given)
            case _:
                await self.step(card, charge, approval=given)
        return f"{given.who}: {given.why}"

    async def _refused(self, operation: Operation[Ask, Booked], request: Ask, approval: Approval) -> str:
        try:
            await self.step(operation, request, approval=approval)
        except ApplicationError as error:
            return f"{error.type}: {error.message}"
        return "done"

    @workflow.signal
    def go(self) -> None:
        """Let the wait end."""
        self.gone = True


@workflow.defn
class Wonders(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6)):
    """Asks something that belongs to no step."""

    @workflow.run
    async def run(self, ask: Ask) -> Booked:
        decision = await self.ask(
            "By car or by train?", choices=(Choice.SUPPLY, Choice.REJECT), about="travel.means", owner="driver"
        )
        if decision.choice is Choice.REJECT:
            return Booked(id="nothing")
        return await self.step(car, Ask(id=str(decision.result)))


@workflow.defn
class Urgent(
    SagaWorkflow, owner="travel-desk", escalation="head-of-desk", due=timedelta(hours=1), deadline=timedelta(hours=6)
):
    """Goes only forward, and wants to be answered within the hour."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.pivot(car, ask)
        await self.step(card, ask)


@workflow.defn
class Wavers(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6), uses=(car,)):
    """Asks in each of its two runs whether to go by car."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        decision = await self.ask(f"By car, {ask.note or 'first'}?")
        if ask.note:
            if decision.choice is Choice.APPROVE:
                await self.step(car, ask)
            return
        self.continue_as_new(Ask(id=ask.id, note="second"))
