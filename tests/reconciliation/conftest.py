"""An estate for every test."""

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
