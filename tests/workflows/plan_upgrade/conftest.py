"""A firm for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.workflows.plan_upgrade.firm import Firm


@pytest_asyncio.fixture(loop_scope="session")
async def firm(server: WorkflowEnvironment, cached: bool, tmp_path: Path) -> AsyncIterator[Firm]:
    """A firm with one customer; its worker replays from the start at every task when it is not cached."""
    async with Firm.open(server, tmp_path, cached=cached) as opened:
        yield opened
