"""What a sweep holds while it goes on does not grow with the number of its scenarios."""

from dataclasses import replace
from typing import ClassVar
from weakref import WeakSet

import pytest

from kit.testing.faults import FaultKind
from kit.testing.sweep import sweep
from kit.testing.wire import Wire
from tests.worlds import TWO_STEPS
from tests.worlds.two_steps import Market


class Watched(Market):
    """A world that knows how many of its kind were alive when a new one was made."""

    alive: ClassVar[WeakSet["Watched"]] = WeakSet()
    most: ClassVar[int] = 0

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        Watched.alive.add(self)
        Watched.most = max(Watched.most, len(Watched.alive))


@pytest.mark.slow
async def test_run_that_was_stopped_leaves_no_world_behind() -> None:
    """Its world is gone when the next one is made, however many runs ended early because the rest was known."""
    kinds = (FaultKind.REFUSED, FaultKind.REPLY_LOST, FaultKind.CRASH_AFTER)
    Watched.most = 0

    verdict = await sweep(replace(TWO_STEPS, world=Watched), depth=2, kinds=kinds)

    assert verdict.counts.stopped > 4
    assert Watched.most <= 3
