"""What a replay of past events is told, and what it tells: plain data, for the workflow, its worker and its feeder."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from kit.contract import Model

REPLAY_WORKFLOW: Final = "kit.Replay"
"""Type of the workflow that re-drives a batch of past events."""

REPLAY_ACTIVITY: Final = "kit.replay_events"
"""Name of the activity that re-drives some of them."""

PAGE_UPDATE: Final = "kit_add_page"
"""Name of the update that hands a batch its next page of events."""

REPLAY_QUERY: Final = "kit_replay"
"""Name of the query for how a batch stands."""

REDRIVE_PRIORITY: Final = 5
"""Temporal's lowest priority: live traffic is served first.

https://docs.temporal.io/develop/task-queue-priority-fairness
"""

LARGEST_PAGE: Final = 1000
"""Events in one page. All of it must fit into one update (2 MB by Temporal's default): of large requests give fewer."""


def replay_id(name: str) -> str:
    """The workflow id of a batch: there is at most one of a name at a time."""
    return f"replay:{name}"


class PastEvent(Model):
    """One business event, as it came at its time.

    Attributes:
        workflow: The type of the workflow that deals with it.
        workflow_id: The id that a first delivery had or would have had: the same event finds its first run by it.
        entity: Whom it is about. Events of one entity are re-driven one after the other, in order of ``at``.
        at: When it came first.
        request: The argument of the workflow's ``run``.
        event: For an entity workflow: the change event that the entity is sent.
    """

    workflow: str = Field(min_length=1)
    workflow_id: str = Field(min_length=1)
    entity: str = Field(min_length=1)
    at: AwareDatetime
    request: Any
    event: Any = None


class Redriven(StrEnum):
    """What has become of an event. A closed vocabulary."""

    COMPLETED = "completed"
    """A run was started for it and has completed."""
    FAILED = "failed"
    """A run was started for it and came to nothing; what it did is undone."""
    DUPLICATE = "duplicate"
    """Its first run is known and closed: nothing was started."""
    DELIVERED = "delivered"
    """Sent to its entity, which drops what it has seen before."""
    PARKED = "parked"
    """Its run waits for a person, or for longer than was to be waited for."""
    BLOCKED = "blocked"
    """Not started: an earlier event of the same entity is parked."""
    LEFT_OUT = "left_out"
    """Outside the batch's time span, or refused by the workflow class."""
    TOO_OLD = "too_old"
    """Not started: older than the memory of the ledger and of the providers, so nobody knows whether it happened."""
    UNKNOWN_TYPE = "unknown_type"
    """Not started: the workers know no such workflow."""


class ReplayPage(Model):
    """Some events of a batch.

    Attributes:
        number: From 1. A page that was given before is acknowledged and forgotten: its reply was lost.
        feeder: Who gives it: one process at a time feeds a batch.
        events: In order of time.
        last: No page follows.
    """

    number: int = Field(ge=1)
    feeder: str
    events: list[PastEvent] = Field(max_length=LARGEST_PAGE)
    last: bool = False


class Remark(Model):
    """An event that somebody must look at."""

    workflow_id: str
    entity: str
    fate: Redriven
    why: str = ""


class ReplayReport(BaseModel):
    """How a batch stands.

    Attributes:
        name: Which.
        next_page: The number of the page that it waits for; what a feeder that takes over begins with.
        counts: Events by what has become of them.
        blocked: Entities of which an event is parked.
        remarks: What somebody must look at; the first thousand.
        more: How many remarks there are beyond those.
        finished: Everything is dealt with.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    next_page: int = 1
    counts: dict[Redriven, int] = Field(default_factory=dict)
    blocked: list[str] = Field(default_factory=list)
    remarks: list[Remark] = Field(default_factory=list)
    more: int = 0
    finished: bool = False


class BatchProgress(BaseModel):
    """How far a batch is, carried from run to run."""

    model_config = ConfigDict(extra="forbid")

    report: ReplayReport
    waiting: list[ReplayPage] = Field(default_factory=list)
    last: bool = False
    feeder: str | None = None
    heard: datetime | None = None
    due: datetime | None = None


class ReplayRequest(Model):
    """A batch.

    Attributes:
        name: Names it; a replay of what is being replayed is refused by it.
        who: Who asks.
        why: Why.
        rate: Events per second at most, as an average over every second or so.
        since: Events before it are left out.
        until: The cutoff: events at or after it are left out. What live traffic deals with begins there.
        ledger_since: From when on the ledger knows every effect of the service. An event from before it is only
            re-driven if every effect of its workflow can be known otherwise: by a key that the provider still keeps,
            or by a look-up. ``None``: for as long as the workers' plugin retains rows.
        patience: How long one run is waited for before its entity is held to be blocked.
        standing: How far it is; made by the batch when it continues as new. Leave it out.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    rate: float = Field(gt=0)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    ledger_since: AwareDatetime | None = None
    patience: timedelta = timedelta(minutes=1)
    standing: BatchProgress | None = None


class Chunk(Model):
    """What one activity re-drives."""

    events: list[PastEvent]
    ledger_since: AwareDatetime | None
    patience: timedelta


class Driven(Model):
    """What has become of one event of a chunk."""

    fate: Redriven
    why: str = ""
