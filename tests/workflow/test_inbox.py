"""The inbox as a state machine: against a model that remembers everything."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kit.workflow import EntityEvent, Fate, Memory
from kit.workflow.inbox import Event, Inbox

WINDOW = 3
PATIENCE = timedelta(minutes=5)


class Inboxes(RuleBasedStateMachine):
    """Deliveries in any order and number, work, time that passes, and a run that continues as new at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.inbox = Inbox(Memory(), window=WINDOW, patience=PATIENCE)
        self.applied: list[Event] = []
        self.dealt: list[str] = []
        """The ids of all that were dealt with, late ones as well, in order."""
        self.came: dict[str, datetime] = {}
        self.stale: set[str] = set()

    @rule(source=st.sampled_from(["crm", "billing"]), version=st.integers(1, 8), twin=st.booleans())
    def arrives(self, source: str, version: int, twin: bool) -> None:
        """An event with a version comes; its twin is another event with the same version."""
        self._deliver(EntityEvent(id=f"{source}-{version}{'-twin' * twin}", source=source, version=version, data=None))

    @rule(number=st.integers(1, 4))
    def arrives_without_version(self, number: int) -> None:
        """An event without a version comes."""
        self._deliver(EntityEvent(id=f"note-{number}", source="support", data=None))

    def _deliver(self, event: Event) -> None:
        if self.inbox.fate(event.id) is not None:
            return
        assert event.id not in self.dealt[-WINDOW:]
        begun = [other.version or 0 for other in self.applied if other.source == event.source]
        late = event.version is not None and event.version <= max(begun, default=0)
        taken = self.inbox.take(event, now=self.now)
        assert (taken is Fate.STALE) == late
        if late:
            self._late(event)
        else:
            self.came[event.id] = self.now

    def _late(self, event: Event) -> None:
        self.stale.add(event.id)
        self.dealt.append(event.id)

    @precondition(lambda self: self.inbox.at_work is None)
    @rule()
    def works(self) -> None:
        """The next event has its turn."""
        event = self.inbox.next(self.now)
        if event is None:
            return
        if self.inbox.stale():
            self._late(event)
            self.inbox.done(Fate.STALE)
            return
        if event.version is not None:
            last = max((e.version or 0 for e in self.applied if e.source == event.source), default=None)
            if last is not None and event.version > last + 1:
                assert self.now >= self.came[event.id] + PATIENCE
                assert self.inbox.passed == last
        self.applied.append(event)

    @precondition(lambda self: self.inbox.at_work is not None)
    @rule(fate=st.sampled_from([Fate.APPLIED, Fate.FAILED]))
    def ends(self, fate: Fate) -> None:
        """The event at work has been dealt with."""
        assert self.inbox.at_work is not None
        self.dealt.append(self.inbox.at_work.id)
        self.inbox.done(fate)

    @rule()
    def time_passes(self) -> None:
        """Patience comes to its end."""
        self.now += PATIENCE

    @precondition(lambda self: self.inbox.at_work is None)
    @rule()
    def continues_as_new(self) -> None:
        """Everything goes through JSON into the next run."""
        inbox = self.inbox
        memory = Memory(seen=dict(inbox.seen), versions=inbox.versions, waiting=tuple(inbox.waiting))
        carried = Memory.model_validate_json(memory.model_dump_json())
        self.inbox = Inbox(carried, window=WINDOW, patience=PATIENCE)
        assert (len(self.inbox), self.inbox.size, self.inbox.due()) == (len(inbox), inbox.size, inbox.due())

    @invariant()
    def each_version_is_applied_once_and_upwards(self) -> None:
        """Versions of a source only rise, and so none is applied twice."""
        for source in ("crm", "billing"):
            versions = [event.version or 0 for event in self.applied if event.source == source]
            assert versions == sorted(set(versions))

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was taken in waits, is at work, was applied, or came too late."""
        gone = Counter(event.id for event in self.applied)
        for event_id in self.came:
            waits = self.inbox.fate(event_id) is Fate.WAITING
            assert waits or gone[event_id] or event_id in self.stale

    @invariant()
    def someone_is_due_when_something_waits(self) -> None:
        """An inbox with events has one that is ready, or an instant at which one will be."""
        if len(self.inbox) and self.inbox.at_work is None and not self.inbox.ready(self.now):
            due = self.inbox.due()
            assert due is not None
            assert due > self.now


pytestmark = pytest.mark.slow

TestInbox = Inboxes.TestCase
TestInbox.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
