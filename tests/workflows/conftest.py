"""A shop for every test, cached and uncached."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.workflows.shop import Shop


@pytest_asyncio.fixture(loop_scope="session")
async def shop(server: WorkflowEnvironment, cached: bool, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop with one open cart; its worker replays from the start at every task when it is not cached."""
    async with Shop.open(server, tmp_path, cached=cached) as opened:
        yield opened
