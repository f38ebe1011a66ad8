"""What a report says of a verdict, as data: the rows of its tables, in the order in which they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from kit.contract import Role
from kit.errors import DefinitionError
from kit.testing.faults import FaultKind, Scenario, Seam
from kit.testing.report import words
from kit.testing.report.rollback import Claim, claims
from kit.testing.report.side_effects import SideEffectMap, side_effects
from kit.testing.runs import Ending, Run
from kit.testing.sweep.verdict import Cell, Counterexample, Place, Verdict
from kit.testing.world import Subject
from kit.worker import Connector
from kit.workflow import Task

SEVERITY = (
    Ending.STUCK,
    Ending.FAILED,
    Ending.TERMINATED,
    Ending.PARKED,
    Ending.CANCELLED,
    Ending.COMPENSATED,
    Ending.COMPLETED,
)
"""Endings, from the one that matters most."""

_ROLES = (Role.ACTION, Role.PROBE, Role.COMPENSATION)


@dataclass(frozen=True, slots=True)
class Breach:
    """Counterexamples that break the same rules for the same operations: most often one defect, seen under many faults.

    Attributes:
        invariants: The names of the rules.
        operations: The operations that the violations name.
        examples: The counterexamples, fewest faults first.
    """

    invariants: tuple[str, ...]
    operations: tuple[str, ...]
    examples: tuple[Counterexample, ...]

    @property
    def first(self) -> Counterexample:
        """The one that is told in full."""
        return self.examples[0]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is wrong in the first."""
        return sentences(self.first.run)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that parks runs.

    Attributes:
        task: As the first run put it.
        example: The scenario of that run, the smallest.
        runs: How many of the kept runs put it.
        repaired: How those ended after a person's answer.
    """

    task: Task
    example: Scenario
    runs: int
    repaired: Counter[Ending]


@dataclass
class Report:
    """A verdict with what is known of its subject: what a page, a summary and a document are made from.

    Attributes:
        verdict: What the sweep found.
        subject: What it was about.
        connectors: Those of the subject's worker, or their classes: they say how each operation is undone.
    """

    verdict: Verdict
    subject: Subject
    connectors: Sequence[Connector | type[Connector]] = field(default=())

    @cached_property
    def effects(self) -> SideEffectMap | None:
        """The side-effect map; ``None`` when the workflow is no saga."""
        try:
            return side_effects(self.subject.workflow, connectors=self.connectors, clean=self.verdict.clean)
        except DefinitionError:
            return None

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """How far its behaviour can be taken back."""
        return () if self.effects is None else claims(self.effects)

    @cached_property
    def kinds(self) -> tuple[FaultKind, ...]:
        """The columns of the matrix: what struck somewhere, those of one seam together."""
        found = {kind for _, kind in self.verdict.matrix}
        seams = list(Seam)
        return tuple(sorted(found, key=lambda kind: (seams.index(kind.seam), list(FaultKind).index(kind))))

    @property
    def impossible(self) -> tuple[FaultKind, ...]:
        """What was tried and could strike nowhere."""
        return tuple(kind for kind in self.verdict.kinds if kind not in self.kinds)

    @property
    def seams(self) -> list[tuple[Seam, int]]:
        """The columns' seams, each with the number of its columns."""
        return [(seam, len(list(kinds))) for seam, kinds in groupby(self.kinds, key=lambda kind: kind.seam)]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The rows of the matrix: operations as the clean run calls them, each with its look-up and its undo."""
        order = dict.fromkeys(seen.point.operation for seen in self.verdict.clean.seen)
        if self.effects is not None:
            order.update(dict.fromkeys(effect.operation.name for effect in self.effects.effects))
        operations = list(order)
        found = {place for place, _ in self.verdict.matrix} | {Place.of(point) for point in self.verdict.unfaulted}
        known = {place: len(operations) for place in found}
        known.update({p: operations.index(p.operation) for p in found if p.operation in order})
        return tuple(sorted(found, key=lambda p: (known[p], p.operation, _ROLES.index(p.role))))

    def cell(self, place: Place, kind: FaultKind) -> Cell | None:
        """What came of a kind of fault at a place; ``None`` when it cannot strike there, or was not tried."""
        return self.verdict.matrix.get((place, kind))

    @cached_property
    def breaches(self) -> tuple[Breach, ...]:
        """The counterexamples, those that break the same together, in the order in which they were found."""
        names = dict.fromkeys(place.operation for place in self.places)
        found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Counterexample]] = {}
        for one in self.verdict.violations:
            broken = tuple(dict.fromkeys(violation.invariant for violation in one.run.violations))
            text = " ".join(violation.text for violation in one.run.violations)
            found.setdefault((broken, tuple(name for name in names if words.names(text, name))), []).append(one)
        return tuple(Breach(*what, tuple(examples)) for what, examples in found.items())

    @cached_property
    def asked(self) -> tuple[Asked, ...]:
        """The questions that the kept runs put to people, each once, in the order of the workflow's operations."""
        found: dict[tuple[object, ...], Asked] = {}
        for run in self.verdict.runs:
            for task in run.tasks:
                key = (task.operation, task.undo, words.cause(task), task.choices)
                seen = found.setdefault(key, Asked(task, run.scenario, 0, Counter()))
                repaired = seen.repaired + Counter([run.repaired] if run.repaired else [])
                found[key] = Asked(seen.task, seen.example, seen.runs + 1, repaired)
        operations = list(dict.fromkeys(place.operation for place in self.places))
        known = {name: index for index, name in enumerate(operations)}
        return tuple(
            sorted(
                found.values(), key=lambda a: (known.get(a.task.operation, len(known)), a.task.undo, a.task.question)
            )
        )


def sentences(run: Run) -> tuple[str, ...]:
    """What does not hold in a run: each rule once, with the values of its first violation."""
    found: dict[str, dict[str, None]] = {}
    for violation in run.violations:
        found.setdefault(violation.invariant, {})[violation.text] = None
    return tuple(
        f"{invariant}: {next(iter(texts))}" + (f" (and {len(texts) - 1} more like it)" if len(texts) > 1 else "")
        for invariant, texts in found.items()
    )


def worst(endings: dict[Ending, int]) -> Ending | None:
    """The ending that matters most among some."""
    return next((ending for ending in SEVERITY if endings.get(ending)), None)
