"""A shop for every test, whose worker replays from the start at every task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.workflows.shop import Shop


@pytest.fixture(params=[False], ids=["uncached"])
def cached(request: pytest.FixtureRequest) -> bool:
    """No cache: the stricter way. The base workflows are tested both ways, and the demo's workers have a cache."""
    return bool(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def shop(server: WorkflowEnvironment, cached: bool, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop with one open cart; its worker replays from the start at every task when it is not cached."""
    async with Shop.open(server, tmp_path, cached=cached) as opened:
        yield opened
