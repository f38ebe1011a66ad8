"""A verdict made by hand: every kind of ending, a violation, a question, a pair that differs, and hostile texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from kit.contract import FailureDetails, FailureKind, Outcome, Role
from kit.ledger import Entry, State
from kit.testing.faults import FaultKind, Point, Scenario
from kit.testing.report.findings import Report
from kit.testing.runs import LEDGER, PERSON, WORKER, WORKFLOW, Ending, Line, Run, Seen, Truth, Violation
from kit.testing.sweep.verdict import Cell, Counterexample, Counts, Difference, Place, Reduction, Verdict
from kit.testing.wire import Wire
from kit.testing.world import Subject, World
from kit.workflow import Choice, RunSummary, Status, Task
from tests.worlds.checkout import REQUEST
from workflows import checkout
from workflows.checkout import Checkout

HOSTILE = "<script>alert('x & y')</script>"
"""What a provider may well answer."""

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
LOST = Scenario.parse("payments.capture#1:reply_lost")
REFUSED = Scenario.parse("payments.capture#1:refused")
RECEIPT = Scenario.parse("email.send_receipt#1:reply_lost")
PAIR = Scenario.parse("payments.capture#1:reply_lost+payments.capture.undo#1:refused")


def source_line(text: str, *, shown: bool = False) -> str:
    """Where the checkout has this text: as an engine says it, or as a report shows it."""
    lines = Path(checkout.__file__).read_text(encoding="utf-8").splitlines()
    number = next(number for number, line in enumerate(lines, 1) if text in line)
    return f"workflows/checkout.py:{number}" if shown else f"{checkout.__file__}:{number}"


def no_world(wire: Wire) -> World:
    """Nobody asks for it here."""
    raise NotImplementedError


def summary() -> RunSummary:
    """What the saga says of itself."""
    step = {
        "number": 1,
        "operation": "payments.capture",
        "phase": "pivot",
        "key": "capture:ORDER-1",
        "outcome": "unknown",
        "undo": "undone",
        "attempts": 2,
        "reason": "timeout",
    }
    return RunSummary(
        workflow_id="sweep",
        run_id="run",
        workflow_type="Checkout",
        correlation_id="sweep",
        status=Status.COMPENSATED,
        parked=False,
        reason_code="timeout",
        duration_ms=12_250,
        retry_count=1,
        compensation_count=1,
        key_outputs={},
        steps=[step],
        residue=[],
        tasks=[],
    )


def row() -> Entry:
    """What the ledger says."""
    return Entry(
        key="capture:ORDER-1",
        fingerprint="f",
        operation="payments.capture",
        version=1,
        state=State.UNDONE,
        saga="sweep",
        run_id="run",
        step=1,
        correlation_id="sweep",
        request=b"{}",
        owner="w",
        attempts=2,
        first_claimed_at=NOW,
        updated_at=NOW,
    )


def broken() -> Run:
    """A run in which the customer is charged twice."""
    at = source_line("await self.pivot(")
    fault = LOST.faults[0]
    charge = Truth("payments", "payments.capture", "capture:ORDER-1", True, 1, f"captured 49.99 usd {HOSTILE}")
    story = (
        Line(timedelta(0), WORKFLOW, "asks for payments.capture", source=at),
        Line(timedelta(milliseconds=250), WORKER, "takes up payments.capture, attempt 1"),
        Line(timedelta(milliseconds=250), LEDGER, "capture:ORDER-1 is claimed"),
        Line(timedelta(milliseconds=250), "payments", f"captures 49.99 usd {HOSTILE}"),
        Line(timedelta(milliseconds=250), "payments", "the reply is lost", fault=fault),
        Line(timedelta(seconds=12, milliseconds=250), "payments", "captures 49.99 usd again"),
    )
    return Run(
        LOST,
        "Checkout",
        "sweep",
        Ending.COMPENSATED,
        summary=summary(),
        error="SagaCompensated: timeout",
        truth=(charge, Truth("payments", "payments.capture", "capture:ORDER-1", True, 2, "captured 49.99 usd again")),
        rows=(row(),),
        seen=(Seen(fault.point, "sweep", "capture:ORDER-1", 1, fault),),
        story=story,
        violations=(Violation("at most one live effect per key", f"2 live effects of 'capture:ORDER-1' {HOSTILE}"),),
    )


def parked() -> Run:
    """A run that asks a person about the receipt."""
    failure = FailureDetails(
        operation="email.send_receipt",
        kind=FailureKind.TIMEOUT,
        outcome=Outcome.UNKNOWN,
        reason="unknowable",
        needs_person=True,
    )
    task = Task(
        id="7-1",
        step=7,
        operation="email.send_receipt",
        undo=False,
        question=f"The step “Send the receipt” cannot go on by itself {HOSTILE}.",
        choices=(Choice.RETRY, Choice.SKIP),
        owner="customer-care-team",
        runbook="docs/explanation/failure-model.md#email",
        failure=failure,
        opened_at=NOW,
    )
    story = (Line(timedelta(seconds=1), PERSON, "is asked about the receipt"),)
    return Run(RECEIPT, "Checkout", "sweep", Ending.PARKED, Ending.COMPLETED, tasks=(task,), story=story)


def clean() -> Run:
    """A run without faults."""
    names = ("inventory.reserve", "payments.authorize", "orders.create", "payments.capture", "email.send_receipt")
    seen = tuple(Seen(Point(name, Role.ACTION, 1), "sweep", name, 1) for name in names)
    return Run(Scenario(), "Checkout", "sweep", Ending.COMPLETED, seen=seen, result='{"status": "placed"}')


def verdict(*, safe: bool = False) -> Verdict:
    """What a sweep of the checkout might have found."""
    capture, undo = Place("payments.capture", Role.ACTION), Place("payments.capture", Role.COMPENSATION)
    receipt = Place("email.send_receipt", Role.ACTION)
    bad = broken()
    matrix = {
        (receipt, FaultKind.REPLY_LOST): Cell({Ending.PARKED: 1}, example=RECEIPT),
        (capture, FaultKind.REPLY_LOST): Cell(
            {Ending.COMPENSATED: 1}, {Ending.COMPENSATED: 3}, 0 if safe else 4, example=LOST
        ),
        (capture, FaultKind.REFUSED): Cell({Ending.COMPENSATED: 1}, example=REFUSED),
        (capture, FaultKind.STARTED_AGAIN): Cell({Ending.COMPLETED: 2}),
        (undo, FaultKind.REFUSED): Cell({}, {Ending.PARKED: 5}, example=PAIR),
    }
    return Verdict(
        workflow="Checkout",
        depth=2,
        seed=0,
        engine="simulation",
        oracle=False,
        kinds=(FaultKind.REFUSED, FaultKind.REPLY_LOST, FaultKind.STARTED_AGAIN),
        clean=clean(),
        runs=(clean(), parked()) if safe else (clean(), bad, parked()),
        violations=() if safe else (Counterexample(LOST, bad, PAIR, 4),),
        counts=Counts(
            scenarios=1204,
            runs=400,
            stopped=804,
            reduced={Reduction.SAME_STATE: 804},
            histories=77,
            replays=77,
            reachable=9,
            faulted=8,
            endings={Ending.COMPLETED: 700, Ending.COMPENSATED: 500, Ending.PARKED: 4},
            violating=0 if safe else 4,
            checked=19,
            engine={"activations": 9000},
        ),
        matrix=matrix,
        differences=(Difference(PAIR, Ending.PARKED, (Ending.COMPENSATED, None), violated=not safe),),
        unfaulted=(Point("payments.authorize", Role.PROBE, 1),),
        assumptions=("One ledger serves every worker.", f"The provider never answers {HOSTILE}."),
        code_hash="0123abcd",
    )


def report(*, safe: bool = False) -> Report:
    """The same with its subject."""
    return Report(verdict(safe=safe), Subject(Checkout, REQUEST, no_world))
