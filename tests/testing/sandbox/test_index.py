"""A search index that is behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kit.testing.sandbox.index import Document, SearchIndex

LAG = timedelta(seconds=30)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """What time it is."""
        return self.time

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


def _all(_: Document) -> bool:
    return True


def test_what_is_written_is_found_after_the_lag() -> None:
    """Not a moment earlier, and as it was when it was written."""
    clock = Clock()
    index = SearchIndex(clock, lag=LAG)
    index.put("1", {"status": "new"})
    clock.move(29)
    early = index.find(_all)
    index.put("1", {"status": "solved"})
    clock.move(1)

    assert early == []
    assert index.find(_all) == [{"status": "new"}]


def test_what_is_gone_is_found_for_as_long() -> None:
    """A search does not know at once that something was removed."""
    clock = Clock()
    index = SearchIndex(clock, lag=LAG)
    index.put("1", {"status": "new"})
    clock.move(30)
    index.remove("1")

    still = index.find(_all)
    clock.move(30)

    assert (still, index.find(_all)) == ([{"status": "new"}], [])


def test_what_took_effect_late_is_known_in_the_order_of_time() -> None:
    """A write that the world hears of later, but that came first, is written over by the one after it."""
    clock = Clock()
    index = SearchIndex(clock, lag=LAG)
    clock.move(10)
    index.put("1", {"status": "second"})
    clock.move(-5)
    index.put("1", {"status": "first"})
    clock.move(100)

    assert index.find(_all) == [{"status": "second"}]


def test_the_state_tells_what_is_to_come_as_seen_from_now() -> None:
    """Two indexes that will answer alike from now on are in one state, whatever the clock says."""
    states = []
    for started in (0, 1000):
        clock = Clock()
        clock.move(started)
        index = SearchIndex(clock, lag=LAG)
        index.put("1", {"status": "new"})
        clock.move(10)
        states.append(repr(index.state()))
    clock.move(1)

    assert states[0] == states[1] != repr(index.state())
