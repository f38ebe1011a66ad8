"""A run's history: the truth, as a list of the events that a real server would have written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory

from kit.testing.engines.simulation.clock import VirtualLoop

IDENTITY: Final = "simulation"
"""Who did it, where the history names a client or a worker."""


def _places() -> dict[str, tuple[int, str]]:
    """Which type of event and which field of it a message of attributes belongs to, by the message's name."""
    found: dict[str, tuple[int, str]] = {}
    for member in HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields:
        kind = f"EVENT_TYPE_{member.name.removesuffix('_event_attributes').upper()}"
        if kind in EventType.keys():  # noqa: SIM118  # an enum's wrapper is no mapping
            found[str(member.message_type and member.message_type.full_name)] = (EventType.Value(kind), member.name)
    return found


_PLACES: Final = _places()


class Log:
    """The events of one run, in order.

    Args:
        loop: Whose clock stamps them.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.events: list[HistoryEvent] = []
        self._digests: list[bytes] = []
        """Of the history up to each event, as far as somebody has asked."""

    @property
    def next_id(self) -> int:
        """The id of the next event."""
        return len(self.events) + 1

    def add(
        self,
        attributes: Message,
        *,
        at: Timestamp | None = None,
        metadata: Any = None,
        groups: Iterable[Any] = (),
    ) -> HistoryEvent:
        """Write one event.

        Args:
            attributes: What it says; their type is the event's.
            at: When it happened; now, unless it is written later.
            metadata: What a person reads of it.
            groups: Which events of the same kind belong together.
        """
        kind, field = _PLACES[attributes.DESCRIPTOR.full_name]
        event = HistoryEvent(
            event_id=len(self.events) + 1,
            event_time=at or self._loop.stamp(),
            event_type=kind,  # type: ignore[arg-type]  # read from the enum itself
            task_id=len(self.events) + 1,
            user_metadata=metadata,
            event_group_markers=groups,
            **{field: attributes},  # type: ignore[arg-type]  # the field of this very message
        )
        self.events.append(event)
        return event

    def drop(self, count: int) -> None:
        """Take the newest events back: they never were."""
        del self.events[-count:]
        del self._digests[len(self.events) :]

    def digest(self) -> bytes:
        """Of all of it: 16 bytes."""
        digests = self._digests
        for event in self.events[len(digests) :]:
            link = hashlib.blake2b(digests[-1] if digests else b"", digest_size=16)
            link.update(event.SerializeToString(deterministic=True))
            digests.append(link.digest())
        return digests[-1]

    def proto(self) -> History:
        """All of it, as the server hands it out."""
        return History(events=self.events)

    def exported(self, workflow_id: str) -> WorkflowHistory:
        """All of it, as the SDK's client and its `Replayer` know it."""
        return WorkflowHistory(workflow_id, list(self.events))
