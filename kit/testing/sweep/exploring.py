"""The order in which scenarios are explored: level by level, each level from the runs of the one before.

Nothing is explored twice, and nothing is left out: a scenario whose run became another's (`Merge`) has, from there on,
the other's continuations, with the same outcomes. They are counted for it and not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.sweep.checking import digest
from kit.testing.sweep.crew import Crew
from kit.testing.sweep.growing import Merge, Node, further, reached
from kit.testing.sweep.outcome import Outcome
from kit.testing.sweep.running import Found, Piece
from kit.testing.sweep.tally import Tally
from kit.testing.sweep.verdict import Reduction

Place = tuple[Node, int]
"""A node, and the index of one of the points it reached."""


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

    async def explore(self, clean: Run, *, states: dict[str, int]) -> None:
        """Explore everything that follows from the clean run."""
        root = Node(clean.scenario, Outcome.of(clean), 0, reached(clean.seen), states)
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
    """All scenarios of one size: those that follow from the nodes of the level before."""

    exploration: Exploration
    nodes: list[Node]
    last: bool
    _next: list[Node] = field(default_factory=list)
    _guests: dict[Place, list[Node]] = field(default_factory=dict)

    async def explore(self) -> list[Node]:
        """Explore them; returns the nodes of this level, none if it is the last."""
        self._invite()
        places: list[Place] = []
        async for found in self.exploration.crew.carry_out(self._pieces(places)):
            # Answers come in the order of the pieces, and a piece was taken from the iterator before it was answered.
            node, index = places.pop(0)
            self._take_in(node, index, found)
        for node in self.nodes:
            self._inherit(node)
        return self._next

    def _invite(self) -> None:
        """Find out whose continuations are explored together with whose."""
        here = set(map(id, self.nodes))
        for node in self.nodes:
            start = node.position if node.merge is None else node.merge.after
            for index in range(start, node.length()):
                host = node.at(index)
                if host is not node and id(host) in here:
                    self._guests.setdefault((host, index), []).append(node)

    def _pieces(self, places: list[Place]) -> Iterator[Piece]:
        tally = self.exploration.tally
        for node in self.nodes:
            for index, faults, same in further(node.scenario, node.points, node.position, kinds=self.exploration.kinds):
                tally.reduced[Reduction.SAME_SET] += same
                if node.at(index) is not node:
                    break
                if not faults:
                    continue
                tally.planned += len(faults) * (1 + len(self._guests.get((node, index), ())))
                places.append((node, index))
                yield Piece(node.outcome, faults, node.states, last=self.last)

    def _take_in(self, node: Node, index: int, answers: list[Found]) -> None:
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
            if found.run is not None and (len(found.run.scenario.faults) == 1 or found.run.violations):
                tally.keep(found.run)
            tally.reduced[Reduction.SAME_STATE] += found.stopped
            tally.reduced[Reduction.SAME_HISTORY] += found.boundaries
            tally.add(found.outcome)
            if not self.last:
                self._grow(node, index, found, found.outcome)
            for guest in self._guests.get((node, index), ()):
                self._pass_on(guest, found.fault, found.outcome, index)

    def _grow(self, parent: Node, index: int, found: Found, outcome: Outcome) -> None:
        node = Node(outcome.scenario, outcome, index, found.points, found.states)
        if found.merged is not None:
            fault, after = found.merged
            node.merge = Merge(parent if fault is None else parent.children[fault], after)
        parent.children[found.fault] = node
        self._next.append(node)

    def _inherit(self, node: Node) -> None:
        """Take over what follows, for a node that became one of an earlier level: it was explored then."""
        if node.merge is None:
            return
        here = set(map(id, self.nodes))
        for index in range(node.merge.after, node.length()):
            host = node.at(index)
            if id(host) in here:
                continue
            for fault, child in host.children.items():
                if child.position == index:
                    self._pass_on(node, fault, child.outcome, index)

    def _pass_on(self, guest: Node, fault: Fault, outcome: Outcome, index: int) -> None:
        tally = self.exploration.tally
        scenario = Scenario((*guest.scenario.faults, fault), guest.scenario.seed)
        passed = outcome.passed_on(scenario)
        tally.reduced[Reduction.SAME_STATE] += 1
        tally.add(passed)
        if not self.last:
            child = guest.at(index).children[fault]
            node = Node(scenario, passed, index, (), merge=Merge(child, index))
            guest.children[fault] = node
            self._next.append(node)
