"""The travel agency of the workflow tests, on the wire: a saga of any shape, and a provider with its own record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit import FailureKind, Refused, Token
from kit.testing.runs import Truth
from kit.testing.wire import Wire
from kit.testing.world import Subject, World
from kit.worker import Connector
from kit.workflow import Task
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import AGENCIES, OPERATIONS, Booked, Provider


def declined() -> Refused:
    """How the agency says no."""
    return Refused(FailureKind.DECLINED, "no", reason="card_declined")


class Agency(Provider):
    """An agency that remembers its keys: a request that comes again, even after the undo, has no second effect."""

    async def act(self, call: str, token: Token) -> Booked:
        """Have an effect, once per key and for ever."""
        if f"+{token.key}" in self.story:
            return Booked(id=f"{token.key}!")
        return await super().act(call, token)


class TravelWorld(World):
    """One agency for everything; it honours keys for ever."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.provider = Agency()
        client: Any = wire.client(self.provider, system="agency", safe=("find",), refused=declined)
        agencies: Any = AGENCIES
        self._connectors: tuple[Connector, ...] = tuple(agency(client) for agency in agencies)

    @property
    def connectors(self) -> Sequence[Connector]:
        """One for each operation."""
        return self._connectors

    async def truth(self) -> list[Truth]:
        """What the agency wrote down."""
        story = self.provider.story
        return [
            Truth(
                "agency",
                OPERATIONS[line[1:].partition(":")[0]].name,
                line[1:],
                f"-{line[1:]}" not in story[place:],
                place,
                line,
            )
            for place, line in enumerate(story)
            if line.startswith("+") and line != "+"  # a READ has no key, and no effect
        ]

    async def found(self, task: Task, key: str) -> Any:
        """The agency's book lies open."""
        return None if OPERATIONS[key.partition(":")[0]].result is None else Booked(id=f"{key}!")


def travel(*lines: str) -> Subject:
    """A saga of these lines; see `Plan`."""
    return Subject(workflow=Travel, request=Plan(id="1", lines=lines), world=TravelWorld)


FIVE: Subject = travel("parallel flight hotel", "step car", "pivot card", "step visa", "after mail")
"""A saga of five steps and a letter: parallel, before and after its pivot, by key and by look-up."""
