"""What a sweep says: no violation within a stated bound, or the shortest story of what breaks.

A verdict is bounded in size, whatever the number of scenarios: it counts all of them and keeps the runs that somebody
will want to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kit.contract import Role
from kit.testing.faults import FaultKind, Point, Scenario
from kit.testing.runs import Ending, Run

KEPT: Final = 1000
"""The most runs that a verdict keeps of one sort: singles, violating, one of each ending, pairs that differ."""


class Reduction(StrEnum):
    """Why a scenario did not have to be run to its end. Each is exact: the outcome is known, not guessed."""

    SAME_SET = "its faults were run in another order"
    UNREACHED = "its last fault can never strike"
    SAME_STATE = "another run passed through the same state"
    SAME_REST = "it adds a fault where its run has become another's, and that one was run with the fault"
    SAME_HISTORY = "its worker is lost between two workflow tasks: one replay of the history covers every such place"


@dataclass(frozen=True, slots=True)
class Counts:
    """How much was looked at, and how.

    Attributes:
        scenarios: Sets of faults that can strike, within the bound; the clean run is one of them.
        runs: Scenarios that were run to their end.
        stopped: Scenarios that were run until the rest was known.
        reduced: How many scenarios were not run to their end (or at all), by reason. Those of `Reduction.SAME_SET`,
            `Reduction.UNREACHED` and `Reduction.SAME_HISTORY` are not among ``scenarios``: they are no scenarios of
            their own.
        histories: Distinct workflow-visible histories.
        replays: How many of them were replayed by a fresh instance, which must give the same commands.
        reachable: Points that are reached with fewer faults than the bound allows, so that one more can strike there.
        faulted: Those that a fault struck.
        beyond: Points that are reached only when the most faults have struck; nothing went wrong there.
        endings: How the scenarios ended.
        violating: Scenarios in which an invariant did not hold.
        checked: Scenarios that were run to their end although the rest was known, and ended as it was foretold.
        engine: What the engine counted besides.
    """

    scenarios: int = 0
    runs: int = 0
    stopped: int = 0
    reduced: dict[Reduction, int] = field(default_factory=dict)
    histories: int = 0
    replays: int = 0
    reachable: int = 0
    faulted: int = 0
    beyond: int = 0
    endings: dict[Ending, int] = field(default_factory=dict)
    violating: int = 0
    checked: int = 0
    engine: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the matrix: one of a connector's methods.

    Attributes:
        operation: The operation's name.
        role: Which of its methods.
    """

    operation: str
    role: Role

    @classmethod
    def of(cls, point: Point) -> Place:
        """Where a point is."""
        return cls(point.operation, point.role)

    def __str__(self) -> str:
        """Such as ``payments.capture.undo``."""
        return str(Point(self.operation, self.role, 1)).partition("#")[0]


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one kind of fault at one place.

    Attributes:
        alone: How the scenarios ended in which it was the only fault.
        together: How those ended in which it struck together with others.
        violated: In how many of both an invariant did not hold.
        example: The first of its scenarios; one that violates, if any does.
    """

    alone: dict[Ending, int] = field(default_factory=dict)
    together: dict[Ending, int] = field(default_factory=dict)
    violated: int = 0
    example: Scenario | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A scenario of several faults that ends as none of its faults does alone.

    Attributes:
        scenario: Its faults.
        ending: How it ended.
        alone: How each of its faults ends alone, in the order of the faults; ``None`` for one that cannot strike alone.
        violated: Whether an invariant did not hold.
    """

    scenario: Scenario
    ending: Ending
    alone: tuple[Ending | None, ...]
    violated: bool = False


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A scenario in which an invariant does not hold, with no fault that could be left out.

    Attributes:
        scenario: The fewest faults: without any one of them every invariant holds.
        run: What came of it.
        found_as: The scenario in which it was found first.
        scenarios: How many of the sweep's scenarios contain all its faults and violate something.
    """

    scenario: Scenario
    run: Run
    found_as: Scenario
    scenarios: int = 1

    @property
    def command(self) -> str:
        """The line that shows it again."""
        return f"kit verify {self.run.workflow} --only '{self.scenario}'"

    def __str__(self) -> str:
        """Which invariant does not hold, in which scenario, and the line that shows it again."""
        broken = "; ".join(dict.fromkeys(f"{found.invariant}: {found.text}" for found in self.run.violations))
        return f"{broken}\n    {self.command}"


class SweepFailed(AssertionError):
    """An invariant does not hold in some scenario.

    Attributes:
        verdict: All that is known.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("\n".join([str(verdict), *(str(found) for found in verdict.violations[:10])]))
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sweep found.

    Attributes:
        workflow: The workflow's type.
        depth: The most faults of one scenario.
        seed: Decided every choice that the real world leaves open.
        engine: What ran the scenarios: ``simulation``, ``server``, or a class's name.
        oracle: Whether every scenario was run for real.
        kinds: The kinds of fault that were tried.
        clean: The run without faults.
        runs: The runs that were kept, at most `KEPT` of each sort, smallest first: the clean one, the singles, one of
            every distinct ending, and those of the violations.
        violations: The counterexamples, fewest faults first, at most `KEPT`.
        counts: How much was looked at.
        matrix: What came of every kind of fault at every place.
        differences: Scenarios of several faults that end as none of their faults does alone, at most `KEPT`.
        unfaulted: Points that were reached and not faulted, within the bound.
        assumptions: What the verdict takes for granted, as sentences.
        code_hash: Digest of the sources that it is about: workflow, world, connectors, and the kit.
    """

    workflow: str
    depth: int
    seed: int
    engine: str
    oracle: bool
    kinds: tuple[FaultKind, ...]
    clean: Run
    runs: tuple[Run, ...]
    violations: tuple[Counterexample, ...]
    counts: Counts
    matrix: dict[tuple[Place, FaultKind], Cell]
    differences: tuple[Difference, ...]
    unfaulted: tuple[Point, ...]
    assumptions: tuple[str, ...]
    code_hash: str

    @property
    def safe(self) -> bool:
        """Whether every invariant held in every scenario."""
        return self.counts.violating == 0

    def find(self, scenario: Scenario) -> Run | None:
        """The run of a scenario, if it was kept."""
        return next((run for run in self.runs if run.scenario == scenario), None)

    def singles(self) -> Iterator[Run]:
        """The kept runs with one fault, in the order in which they were explored."""
        return (run for run in self.runs if len(run.scenario.faults) == 1)

    def assert_safe(self) -> None:
        """Let a test fail where an invariant does not hold.

        Raises:
            SweepFailed: With the line that reproduces each counterexample.
        """
        if not self.safe:
            raise SweepFailed(self)

    def __str__(self) -> str:
        """Never "proved" without its bound."""
        counts, found = self.counts, len(self.violations)
        what = "no violation" if self.safe else f"{found} counterexample{'s' * (found != 1)}"
        violating = "" if self.safe else f" ({counts.violating:,} of them violate an invariant)"
        return (
            f"{self.workflow}: {what} for ≤ {self.depth} fault{'s' * (self.depth != 1)}, "
            f"{counts.scenarios:,} scenarios{violating}, {counts.histories:,} histories, "
            f"{counts.faulted} of {counts.reachable} points faulted, {len(self.assumptions)} assumptions, "
            f"{self.engine}, seed {self.seed}, code {self.code_hash}"
        )
