"""What one scenario was: how the run ended, what each provider did, and the story of it. Plain data, and picklable."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from kit.errors import Outcome
from kit.ledger import Entry
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.workflow import RunSummary, Task
from kit.workflow.unwound import Unwound

WORKFLOW: Final = "workflow"
WORKER: Final = "worker"
LEDGER: Final = "ledger"
SERVER: Final = "server"
PERSON: Final = "person"
"""The lanes of a story that are not systems of the world."""


class Ending(StrEnum):
    """How a run ended. A closed vocabulary."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    """It failed, and nothing is left."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """It failed in another way than by compensation."""
    PARKED = "parked"
    """It waits for a person, with a task."""
    TERMINATED = "terminated"
    STUCK = "stuck"
    """It neither ended nor waits for anybody: its workflow task fails again and again, or nothing is left to happen."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One effect, from the provider's own record; never what the code under test believes.

    Attributes:
        system: The system that did it, as the world calls it.
        operation: The name of the operation that it is an effect of.
        key: The idempotency key that the operation gives it.
        live: Whether it stands now. An effect that a later step of the saga builds on (an authorization that was
            captured) stands.
        order: Its place among all effects of the world. Of equal ones the world's list tells which came first.
        text: What a person reads, such as "captured 49.99 usd for ORDER-1".
    """

    system: str
    operation: str
    key: str
    live: bool = True
    order: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that reached the wire, or one that a hold kept from it.

    Attributes:
        point: Which.
        workflow_id: The run that made it.
        key: The idempotency key of the call.
        attempt: The number of the activity's attempt.
        fault: What went wrong with it, if anything.
        outcome: What the one who carried it knows: ``None`` when it was never answered.
        kinds: What can go wrong here, in the order of `FaultKind`; a sweep faults each.
        persistent: Whether it is tried without end: an undo, or a step after the commit.
    """

    point: Point
    workflow_id: str
    key: str
    attempt: int
    fault: Fault | None = None
    outcome: Outcome | None = None
    kinds: tuple[FaultKind, ...] = ()
    persistent: bool = False

    @property
    def held(self) -> bool:
        """Whether a hold stopped the attempt before it called anybody; it counts as the call it would have made."""
        return self.fault is not None and self.fault.kind is FaultKind.HELD


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a story.

    Attributes:
        at: Since the start of the scenario, on the engine's clock.
        lane: Who: a constant of this module, or a system of the world.
        text: What.
        source: The workflow's line of code that was awaiting, as ``file:line``, where the engine can tell.
        fault: The fault that did it, if one did.
    """

    at: timedelta
    lane: str
    text: str
    source: str | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold.

    Attributes:
        invariant: Its name.
        text: What is wrong, with the values.
        when: ``"parked"`` when it was found while the run waited for a person, else ``"end"``.
    """

    invariant: str
    text: str
    when: str = "end"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one scenario.

    Attributes:
        scenario: What went wrong.
        workflow: The workflow's type.
        workflow_id: Its id.
        ending: How it ended when left alone: ``PARKED`` is reported even if a person's retry finished it afterwards.
        repaired: How it ended after the person's retry of every task; ``None`` when it did not park.
        summary: What the saga says of itself, at its end.
        tasks: What a person was asked when it parked.
        result: What it returned, as JSON; ``None`` when it did not complete.
        error: Why it failed, in a sentence.
        truth: What the providers did, at the end.
        rows: What the ledgers say, at the end.
        seen: Every request that reached the wire, in order.
        story: Every line, in order.
        violations: What does not hold.
        unreached: Faults of the scenario whose point was never reached.
        history: The run's Temporal history (`temporalio.api.history.v1.History`, serialized).
        fingerprint: Digest of all that is deterministic in it: the same scenario on the same code gives the same.
        children: The workflow ids of its child sagas.
        unwound: What was undone of it by its unwind, when it was terminated.
        duplicates: What came of the runs that the same request was started as again, beside this one. Truth, rows,
            requests and story are the scenario's, and stand in this one only.
    """

    scenario: Scenario
    workflow: str
    workflow_id: str
    ending: Ending
    repaired: Ending | None = None
    summary: RunSummary | None = None
    tasks: tuple[Task, ...] = ()
    result: str | None = None
    error: str | None = None
    truth: tuple[Truth, ...] = ()
    rows: tuple[Entry, ...] = ()
    seen: tuple[Seen, ...] = ()
    story: tuple[Line, ...] = ()
    violations: tuple[Violation, ...] = ()
    unreached: tuple[Fault, ...] = ()
    history: bytes = field(default=b"", repr=False)
    fingerprint: str = ""
    children: tuple[str, ...] = ()
    unwound: Unwound | None = None
    duplicates: tuple[Run, ...] = ()

    @property
    def sagas(self) -> frozenset[str]:
        """The workflow ids under which it has its effects: its own, and its children's."""
        return frozenset((self.workflow_id, *self.children))

    @property
    def safe(self) -> bool:
        """Whether every invariant held."""
        return not self.violations
