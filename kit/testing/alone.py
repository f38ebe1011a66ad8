"""A world without a workflow: to test the world itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NoReturn

from kit.errors import UnsupportedScenario
from kit.testing.faults import Scenario
from kit.testing.wire import Wire
from kit.testing.wire.controls import never
from kit.testing.world import World


class _NoServer:
    """Stands for the server that is not there."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def now(self) -> timedelta:
        return timedelta(seconds=asyncio.get_running_loop().time() - self._began)

    def _refuse(self) -> NoReturn:
        raise UnsupportedScenario("there is no run: a world that stands alone has no server whose faults could strike")

    async def cancel(self) -> None:
        self._refuse()

    async def cancel_with_result(self) -> None:
        self._refuse()

    async def terminate(self) -> None:
        self._refuse()

    async def start_again(self) -> None:
        self._refuse()

    async def hand_over(self) -> None:
        self._refuse()

    async def die(self) -> NoReturn:
        await never()


@asynccontextmanager
async def opened(build: Callable[[Wire], World], scenario: Scenario | str = "clean") -> AsyncIterator[World]:
    """Open a world, and close it afterwards. Its connectors are called by whoever opened it.

    Faults strike calls that the guard makes (`kit.testing.check_connector` uses one); a connector's method that is
    called directly is passed on.

    Args:
        build: What builds it.
        scenario: What goes wrong on its wire.

    Raises:
        UnsupportedScenario: A fault of the server strikes: there is none.
    """
    wanted = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
    world = build(Wire(wanted, _NoServer()))
    await world.open()
    try:
        yield world
    finally:
        await world.close()
