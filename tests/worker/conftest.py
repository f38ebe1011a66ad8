"""Tests of a module that says ``VIRTUAL_TIME = True`` run on a virtual clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.worker.world import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give a module of virtual time a loop whose clock jumps to the next timer when there is nothing else to do."""
    module = getattr(item, "module", None)
    if getattr(module, "VIRTUAL_TIME", False):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Recording tens of thousands of log lines takes longer than the tests of virtual time themselves."""
    log = logging.getLogger("kit.guard")
    level = log.level
    if getattr(request.module, "VIRTUAL_TIME", False):
        log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(level)
