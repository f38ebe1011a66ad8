"""An incident, from containing it to its proven end: durable on the cluster, where everybody who works on it sees it.

::

    contain ──▶ restore ──▶ reconcile ──▶ verify ──▶ closed

- *contain*: nothing gets worse: the holds that the incident relies on are on.
- *restore*: the service works again: rolled back, failed over, mended.
- *reconcile*: entering it runs the service's reconciliation, which repairs and asks.
- *verify*: people answer what was asked, holds are switched off.
- *closed*: refused unless, at this moment, every invariant is checked and holds, no task is open and none of the
  incident's holds is on. Each attempt to close it is kept with its evidence, refused or not.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from kit.contract import Model
from kit.telemetry import CORRELATION_ID, Event, workflow_log
from kit.workflow.findings import ReconciliationReport
from kit.workflow.open_work import FindOpen, OpenWork
from kit.workflow.progress import ReconciliationRequest
from kit.workflow.schedule import start_find_open

INCIDENT_WORKFLOW: Final = "kit.Incident"
"""Workflow type of an incident."""

INCIDENT_QUERY: Final = "kit_incident"
"""Name of the query that gives an incident's record."""

ADVANCE_UPDATE: Final = "kit_advance"
"""Name of the update that goes to the next stage."""

CLOSE_UPDATE: Final = "kit_close"
"""Name of the update that closes an incident, or says why it cannot be closed."""

NOTE_UPDATE: Final = "kit_note"
"""Name of the update that adds a note."""

NOT_CLOSED: Final = "IncidentNotClosed"
"""Type of the application error of an incident that cannot be closed yet. Released strings never change."""

KEPT: Final = 50
"""How many findings of one report an incident keeps; the run that wrote it has them all."""


class Stage(StrEnum):
    """Where an incident stands."""

    CONTAIN = "contain"
    RESTORE = "restore"
    RECONCILE = "reconcile"
    VERIFY = "verify"
    CLOSED = "closed"

    @property
    def next(self) -> Stage | None:
        """The stage that it is advanced to; ``None`` where only closing is left."""
        stages = list(Stage)
        return None if self in (Stage.VERIFY, Stage.CLOSED) else stages[stages.index(self) + 1]


class IncidentRequest(Model):
    """Open an incident.

    Attributes:
        title: What is wrong, in a sentence.
        who: Who opens it.
        why: How it was noticed.
        reconciliation: Workflow type of the reconciliation that repairs and verifies.
        invariants: Those that must hold at its end; empty for all that the reconciliation checks.
        holds: The holds that it relies on, as ``scope:name``.
        service: As in `ReconciliationRequest`.
    """

    title: str = Field(min_length=1)
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    reconciliation: str
    invariants: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    service: str = ""


class Word(Model):
    """What a person says with a change of an incident."""

    who: str = Field(min_length=1)
    why: str = Field(min_length=1)


class Note(Model):
    """One line of an incident's log."""

    at: AwareDatetime
    stage: Stage
    who: str
    text: str


class Evidence(BaseModel):
    """What was found at one moment of an incident.

    Attributes:
        at: When.
        stage: In which stage.
        report: What the reconciliation says.
        open: What was open; ``None`` where nobody asked.
        refusals: Why the incident could not be closed; empty when it could, or when nobody tried.
    """

    model_config = ConfigDict(extra="forbid")

    at: datetime
    stage: Stage
    report: ReconciliationReport
    open: OpenWork | None = None
    refusals: list[str] = Field(default_factory=list)


class IncidentRecord(BaseModel):
    """An incident as it stands: its stage, its log, its evidence."""

    model_config = ConfigDict(extra="forbid")

    id: str
    request: IncidentRequest
    stage: Stage = Stage.CONTAIN
    opened_at: datetime
    closed_at: datetime | None = None
    log: list[Note] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)


@workflow.defn(name=INCIDENT_WORKFLOW)
class IncidentWorkflow:
    """One incident. Started by `kit.operate.open_incident`, on the task queue of the service it is about."""

    @workflow.init
    def __init__(self, request: IncidentRequest) -> None:
        self._record = IncidentRecord(id=workflow.info().workflow_id, request=request, opened_at=workflow.now())
        self._runs = 0
        self._busy = False
        self._log = workflow_log()
        self._note(request.who, f"opened: {request.why}")

    @workflow.run
    async def run(self, request: IncidentRequest) -> IncidentRecord:
        """Wait until it is closed, however long it takes. Returns the record, with the evidence."""
        await workflow.wait_condition(lambda: self._record.stage is Stage.CLOSED and workflow.all_handlers_finished())
        return self._record

    @workflow.query(name=INCIDENT_QUERY, description="How this incident stands.")
    def kit_incident(self) -> IncidentRecord:
        """The record."""
        return self._record

    @workflow.update(name=NOTE_UPDATE, description="Add a note to the log.")
    def kit_note(self, word: Word) -> IncidentRecord:
        """Add a note."""
        self._note(word.who, word.why)
        return self._record

    @workflow.update(name=ADVANCE_UPDATE, description="Go to the next stage.")
    async def kit_advance(self, word: Word) -> IncidentRecord:
        """Go to the next stage; into ``reconcile`` by running the reconciliation, which repairs and asks.

        Raises:
            ApplicationError: The reconciliation could not be run: the incident stays where it is.
        """
        record = self._record
        stage = record.stage.next
        if stage is None:
            raise AssertionError("the validator lets nobody pass here")
        if stage is Stage.RECONCILE:
            report = await self._reconcile(word, repair=True)
            record.evidence.append(Evidence(at=workflow.now(), stage=stage, report=report))
        record.stage = stage
        self._note(word.who, f"to {stage.value}: {word.why}")
        return record

    @kit_advance.validator
    def _check_advance(self, word: Word) -> None:
        self._refuse_while_busy()
        if self._record.stage.next is None:
            raise ValueError(f"the incident is at {self._record.stage.value!r}: the next step is to close it")

    @workflow.update(name=CLOSE_UPDATE, description="Close it, if everything holds.")
    async def kit_close(self, word: Word) -> IncidentRecord:
        """Close it, if at this moment everything holds and nothing is open.

        Raises:
            ApplicationError: ``IncidentNotClosed``, with the reasons. What was found is in the record all the same.
        """
        record = self._record
        report = await self._reconcile(word, repair=False)
        self._busy = True
        try:
            found: OpenWork = await start_find_open(FindOpen())
        finally:
            self._busy = False
        refusals = _refusals(record.request, report, found)
        record.evidence.append(
            Evidence(at=workflow.now(), stage=record.stage, report=report, open=found, refusals=refusals)
        )
        if refusals:
            self._note(word.who, f"not closed: {'; '.join(refusals)}")
            raise ApplicationError(
                f"{record.id} is not closed: {'; '.join(refusals)}.", refusals, type=NOT_CLOSED, non_retryable=True
            )
        record.stage, record.closed_at = Stage.CLOSED, workflow.now()
        self._note(word.who, f"closed: {word.why}")
        return record

    @kit_close.validator
    def _check_close(self, word: Word) -> None:
        self._refuse_while_busy()
        if self._record.stage is not Stage.VERIFY:
            raise ValueError(f"the incident is at {self._record.stage.value!r}: it is closed from 'verify' only")

    def _refuse_while_busy(self) -> None:
        if self._busy:
            raise ValueError("a reconciliation of this incident is at work: wait for its end")

    async def _reconcile(self, word: Word, *, repair: bool) -> ReconciliationReport:
        """Run the service's reconciliation, and keep of its report what an incident can carry."""
        request = self._record.request
        self._runs += 1
        self._busy = True
        try:
            report: ReconciliationReport = await workflow.execute_child_workflow(
                request.reconciliation,
                ReconciliationRequest(
                    invariants=request.invariants,
                    repair=repair,
                    who=word.who,
                    why=word.why,
                    service=request.service,
                ),
                id=f"{self._record.id}-{workflow.info().run_id[:8]}-{self._runs}",
                result_type=ReconciliationReport,
                static_summary=f"{'Reconcile' if repair else 'Verify'} for {self._record.id}",
            )
        except FailureError as error:
            cause = error.cause or error
            raise ApplicationError(
                f"the reconciliation {request.reconciliation} could not be run: {cause}", type=NOT_CLOSED
            ) from error
        finally:
            self._busy = False
        return report.model_copy(update={"findings": report.findings[:KEPT]})

    def _note(self, who: str, text: str) -> None:
        record = self._record
        record.log.append(Note(at=workflow.now(), stage=record.stage, who=who, text=text))
        self._log.warning(Event.INCIDENT, **{CORRELATION_ID: record.id}, stage=record.stage.value, who=who, text=text)
        workflow.set_current_details(
            "\n".join(
                [f"**{record.request.title}**: {record.stage.value}", "", *(f"- {line(note)}" for note in record.log)]
            )
        )


def line(note: Note) -> str:
    """One line of the log, as people read it."""
    return f"{note.at:%Y-%m-%d %H:%M:%S} UTC [{note.stage.value}] {note.who}: {note.text}"


def _refusals(request: IncidentRequest, report: ReconciliationReport, found: OpenWork) -> list[str]:
    """Why an incident cannot be closed."""
    refusals = []
    for each in report.invariants:
        if each.unchecked is not None:
            refusals.append(f"“{each.invariant}” could not be checked ({each.unchecked})")
        elif not each.holds:
            wrong = sum(number for standing, number in each.findings.items() if standing.violates)
            refusals.append(f"“{each.invariant}” does not hold ({wrong} findings)")
    if report.dropped:
        refusals.append(f"{report.dropped} more ids differ and were not looked at")
    if found.tasks:
        shown = ", ".join(f"{task.task_id} of {task.workflow_id}" for task in found.tasks[:3])
        refusals.append(f"{len(found.tasks)}{' or more' if found.more else ''} tasks are open ({shown})")
    mine = [hold for hold in found.holds if f"{hold.scope.value}:{hold.name}" in request.holds]
    refusals += [f"the hold on {hold.scope.value} {hold.name!r} is on" for hold in mine]
    return refusals
