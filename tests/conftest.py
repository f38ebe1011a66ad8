"""What every test shares."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings
from temporalio.testing import WorkflowEnvironment

import kit
from kit.testing import start_time_skipping

# How long one example takes says more about the machine than about the kit.
settings.register_profile("kit", deadline=None)
settings.load_profile("kit")


def pytest_report_header() -> str:
    """Say which kit is under test: the checkout's or the installed wheel's."""
    return f"kit: {Path(kit.__file__).parent}"


def pytest_collection_finish() -> None:
    """Keep what is there before the first test out of every later search for garbage, and search less often.

    On a busy machine one search took two seconds, and the SDK took the workflow task in which it fell for a deadlock.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 20)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """One real Temporal server that skips time, for the whole session; tests are isolated by task queue."""
    async with await start_time_skipping() as environment:
        yield environment


@pytest.fixture(params=[True, False], ids=["cached", "uncached"])
def cached(request: pytest.FixtureRequest) -> bool:
    """Every test of a base workflow runs twice: with the worker's cache, and replaying from the start at every task."""
    return bool(request.param)
