"""What a reconciliation finds, and the report it writes: plain data, with the evidence for every word."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from kit.contract import Invariant, Model, Outcome, Pair, Severity

RECONCILIATION_QUERY: Final = "kit_reconciliation"
"""Name of the query that gives a reconciliation's report as far as it has come."""

FINDINGS_WORKFLOW: Final = "kit.Findings"
"""Workflow type of the question about what a reconciliation could not decide: one for each invariant."""

FINDINGS_QUERY: Final = "kit_findings"
"""Name of the query that lists the findings a question is about."""

FIND_RUNS_ACTIVITY: Final = "kit.find_runs"
"""Name of the activity that finds the runs which had the effects of some keys."""


class RunOfEffect(Model):
    """Which run had an effect, as the ledger says, and how that run stands, as the cluster says.

    Attributes:
        key: The effect's key.
        operation: What it is an effect of.
        state: What the ledger says of it.
        workflow_id: The run that had it.
        status: How the run stands: ``running``, how it was closed, or ``unknown`` where the cluster has forgotten it.
        open: Whether it, or the unwind of it, is still at work or waits for a person.
        asked: What was asked for: the key, or what it begins with and ``*``.
    """

    key: str
    operation: str
    state: str
    workflow_id: str
    status: str
    open: bool
    asked: str = ""


class FindRuns(Model):
    """Ask which runs had the effects of some keys; one that ends with ``*`` means all that begin so."""

    keys: tuple[str, ...]


class Standing(StrEnum):
    """What has become of a finding."""

    FOUND = "found"
    """It stands. Nothing was done: the run only looked."""
    IN_FLIGHT = "in_flight"
    """A run that is open had an effect on it, or it kept changing: not wrong yet, and looked at by the next run."""
    REPAIRED = "repaired"
    """It was repaired, and holds when looked at again."""
    ASKED = "asked"
    """A person is asked."""

    @property
    def violates(self) -> bool:
        """Whether the invariant does not hold because of it."""
        return self in (Standing.FOUND, Standing.ASKED)


class RepairMade(Model):
    """A repair that was tried.

    Attributes:
        operation: What was carried out.
        key: Under which key: the ledger's row tells the rest.
        outcome: What it left.
        reason: The reason code, where it failed.
    """

    operation: str
    key: str
    outcome: Outcome
    reason: str | None = None


class Finding(BaseModel):
    """One business id of which an invariant does not hold, and the evidence.

    Attributes:
        invariant: The invariant's name.
        key: The business id.
        text: What is wrong, with the values.
        pair: What each system said.
        seen_at: When it was asked.
        first_seen_at: When this run saw it for the first time.
        runs: The runs that had an effect on it.
        standing: What has become of it.
        repair: The repair that was tried.
        reason: Why a person is asked, or why it is not wrong yet.
        task: The workflow id of the question.
    """

    model_config = ConfigDict(extra="forbid")

    invariant: str
    key: str
    text: str
    pair: Pair
    seen_at: datetime
    first_seen_at: datetime
    runs: tuple[RunOfEffect, ...] = ()
    standing: Standing = Standing.FOUND
    repair: RepairMade | None = None
    reason: str | None = None
    task: str | None = None


class Checked(BaseModel):
    """What became of one invariant.

    Attributes:
        invariant: Its name.
        severity: How bad it is when it does not hold.
        owner: Who is asked.
        unchecked: Why it could not be checked; ``None`` when it was.
        findings: How many findings there are, by standing.
    """

    model_config = ConfigDict(extra="forbid")

    invariant: str
    severity: Severity
    owner: str
    unchecked: str | None = None
    findings: dict[Standing, int] = Field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether it was checked and holds."""
        return self.unchecked is None and not any(n for standing, n in self.findings.items() if standing.violates)


class Compared(BaseModel):
    """How much of two systems was read."""

    model_config = ConfigDict(extra="forbid")

    left: str
    right: str
    left_pages: int = 0
    left_records: int = 0
    right_pages: int = 0
    right_records: int = 0
    suspects: int = 0


class ReconciliationReport(BaseModel):
    """What a reconciliation compared, found and did.

    Attributes:
        workflow_id: The run that wrote it; the repairs are its effects in the ledger.
        who: Who asked for it.
        why: And why.
        repairing: Whether it repaired and asked, or only looked.
        started_at: When it began.
        ended_at: When it ended.
        compared: How much of which systems was read.
        invariants: What became of each invariant.
        findings: Every finding with its evidence, up to the most that a run keeps.
        dropped: How many more there were.
    """

    model_config = ConfigDict(extra="forbid")

    workflow_id: str
    who: str
    why: str
    repairing: bool
    started_at: datetime
    ended_at: datetime | None = None
    compared: list[Compared] = Field(default_factory=list)
    invariants: list[Checked] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)
    dropped: int = 0

    @property
    def holds(self) -> bool:
        """Whether every invariant was checked and holds."""
        return not self.dropped and all(checked.holds for checked in self.invariants)


def checked(invariant: Invariant) -> Checked:
    """An invariant, as a report begins with it."""
    return Checked(invariant=invariant.name, severity=invariant.severity, owner=invariant.owner)
