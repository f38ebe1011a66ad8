"""Sagas that go on in new runs, and sagas that have children. A module of their own: the sandbox loads it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError

from kit import Model, SagaWorkflow
from tests.workflow.sagas import Plan, Ticket, Travel
from tests.workflow.world import OPERATIONS, Ask


class Journey(Model):
    """What a `Stages` does: one line in each of its runs."""

    id: str
    lines: tuple[str, ...]
    at: int = 0


@workflow.defn
class Stages(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6), uses=tuple(OPERATIONS.values())):
    """Goes on in a new run after each line: ``step hotel``, ``pivot card``, ``after mail``, ``sleep 60``."""

    @workflow.run
    async def run(self, journey: Journey) -> Ticket:
        """One line, then the next run."""
        if journey.at < len(journey.lines):
            await self._one(journey)
            self.continue_as_new(journey.model_copy(update={"at": journey.at + 1}))
        return Ticket(trip_id=journey.id)

    async def _one(self, journey: Journey) -> None:
        verb, _, word = journey.lines[journey.at].partition(" ")
        ask = Ask(id=journey.id)
        match verb:
            case "step":
                await self.step(OPERATIONS[word], ask)
            case "pivot":
                await self.pivot(OPERATIONS[word], ask)
            case "after":
                self.after_commit(OPERATIONS[word], ask)
            case "sleep":
                await workflow.sleep(float(word))


class Tour(Model):
    """What a `Family` does: lines as of `Travel`, and ``child``, whose own lines are given here."""

    id: str
    lines: tuple[str, ...]
    child: tuple[str, ...] = ()


@workflow.defn
class Family(SagaWorkflow, owner="travel-desk", deadline=timedelta(hours=6), uses=tuple(OPERATIONS.values())):
    """Has a saga of its own for a part of the way."""

    def __init__(self) -> None:
        self.gone = False

    @workflow.run
    async def run(self, tour: Tour) -> str:
        """Line by line."""
        ticket = ""
        for line in tour.lines:
            verb, _, word = line.partition(" ")
            match verb:
                case "step":
                    await self.step(OPERATIONS[word], Ask(id=tour.id))
                case "pivot":
                    await self.pivot(OPERATIONS[word], Ask(id=tour.id))
                case "after":
                    self.after_commit(OPERATIONS[word], Ask(id=tour.id))
                case "child":
                    plan = Plan(id=f"{tour.id}c", lines=tour.child)
                    ticket = (await self.child(Travel, plan, id=f"{workflow.info().workflow_id}-child")).trip_id
                case "try":
                    try:
                        await self.child(Travel, Plan(id=f"{tour.id}c", lines=tour.child))
                    except ChildWorkflowError:
                        ticket = "on foot"
                case "wait":
                    await workflow.wait_condition(lambda: self.gone)
        return ticket

    @workflow.signal
    def go(self) -> None:
        """Let ``wait`` end."""
        self.gone = True
