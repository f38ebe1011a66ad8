"""What a sweep holds while it goes on does not grow with the number of its scenarios."""

import gc
from dataclasses import replace
from typing import ClassVar
from weakref import WeakSet

import pytest

from kit.testing.faults import FaultKind
from kit.testing.sweep import Outcome, Progress, sweep
from kit.testing.wire import Wire
from tests.testing.sweep.toy import TOY, Foreseeing, Toy
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


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "share"), [(Toy, 5), (Foreseeing, 2)])
async def test_scenario_from_which_nothing_follows_is_forgotten(engine: type[Toy], share: int) -> None:
    """Of the last level no more is kept than what foretells others: nothing, where every scenario is run to its end."""
    held = []

    def told(progress: Progress) -> None:
        if progress.done % 250 == 0:
            held.append(sum(type(one) is Outcome for one in gc.get_objects()))

    verdict = await sweep(TOY, engine=engine(steps=tuple("abcdef")), depth=2, progress=told)

    assert verdict.counts.scenarios > 1_000
    assert max(held) < verdict.counts.scenarios / share
