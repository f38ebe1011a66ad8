"""Workflows whose body is a function of the test, run in the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from kit.testing.engines.simulation import SimulatedHandle, SimulatedServer, run_virtually

Body = Callable[["Does"], Awaitable[Any]]
Outside = Callable[[SimulatedServer, SimulatedHandle], Awaitable[None]]

SECOND = timedelta(seconds=1)

_bodies: dict[str, Body] = {}


@workflow.defn
class Does:
    """Does what its body says, and hears those outside."""

    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.signal
    def tell(self, word: str) -> None:
        """Hears something."""
        self.words.append(word)

    @workflow.update
    async def ask(self, word: str) -> str:
        """Hears something, and answers a second later."""
        if word == "fail":
            raise ApplicationError("asked too much")
        self.words.append(word)
        await workflow.sleep(1)
        return f"heard {word}"

    @ask.validator
    def check(self, word: str) -> None:
        """Does not hear bad words."""
        if word == "bad":
            raise ValueError("a bad word")

    @workflow.query
    def heard(self) -> list[str]:
        """What it has heard."""
        return self.words

    @workflow.run
    async def run(self, name: str) -> Any:
        """Does it."""
        return await _bodies[name](self)


def named(body: Body) -> str:
    """The argument with which `Does` has this body."""
    _bodies[body.__qualname__] = body
    return body.__qualname__


def scripted(*attempts: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """An activity ``work``, whose attempts do these; the last does for all further ones."""

    @activity.defn(name="work")
    async def work() -> Any:
        return await attempts[min(activity.info().attempt, len(attempts)) - 1]()

    return work


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a workflow."""

    result: Any
    error: BaseException | None
    seconds: float
    handle: SimulatedHandle
    server: SimulatedServer

    @property
    def events(self) -> list[HistoryEvent]:
        """Its history."""
        return list(self.handle.history().events)

    @property
    def kinds(self) -> list[str]:
        """The types of its events."""
        return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in self.events]

    @property
    def causes(self) -> list[BaseException]:
        """Why it failed, outermost first."""
        found, error = [], self.error
        while error is not None:
            found.append(error)
            error = error.__cause__
        return found


def ran(body: Body, *activities: Callable[..., Any], outside: Outside | None = None, **options: Any) -> Ran:
    """Run a workflow of this body to its end.

    Args:
        body: What it does.
        *activities: Of its worker.
        outside: What is done with it meanwhile.
        **options: Of the `SimulatedServer`.
    """
    return run_virtually(_ran(body, activities, outside, options))


async def _ran(body: Body, activities: Any, outside: Outside | None, options: dict[str, Any]) -> Ran:
    server = SimulatedServer(workflows=[Does], activities=activities, **options)
    handle = server.start(Does, named(body), id="does")
    if outside is not None:
        await outside(server, handle)
    result, error = None, None
    try:
        result = await handle.result()
    except WorkflowFailureError as failed:
        error = failed.cause
    seconds = server.loop.time()
    await asyncio.sleep(3600)  # children, and attempts that nobody waits for
    return Ran(result, error, seconds, handle, server)
