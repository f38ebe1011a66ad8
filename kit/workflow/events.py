"""The change events of an entity, and what an entity remembers of them: plain data, carried from run to run."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from pydantic import Field

from kit.contract import Drift, Model

StateT = TypeVar("StateT")
DataT = TypeVar("DataT")

EVENT_SIGNAL: Final = "kit_event"
"""Name of the signal that brings an entity a change event. It answers nothing, and needs no worker to be up."""

EVENTS_SIGNAL: Final = "kit_events"
"""Name of the signal that brings an entity several change events, in the order of a list."""

APPLY_UPDATE: Final = "kit_apply"
"""Name of the update that brings an entity a change event and answers with what has become of it."""

ENTITY_QUERY: Final = "kit_entity"
"""Name of the query for all that an entity carries: its state, what waits, what it remembers."""

KEPT: Final = 100
"""How many failed events, and how many drifts, an entity remembers; the latest. All of them are logged and counted."""


class Fate(StrEnum):
    """What has become of an event. A closed vocabulary."""

    WAITING = "waiting"
    """It is taken in, durable, and its turn has not come or is not over."""
    APPLIED = "applied"
    STALE = "stale"
    """A later version of its source had been dealt with before: dropped."""
    FAILED = "failed"
    """It could not be applied, nothing of it is left, and the entity went on without it."""


class OnFailure(StrEnum):
    """What an entity does about an event that it cannot apply, once nothing of it is left."""

    PARK = "park"
    """Put a task to a person, and let what comes after it wait: order counts for more than speed."""
    RECORD = "record"
    """Write it down as failed and go on: what comes after does not need it."""


class EntityEvent(Model, Generic[DataT]):
    """One change event of an entity.

    Attributes:
        id: Names the event for ever, whoever delivers it and however often: the sender's own event id.
        source: The system that tells of the change. Versions are counted per source.
        version: The place of the event among those of its source about this entity, counted by the source; ``None``
            where it does not count: then such events are applied in the order of their arrival.
        data: What has changed.
        round: Which time the entity tries to apply it. From the second on a person has asked for it, after everything
            of the round before was undone.
    """

    id: str = Field(min_length=1, max_length=120)
    source: str = Field(min_length=1, max_length=60)
    version: int | None = None
    data: DataT
    round: int = Field(default=1, ge=1)

    @property
    def key(self) -> str:
        """What the key of every step of the event must contain: the id and, after the first, the round.

        A step that was undone refuses its key for ever, so that a late attempt cannot come after the undo; another
        round has keys of its own.
        """
        return self.id if self.round == 1 else f"{self.id}~{self.round}"


class Receipt(Model):
    """What the update ``kit_apply`` answers.

    Attributes:
        event_id: Which event.
        fate: What has become of it. ``WAITING`` when the entity continued as new before its turn: it is durable, and
            asking again with the same event tells more.
        duplicate: An earlier delivery had brought it.
    """

    event_id: str
    fate: Fate
    duplicate: bool = False


class Waiting(Model):
    """An event that waits, and since when."""

    event: EntityEvent[Any]
    since: datetime


class FailedEvent(Model):
    """An event that the entity went on without.

    Attributes:
        event: Which, so that it can be sent again.
        reason: The reason code.
        why: What happened, in a sentence.
        at: When it was given up.
        who: Who decided so; ``None`` where the entity's own policy did.
    """

    event: EntityEvent[Any]
    reason: str
    why: str
    at: datetime
    who: str | None = None


class Stuck(Model):
    """An event that the entity's own code failed on: a person is asked in the next run, under whatever code runs then.

    Attributes:
        event: Which.
        reason: The type of what was raised.
        why: What happened, in a sentence.
    """

    event: EntityEvent[Any]
    reason: str
    why: str


class Memory(Model):
    """What an entity remembers of its events: carried through continue-as-new, made and read by the kit.

    Attributes:
        seen: The fate of the latest events, oldest first: the window in which an event is known by its id.
        versions: The highest version dealt with, per source: what is not above it is stale, for ever.
        waiting: What has not had its turn, in order of arrival.
        stuck: What waits for a person's answer about a fault of the entity's own code.
        failed: The latest events that the entity went on without.
        drift: The latest writes that were dropped.
        counts: How many events were applied, stale, failed, duplicate, unreadable, and how many gaps were passed.
        steps: The number of the last step: steps are numbered through the entity's whole life.
        tasks: How many questions it has put to people that belong to no step.
        runs: How often it has continued as new.
    """

    seen: dict[str, Fate] = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()
    stuck: Stuck | None = None
    failed: tuple[FailedEvent, ...] = ()
    drift: tuple[Drift, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    steps: int = 0
    tasks: int = 0
    runs: int = 0


class Entity(Model, Generic[StateT]):
    """What an entity's run is given: its state, and what it remembers.

    Attributes:
        state: The state to begin with. A signal-with-start gives the state of an entity nobody has heard of.
        tenant: Whose entity it is, when a hold may be on a tenant.
        events: Events to be applied first, as if they had been signalled.
        close_when_idle: Close, with the state as the result, once nothing has come for so long. ``None``: live for
            ever, which is the usual thing; closing means forgetting what was seen, see `EntityWorkflow`.
        memory: What earlier runs remember. Leave it out; or pass on what the query ``kit_entity`` gave of a closed run,
            to go on where it stopped.
    """

    state: StateT
    tenant: str = ""
    events: tuple[EntityEvent[Any], ...] = ()
    close_when_idle: timedelta | None = None
    memory: Memory = Field(default_factory=Memory)
