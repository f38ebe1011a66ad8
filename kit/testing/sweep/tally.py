"""What is counted and kept while a sweep goes on. Its size does not grow with the number of scenarios."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import Ending, Run
from kit.testing.sweep.growing import Reached
from kit.testing.sweep.outcome import Outcome
from kit.testing.sweep.verdict import KEPT, Cell, Difference, Place, Reduction

COUNTEREXAMPLES: Final = 100
"""The most counterexamples of a verdict."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep has come.

    Attributes:
        outcome: What is known of the latest scenario.
        done: How many scenarios are known.
        planned: How many there are so far. It grows, because faults lead to points that nobody had seen.
        violating: In how many an invariant does not hold.
    """

    outcome: Outcome
    done: int
    planned: int
    violating: int


@dataclass(slots=True)
class _Cell:
    alone: Counter[Ending] = field(default_factory=Counter)
    together: Counter[Ending] = field(default_factory=Counter)
    violated: int = 0
    example: Outcome | None = None


@dataclass(slots=True)
class Tally:
    """Takes in every outcome once, in the order of the sweep.

    Args:
        tell: Told of every outcome.
    """

    tell: Callable[[Progress], None] | None = None
    done: int = 0
    planned: int = 1
    runs: int = 0
    stopped: int = 0
    violating: int = 0
    checked: int = 0
    reduced: Counter[Reduction] = field(default_factory=Counter)
    endings: Counter[Ending] = field(default_factory=Counter)
    reachable: set[Point] = field(default_factory=set)
    beyond: set[Point] = field(default_factory=set)
    faulted: set[Point] = field(default_factory=set)
    histories: set[int] = field(default_factory=set)
    replayed: set[int] = field(default_factory=set)
    singles: dict[Fault, Ending] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    examples: dict[tuple[object, ...], Scenario] = field(default_factory=dict)
    minimal: dict[tuple[Fault, ...], Scenario] = field(default_factory=dict)
    spread: Counter[tuple[Fault, ...]] = field(default_factory=Counter)
    kept: dict[Scenario, Run] = field(default_factory=dict)
    _cells: dict[tuple[Place, FaultKind], _Cell] = field(default_factory=dict)

    def see(self, points: Iterable[Reached], *, within: bool) -> None:
        """Note which points a run reached, and whether one more fault could strike there within the bound."""
        (self.reachable if within else self.beyond).update(point for point, _ in points)

    def add(self, outcome: Outcome) -> None:
        """Count one scenario."""
        faults = outcome.scenario.faults
        self.done += 1
        self.planned = max(self.planned, self.done)
        self.endings[outcome.ending] += 1
        self.faulted.update(fault.point for fault in faults)
        if len(faults) == 1:
            self.singles[faults[0]] = outcome.ending
        for fault in faults:
            self._cell(fault, outcome, alone=len(faults) == 1)
        if outcome.sort not in self.examples and len(self.examples) < KEPT:
            self.examples[outcome.sort] = outcome.scenario
        if not outcome.safe:
            self.violating += 1
            self._violation(outcome)
        if len(faults) > 1:
            self._contrast(outcome)
        if self.tell is not None:
            self.tell(Progress(outcome, self.done, self.planned, self.violating))

    def keep(self, run: Run) -> None:
        """Keep a run that somebody will want to see."""
        if len(self.kept) < KEPT:
            self.kept[run.scenario] = run

    def matrix(self) -> dict[tuple[Place, FaultKind], Cell]:
        """What came of every kind of fault at every place, by place and in the order of the kinds."""
        order = {kind: number for number, kind in enumerate(FaultKind)}
        ordered = sorted(self._cells.items(), key=lambda item: (str(item[0][0]), order[item[0][1]]))
        return {
            key: Cell(dict(cell.alone), dict(cell.together), cell.violated, cell.example.scenario)
            for key, cell in ordered
            if cell.example is not None
        }

    def _cell(self, fault: Fault, outcome: Outcome, *, alone: bool) -> None:
        cell = self._cells.setdefault((Place.of(fault.point), fault.kind), _Cell())
        (cell.alone if alone else cell.together)[outcome.ending] += 1
        cell.violated += not outcome.safe
        if cell.example is None or (cell.example.safe and not outcome.safe):
            cell.example = outcome

    def _violation(self, outcome: Outcome) -> None:
        """A scenario that violates although none of its parts does is a counterexample."""
        faults = outcome.scenario.faults
        inner = [part for part in _parts(faults) if part in self.minimal]
        if not inner and len(self.minimal) < KEPT:
            self.minimal[faults] = outcome.scenario
            inner = [faults]
        self.spread.update(inner)

    def _contrast(self, outcome: Outcome) -> None:
        alone = tuple(self.singles.get(fault) for fault in outcome.scenario.faults)
        if outcome.ending not in alone and len(self.differences) < KEPT:
            self.differences.append(Difference(outcome.scenario, outcome.ending, alone, not outcome.safe))


def _parts(faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, ...]]:
    """Every proper part of a set of faults, smallest first."""
    for size in range(len(faults)):
        yield from combinations(faults, size)
