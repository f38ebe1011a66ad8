"""The sweep: a workflow under every fault at every point, and every invariant asked."""

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

__all__ = ["Cell", "Counterexample", "Counts", "Difference", "Place", "Reduction", "SweepFailed", "Verdict"]
