"""An estate for every test, cached and uncached."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.reconciliation.estate import Estate


@pytest_asyncio.fixture(loop_scope="session")
async def estate(server: WorkflowEnvironment, cached: bool, tmp_path: Path) -> AsyncIterator[Estate]:
    """Systems with nothing in them; their worker replays from the start at every task when it is not cached."""
    async with Estate.open(server, tmp_path, cached=cached) as opened:
        yield opened
