"""Which invariants ask for the way that led to an end."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from kit.testing import Invariant, Run, Subject, World
from kit.testing.engines.way import asks_for_the_way
from kit.testing.runs import Ending
from tests.worlds import SUBJECTS, TWO_STEPS
from tests.worlds.two_steps import Market, Sale, Sell


def _attempts(run: Run) -> int:
    return sum(row.attempts for row in run.rows)


@dataclass
class Counter:
    """Counts something, for an invariant that is an object: one that cannot be hashed."""

    most: int

    @property
    def wanted(self) -> str:
        """What is looked at."""
        return "seen"

    def __call__(self, world: World, run: Run) -> Iterable[str]:
        """Ask for a run's requests."""
        return ["too many"] if len(getattr(run, self.wanted)) > self.most else []


class Watched(Market):
    """A world that says itself what is wrong."""

    def wrong(self, run: Run) -> list[str]:
        """Whether the saga took long."""
        return ["slow"] if run.summary is not None and run.summary.duration_ms > 5 else []


def of_requests(_: World, run: Run) -> Iterable[str]:
    """Asks once."""
    return [f"{one.point} again" for one in run.seen if one.point.call > 1]


def of_a_helper(_: World, run: Run) -> Iterable[str]:
    """Has somebody ask."""
    return [f"{_attempts(run)}"] if _attempts(run) > 2 else []


def of_an_object(world: World, run: Run) -> Iterable[str]:
    """Makes one that asks."""
    return Counter(most=3)(world, run)


def of_the_world(world: Any, run: Run) -> Iterable[str]:
    """Has the world ask."""
    return [str(text) for text in world.wrong(run)]


async def of_the_end(world: World, run: Run) -> Iterable[str]:
    """Asks what is there."""
    return [one.text for one in await world.truth() if one.live and run.ending is not Ending.COMPLETED]


def enclosed() -> Callable[[World, Run], Iterable[str]]:
    """An invariant that encloses what asks."""
    ask = _attempts
    return lambda _, run: [f"{ask(run)} attempts"]


@pytest.mark.parametrize(
    ("check", "asks"),
    [
        (of_requests, True),
        (of_a_helper, True),
        (of_an_object, True),
        (Counter(5), True),
        (functools.partial(of_requests), True),
        (enclosed(), True),
        (of_the_world, True),
        (of_the_end, False),
    ],
)
def test_what_an_invariant_asks_is_read_off_its_code(check: Any, asks: bool) -> None:
    """Also what it has others ask."""
    rule = Invariant("as it should be", check)

    found = asks_for_the_way(Subject(Sell, Sale(thing="lamp"), Watched, invariants=(rule,)))

    assert found == (rule if asks else None)


@pytest.mark.parametrize("subject", [TWO_STEPS, *SUBJECTS], ids=lambda subject: subject.workflow.__name__)
def test_nobody_here_asks(subject: Subject) -> None:
    """So that a name that is taken for more than it is does not make the sweeps slow unseen."""
    assert asks_for_the_way(subject) is None
