"""What an engine lets the faults of its server do, and how a worker dies."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NoReturn, Protocol


class Controls(Protocol):
    """What an engine offers to the faults of the server. All of it is called from inside activity code."""

    def now(self) -> timedelta:
        """Since the scenario's start, on the engine's clock."""

    async def cancel(self) -> None:
        """Request the run's cancellation; returns once the server has it."""

    async def cancel_with_result(self) -> None:
        """Let a cancellation and the result of the activity now running reach the workflow in one workflow task."""

    async def terminate(self) -> None:
        """Terminate the run."""

    async def start_again(self) -> None:
        """Start the same request under another workflow id, beside the run; the scenario ends after both."""

    async def hand_over(self) -> None:
        """Let a worker with the previous version and an empty cache go on from here."""

    async def die(self) -> NoReturn:
        """The worker of this attempt is dead: never go on, and report nothing."""


class WorkerLost(BaseException):
    """The worker dies here.

    No code of it may run on, so this is no `Exception`: nothing catches it but the wire's own interceptor, and what
    stands in the worker's place (`Controls.die`).
    """


async def never() -> NoReturn:
    """Wait for ever, as a dead process does: where a living worker would report whatever ends an attempt."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody has the future")
