"""Proof: the sweep (`sweep`), worlds and invariants for it, checks of connectors, a real server that skips time."""

from kit.testing.conformance import check_connector
from kit.testing.faults import FaultKind, Point, Scenario
from kit.testing.promises import ConformanceError, ConformanceReport, Fault, Oracle, Promise
from kit.testing.runs import Ending, Run, Seen, Truth, Violation
from kit.testing.server import start_time_skipping, temporal_binary
from kit.testing.sweep import Counterexample, SweepFailed, Verdict, run_scenario, sweep, write_test
from kit.testing.wire import Wire
from kit.testing.world import Invariant, Subject, World

__all__ = [
    "ConformanceError",
    "ConformanceReport",
    "Counterexample",
    "Ending",
    "Fault",
    "FaultKind",
    "Invariant",
    "Oracle",
    "Point",
    "Promise",
    "Run",
    "Scenario",
    "Seen",
    "Subject",
    "SweepFailed",
    "Truth",
    "Verdict",
    "Violation",
    "Wire",
    "World",
    "check_connector",
    "run_scenario",
    "start_time_skipping",
    "sweep",
    "temporal_binary",
    "write_test",
]
