"""Which scenarios follow from a run: its faults, and one more at a point that it reached.

A scenario is a set of faults, and is reached in one way only: its faults in the order in which they strike. Until the
first fault strikes a run is the clean run, until the second it is the run of the first fault, and so on. So a further
fault belongs at the last fault's point or at one that was reached after it; at an earlier point it would have struck
first, and the scenario follows from the other fault's run. Faults that strike at one point follow each other in the
order of `Fault`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kit.contract import Role
from kit.testing.engines.protocol import State
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import Seen
from kit.testing.sweep.outcome import Outcome

Reached = tuple[Point, tuple[FaultKind, ...]]
"""A point, and what can go wrong there."""

Called = tuple[str, Role]
"""What is called: an operation's name, and which of its methods."""


def reached(seen: Sequence[Seen]) -> tuple[Reached, ...]:
    """The points of a run, in the order in which it reached them."""
    return tuple((one.point, one.kinds) for one in seen)


@dataclass(frozen=True, slots=True)
class Merge:
    """From some moment on a run is the run of another scenario, of no more faults.

    Attributes:
        node: The other one.
        after: How many requests this one had seen at that moment.
        there: How many the other one had seen.
        shift: How much higher this one's calls are numbered, by operation and role.
    """

    node: Node
    after: int
    there: int
    shift: Mapping[Called, int] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node, *, after: int, there: int, points: Sequence[Reached]) -> Merge:
        """The merge of a run that reached these points."""
        mine, theirs = _numbers(points[:after]), _numbers(node.points[:there])
        shift = {place: by for place in mine | theirs if (by := mine.get(place, 0) - theirs.get(place, 0))}
        return cls(node, after, there, shift)


def _numbers(points: Sequence[Reached]) -> dict[Called, int]:
    """The number of the latest call, by operation and role."""
    latest: dict[Called, int] = {}
    for point, _ in points:
        place = (point.operation, point.role)
        latest[place] = max(latest.get(place, 0), point.call)
    return latest


@dataclass(eq=False, slots=True)
class Node:
    """A scenario from which others follow.

    Attributes:
        scenario: Its faults.
        outcome: What came of it.
        position: The index among the points it reached of the one where its last fault struck.
        points: What it reached, in order; until the merge, when it was not run itself.
        states: The states it passed through after its last fault, and how many requests had been seen then; none once
            all that follows is explored.
        lasts: Whether it takes so long that nothing is known of what becomes it (`kit.testing.engines.horizon`).
        merge: Where it became another scenario's run, if it did.
        children: Those that follow, by their further fault; filled while the next level is explored. Of the last level
            only those by which others are foretold.
    """

    scenario: Scenario
    outcome: Outcome
    position: int
    points: tuple[Reached, ...]
    states: Mapping[State, int] = field(default_factory=dict)
    lasts: bool = False
    merge: Merge | None = None
    children: dict[Fault, Node] = field(default_factory=dict)

    def at(self, index: int) -> tuple[Node, int]:
        """Who stands for this scenario where a further fault strikes at ``index``, and where that is for them."""
        node = self
        while (merge := node.merge) is not None and index >= merge.after:
            node, index = merge.node, index - merge.after + merge.there
        return node, index

    def shift(self, index: int) -> dict[Called, int]:
        """How much higher its calls are numbered than those of who stands for it at ``index``."""
        node, shift = self, Counter[Called]()
        while (merge := node.merge) is not None and index >= merge.after:
            for place, by in merge.shift.items():
                shift[place] += by
            node, index = merge.node, index - merge.after + merge.there
        return dict(shift)

    def named(self, fault: Fault, index: int) -> Fault:
        """How this scenario calls a fault of who stands for it at ``index``."""
        point = fault.point
        by = self.shift(index).get((point.operation, point.role), 0)
        return Fault(replace(point, call=point.call + by), fault.kind) if by else fault

    def following(self, index: int) -> Iterator[tuple[Fault, Node]]:
        """The scenarios with a further fault at ``index``, in the order in which they were explored."""
        return ((fault, child) for fault, child in tuple(self.children.items()) if child.position == index)

    def length(self) -> int:
        """How many points it reached, itself or as what it has become."""
        if self.merge is None:
            return len(self.points)
        return self.merge.after + self.merge.node.length() - self.merge.there


def further(
    scenario: Scenario, points: Sequence[Reached], position: int, *, kinds: Collection[FaultKind]
) -> Iterator[tuple[int, tuple[Fault, ...], int]]:
    """The further faults of a scenario, point by point.

    Yields:
        The index of a point, the faults that may strike there besides, and how many of them are left out because the
        same set follows from another scenario.
    """
    for index in range(position, len(points)):
        point, offered = points[index]
        there = [fault for fault in scenario.faults if fault.point == point]
        seams = {fault.kind.seam for fault in there}
        fitting = [Fault(point, kind) for kind in offered if kind in kinds and kind.seam not in seams]
        # Sets, not sequences: of the faults of one point only the later one is a further one.
        ordered = tuple(fault for fault in fitting if not there or fault > max(there))
        yield index, ordered, len(fitting) - len(ordered)
