"""What is remembered of every scenario: little enough that their number does not matter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kit.testing.faults import Scenario
from kit.testing.runs import Ending, Run, Violation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario, in short.

    Attributes:
        scenario: Its faults.
        ending: How it ended when left alone.
        repaired: How it ended with a person's help; ``None`` when it did not park.
        asked: The operations that a person was asked about, ``.undo`` where it was about the undo.
        violations: What does not hold.
        same_as: The scenario that was run in its place, if it was not run itself to its end.
    """

    scenario: Scenario
    ending: Ending
    repaired: Ending | None = None
    asked: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    same_as: Scenario | None = None

    @classmethod
    def of(cls, run: Run) -> Outcome:
        """The outcome of a run."""
        asked = sorted(f"{task.operation}{'.undo' if task.undo else ''}" for task in run.tasks)
        return cls(run.scenario, run.ending, run.repaired, tuple(asked), run.violations)

    @property
    def safe(self) -> bool:
        """Whether every invariant held."""
        return not self.violations

    @property
    def sort(self) -> tuple[Ending, Ending | None, tuple[str, ...]]:
        """What one example of is enough to see."""
        return self.ending, self.repaired, self.asked

    def passed_on(self, scenario: Scenario) -> Outcome:
        """The outcome of another scenario whose run is the same from some state on."""
        return replace(self, scenario=scenario, same_as=self.same_as or self.scenario)

    def equals(self, other: Outcome) -> bool:
        """Whether the same came of both, whichever faults led there."""
        return replace(self, scenario=other.scenario, same_as=other.same_as) == other
