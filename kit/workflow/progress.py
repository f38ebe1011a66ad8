"""What a reconciliation is asked for, and how far it has come."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from kit.contract import Model
from kit.workflow.comparing import Comparison
from kit.workflow.findings import ReconciliationReport


class Progress(BaseModel):
    """How far a reconciliation has come: all it needs to go on.

    Attributes:
        report: What it has found and done.
        pair: Which two systems are at work, by their place.
        comparison: How far they have been read.
        suspects: The ids that break a rule as they were read, and when that was seen first.
        steps: How many operations were carried out, for their tokens.
    """

    model_config = ConfigDict(extra="forbid")

    report: ReconciliationReport
    pair: int = 0
    comparison: Comparison = Field(default_factory=Comparison)
    suspects: dict[str, datetime] = Field(default_factory=dict)
    steps: int = 0


class ReconciliationRequest(Model):
    """What a reconciliation is asked for.

    Attributes:
        invariants: Their names; empty for all that the workflow has.
        repair: Whether it repairs, and asks about the rest; else it only looks.
        at_most: How many repairs of each kind it makes, where that is to differ from what the rules say.
        calls_a_minute: How often it asks a system for anything: pages, looks and repairs together.
        page_size: How many records it asks for at once.
        who: Who wants it.
        why: And why.
        service: Whose systems they are, where several services share a namespace: its task queue. There is one open
            question for each invariant of a service.
        progress: Set by a run that continues as new; not by anybody else.
    """

    invariants: tuple[str, ...] = ()
    repair: bool = True
    at_most: int | None = Field(default=None, ge=0)
    calls_a_minute: int = Field(default=600, gt=0)
    page_size: int = Field(default=100, gt=0, le=1000)
    who: str = Field(default="schedule", min_length=1)
    why: str = Field(default="scheduled", min_length=1)
    service: str = ""
    progress: Progress | None = None
