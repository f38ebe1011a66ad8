"""The inbox of an entity: every event once, in the order of its source.

An event that is **taken in** goes through these questions, in this order:

1. Is its id known: waiting, at work, or among the last ``window`` that were dealt with, the stale ones among them?
   Then it is a duplicate.
2. Has its version, or a later one of its source, been dealt with? Then it is stale: dropped, and recorded.
3. Else it waits for its turn.

**Whose turn it is**: of each source the lowest version that waits; among the sources, whoever came first. Events
without a version have their turn in the order of arrival. A version that leaves a **gap** (it is more than one above
the last one of its source) waits for what is missing, for as long as ``patience``; then the gap is passed, and what is
missing will be stale when it comes. With no patience, which is the default, a gap is no reason to wait: that fits
events that carry whole values, where the last one wins.

Why an event is not applied twice once the window has forgotten its id: its version is stale, and that is remembered
per source for ever. An event without a version is applied again, under the same keys: the ledger gives its steps the
results they had.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from kit.workflow.events import EntityEvent, Fate, Memory, Waiting

Event = EntityEvent[Any]
_Lane = tuple[str, bool]


NO_PATIENCE: Final = timedelta(0)
"""What is missing is not waited for."""


class Inbox:
    """What waits, what is known, and how far each source has come.

    Args:
        memory: What earlier runs remember.
        window: How many events that were dealt with are known by their ids.
        patience: How long a version waits for those missing before it.

    Attributes:
        seen: The fate of the events in the window, oldest first.
        versions: The highest version dealt with, per source.
        at_work: The event whose turn it is.
        size: How many bytes wait, as JSON; about.
        passed: The last version of its source before the event at work, where that left a gap; else ``None``.
    """

    def __init__(self, memory: Memory, *, window: int, patience: timedelta) -> None:
        self._window = window
        self._patience = patience
        self.seen = OrderedDict(memory.seen)
        self.versions = dict(memory.versions)
        self.at_work: Event | None = None
        self.size = 0
        self.passed: int | None = None
        self._arrivals = 0
        self._waiting: dict[str, Waiting] = {}
        self._lanes: dict[_Lane, list[tuple[int, int, str]]] = {}
        for waiting in memory.waiting:
            self._put(waiting)

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    @property
    def waiting(self) -> Iterator[Waiting]:
        """What waits, in the order of arrival."""
        return iter(self._waiting.values())

    def fate(self, event_id: str) -> Fate | None:
        """What has become of an event, as far as it is known."""
        at_work = self.at_work is not None and self.at_work.id == event_id
        return Fate.WAITING if at_work or event_id in self._waiting else self.seen.get(event_id)

    def take(self, event: Event, *, now: datetime) -> Fate | None:
        """Take an event in.

        Returns:
            ``None`` when it waits for its turn, ``STALE`` when it came too late for one. For a duplicate nothing is to
            be taken: ask `fate` first.
        """
        if self._outdated(event) or self._overtaken(event):
            self._deal(event, Fate.STALE)
            return Fate.STALE
        self._put(Waiting(event=event, since=now))
        return None

    def ready(self, now: datetime) -> bool:
        """Whether it is an event's turn."""
        return any(self._ready(lane, now) for lane in self._lanes)

    def next(self, now: datetime) -> Event | None:
        """The event whose turn it is, which is at work from now on; ``None`` when none may have it yet."""
        ready = [lane for lane in self._lanes if self._ready(lane, now)]
        if not ready:
            return None
        lane = min(ready, key=lambda lane: self._lanes[lane][0][1])
        _, _, event_id = heapq.heappop(self._lanes[lane])
        if not self._lanes[lane]:
            del self._lanes[lane]
        event = self._waiting.pop(event_id).event
        self.size -= _size(event)
        self.at_work = event
        last = self.versions.get(event.source)
        gap = event.version is not None and last is not None and event.version > last + 1
        self.passed = last if gap else None
        return event

    def resume(self, event: Event) -> None:
        """Put an event to work that was at work in the run before."""
        self.at_work, self.passed = event, None

    def done(self, fate: Fate) -> None:
        """The event at work has been dealt with."""
        event, self.at_work = self.at_work, None
        if event is not None:
            self._deal(event, fate)

    def stale(self) -> bool:
        """Whether the event at work came too late: another one of its source had the same version."""
        return self.at_work is not None and self._outdated(self.at_work)

    def due(self) -> datetime | None:
        """When the first gap is to be passed; ``None`` when nothing waits for one."""
        heads = (self._waiting[heap[0][2]].since for heap in self._lanes.values())
        return min((since + self._patience for since in heads), default=None)

    def _put(self, waiting: Waiting) -> None:
        event = waiting.event
        self._arrivals += 1
        self._waiting[event.id] = waiting
        self.size += _size(event)
        lane = self._lanes.setdefault((event.source, event.version is not None), [])
        heapq.heappush(lane, (event.version or 0, self._arrivals, event.id))

    def _deal(self, event: Event, fate: Fate) -> None:
        self.seen[event.id] = fate
        while len(self.seen) > self._window:
            self.seen.popitem(last=False)
        if event.version is not None and fate is not Fate.STALE:
            self.versions[event.source] = max(event.version, self.versions.get(event.source, event.version))

    def _outdated(self, event: Event) -> bool:
        last = self.versions.get(event.source)
        return event.version is not None and last is not None and event.version <= last

    def _overtaken(self, event: Event) -> bool:
        work = self.at_work
        if work is None or work.source != event.source or work.version is None or event.version is None:
            return False
        return event.version <= work.version

    def _ready(self, lane: _Lane, now: datetime) -> bool:
        version, _, event_id = self._lanes[lane][0]
        last = self.versions.get(lane[0])
        gap = lane[1] and last is not None and version > last + 1
        return not gap or now >= self._waiting[event_id].since + self._patience


def _size(event: Event) -> int:
    return len(event.model_dump_json())
