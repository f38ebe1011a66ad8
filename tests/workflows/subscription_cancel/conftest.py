"""A service for every test, whose worker replays from the start at every task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.workflows.subscription_cancel.service import Service


@pytest_asyncio.fixture(loop_scope="session")
async def service(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Service]:
    """A service with one subscription."""
    async with Service.open(server, tmp_path, cached=False) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def dear(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Service]:
    """One with a subscription so dear that its refund needs an approval."""
    async with Service.open(server, tmp_path, cached=False, price="price_pro") as opened:
        yield opened
