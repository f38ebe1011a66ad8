"""The sweep: a workflow under every fault at every point, and every invariant asked."""

from kit.testing.sweep.engines import run_scenario
from kit.testing.sweep.oracle import ReductionError
from kit.testing.sweep.outcome import Outcome
from kit.testing.sweep.shrinking import shrink
from kit.testing.sweep.sweep import sweep
from kit.testing.sweep.tally import Progress
from kit.testing.sweep.verdict import (
    Cell,
    Counterexample,
    Counts,
    Difference,
    Place,
    Reduction,
    SweepFailed,
    Verdict,
)
from kit.testing.sweep.writing import write_test

__all__ = [
    "Cell",
    "Counterexample",
    "Counts",
    "Difference",
    "Outcome",
    "Place",
    "Progress",
    "Reduction",
    "ReductionError",
    "SweepFailed",
    "Verdict",
    "run_scenario",
    "shrink",
    "sweep",
    "write_test",
]
