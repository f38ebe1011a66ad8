"""An estate for every test; one for tests that also replay from the start at every workflow task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.reconciliation.estate import Estate


@pytest_asyncio.fixture(loop_scope="session")
async def estate(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Estate]:
    """Systems with nothing in them."""
    async with Estate.open(server, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def twice(server: WorkflowEnvironment, cached: bool, tmp_path: Path) -> AsyncIterator[Estate]:
    """The same; its worker replays from the start at every task when it is not cached."""
    async with Estate.open(server, tmp_path, cached=cached) as opened:
        yield opened
