"""The order in which scenarios are explored: level by level, each level from the runs of the one before.

Nothing is explored twice, and nothing is left out: a scenario whose run became another's (`Merge`) has, from there on,
the other's continuations, with the same outcomes. They are counted for it and not run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kit.testing.engines.protocol import State
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.sweep.checking import digest
from kit.testing.sweep.crew import Crew
from kit.testing.sweep.growing import Merge, Node, Reached, further, reached
from kit.testing.sweep.outcome import Outcome
from kit.testing.sweep.running import Found, Piece, check, sampled
from kit.testing.sweep.tally import COUNTEREXAMPLES, Tally
from kit.testing.sweep.verdict import Reduction

PIECE: Final = 96
"""From how many scenarios on a piece is large enough. They share what is known of each other, and processes share them.
"""


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece, and whose it is.

    Attributes:
        node: The scenario that it follows from.
        indexes: At which of the points it reached each further fault strikes.
        piece: What is run.
        foretold: What is known of its scenarios, by fault, where that is only to be checked.
    """

    node: Node
    indexes: Mapping[Fault, int]
    piece: Piece
    foretold: Mapping[Fault, Outcome] = field(default_factory=dict)


@dataclass(slots=True)
class Exploration:
    """Explores every scenario within the bound, once.

    Args:
        crew: Carries the pieces out.
        tally: Takes the outcomes in.
        kinds: What can go wrong.
        depth: The most faults of one scenario.
    """

    crew: Crew
    tally: Tally
    kinds: Collection[FaultKind]
    depth: int
    points: dict[Reached, Reached] = field(default_factory=dict, init=False)
    """Each point once: most runs reach the same, and each process has its own copies."""

    async def explore(self, clean: Run, *, states: dict[State, int]) -> None:
        """Explore everything that follows from the clean run."""
        root = Node(clean.scenario, Outcome.of(clean), 0, reached(clean.seen), states if clean.safe else {})
        self.tally.see(root.points, within=self.depth > 0)
        self.tally.histories.add(digest(clean))
        self.tally.keep(clean)
        self.tally.runs += 1
        self.tally.add(root.outcome)
        level = [root]
        for number in range(1, self.depth + 1):
            level = await _Level(self, level, last=number == self.depth).explore()


@dataclass(slots=True)
class _Level:
    """All scenarios of one size: those that follow from the nodes of the level before.

    First those that a run of their own reaches, then those that are foretold by another scenario with the same further
    fault. Of the latter a few are run all the same: the sample, and those that would take so long that it matters when
    they began.
    """

    exploration: Exploration
    nodes: list[Node]
    last: bool
    _next: list[Node] = field(default_factory=list)
    _hosts: dict[Node, int] = field(default_factory=dict)
    """Whose scenarios foretell others, and from which of their points on."""

    async def explore(self) -> list[Node]:
        """Explore them; returns the nodes of this level, none if it is the last."""
        for merge in filter(None, (node.merge for node in self.nodes)):
            self._hosts[merge.node] = min(merge.there, self._hosts.get(merge.node, merge.there))
        await self._carry_out(self._own())
        await self._carry_out(self._foretold())
        for node in self.nodes:
            node.states = {}
        return self._next

    async def _carry_out(self, tasks: Iterator[_Task]) -> None:
        waiting: deque[_Task] = deque()

        def pieces() -> Iterator[Piece]:
            for task in tasks:
                waiting.append(task)
                yield task.piece

        async for found in self.exploration.crew.carry_out(pieces()):
            # Answers come in the order of the pieces, and a piece was taken from the iterator before it was answered.
            self._take_in(waiting.popleft(), found)

    # --- what a run of its own reaches ----------------------------------------------------------------------------

    def _own(self) -> Iterator[_Task]:
        tally = self.exploration.tally
        for node in self.nodes:
            indexes: dict[Fault, int] = {}
            for index, faults, same in further(node.scenario, node.points, node.position, kinds=self.exploration.kinds):
                tally.reduced[Reduction.SAME_SET] += same
                if node.at(index)[0] is not node:
                    break
                tally.planned += len(faults)
                indexes |= dict.fromkeys(faults, index)
                if len(indexes) >= PIECE:
                    yield self._task(node, indexes)
                    indexes = {}
            if indexes:
                yield self._task(node, indexes)

    def _task(self, node: Node, indexes: Mapping[Fault, int], foretold: Mapping[Fault, Outcome] | None = None) -> _Task:
        calls = tuple(point.operation for point, _ in node.points) if node.states else ()
        piece = Piece(node.outcome, tuple(indexes), node.states, calls, last=self.last, ended=foretold is not None)
        return _Task(node, indexes, piece, foretold or {})

    def _take_in(self, task: _Task, answers: list[Found]) -> None:
        tally = self.exploration.tally
        for found in answers:
            tally.see(found.points, within=not self.last)
            tally.stopped += found.stopped
            tally.runs += not found.stopped
            if found.outcome is None:
                tally.reduced[Reduction.UNREACHED] += 1
                continue
            if found.history:
                tally.histories.add(found.history)
            if found.boundaries:
                tally.replayed.add(found.history)
            if found.run is not None and self._worth_keeping(found.run):
                tally.keep(found.run)
            tally.reduced[Reduction.SAME_STATE] += found.stopped
            tally.reduced[Reduction.SAME_HISTORY] += found.boundaries
            tally.checked += found.merged is not None and not found.stopped
            if (foretold := task.foretold.get(found.fault)) is not None:
                tally.checked += 1
                check(found.outcome, foretold)
            tally.add(found.outcome)
            self._grow(task.node, task.indexes[found.fault], found, found.outcome)

    def _worth_keeping(self, run: Run) -> bool:
        """Singles; of those with more faults the ones that violate, while there is room for their counterexamples."""
        few = len(self.exploration.tally.minimal) < COUNTEREXAMPLES
        return len(run.scenario.faults) == 1 or (few and bool(run.violations))

    def _grow(self, parent: Node, index: int, found: Found, outcome: Outcome) -> None:
        if self.last:
            # Nothing follows from it. There are far more of these than of all others: only who is asked for is kept.
            if parent.at(index)[0] is parent and index >= self._hosts.get(parent, index + 1):
                parent.children[found.fault] = Node(outcome.scenario, outcome, index, (), lasts=found.lasts)
            return
        known = self.exploration.points
        points = tuple(known.setdefault(one, one) for one in found.points)
        node = Node(outcome.scenario, outcome, index, points, found.states, found.lasts)
        if found.merged is not None:
            fault, after, there = found.merged
            host = parent if fault is None else parent.children[fault]
            node.merge = Merge.of(host, after=after, there=there, points=node.points)
        parent.children[found.fault] = node
        self._next.append(node)

    # --- what is foretold -----------------------------------------------------------------------------------------

    def _foretold(self) -> Iterator[_Task]:
        """Pass on what is known; what has to be run is handed out."""
        for node in self.nodes:
            if node.merge is None:
                continue
            for index in range(node.merge.after, node.length()):
                yield from self._passed_on(node, index)

    def _passed_on(self, node: Node, index: int) -> Iterator[_Task]:
        host, there = node.at(index)
        to_run: dict[Fault, Outcome | None] = {}
        for theirs, child in host.following(there):
            fault = node.named(theirs, index)
            scenario = Scenario((*node.scenario.faults, fault), node.scenario.seed)
            outcome = child.outcome.passed_on(scenario)
            unsure = child.lasts or not child.outcome.safe
            if unsure or sampled(scenario):
                to_run[fault] = None if unsure else outcome
                continue
            self.exploration.tally.planned += 1
            self.exploration.tally.reduced[Reduction.SAME_REST] += 1
            self.exploration.tally.add(outcome)
            if not self.last:
                self._adopt(node, index, fault, child=child, there=there, outcome=outcome)
        if to_run:
            self.exploration.tally.planned += len(to_run)
            foretold = {fault: outcome for fault, outcome in to_run.items() if outcome is not None}
            yield self._task(node, dict.fromkeys(sorted(to_run), index), foretold)

    def _adopt(self, node: Node, index: int, fault: Fault, *, child: Node, there: int, outcome: Outcome) -> None:
        """Let what is foretold have what follows from the one that foretells it."""
        merge = Merge(child, index, there, node.shift(index))
        adopted = Node(outcome.scenario, outcome, index, (), merge=merge)
        node.children[fault] = adopted
        self._next.append(adopted)
