"""One server engine for all tests of this folder."""

from collections.abc import AsyncIterator

import pytest_asyncio

from kit.testing.engines.server import ServerEngine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[ServerEngine]:
    """Runs scenarios on a real server, several at once."""
    async with ServerEngine() as engine:
        yield engine
