"""Which scenarios follow from a run: its faults, and one more at a point that it reached.

A scenario is a set of faults, and is reached in one way only: its faults in the order in which they strike. Until the
first fault strikes a run is the clean run, until the second it is the run of the first fault, and so on. So a further
fault belongs at the last fault's point or at one that was reached after it; at an earlier point it would have struck
first, and the scenario follows from the other fault's run. Faults that strike at one point follow each other in the
order of `Fault`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import Seen
from kit.testing.sweep.outcome import Outcome

Reached = tuple[Point, tuple[FaultKind, ...]]
"""A point, and what can go wrong there."""


def reached(seen: Sequence[Seen]) -> tuple[Reached, ...]:
    """The points of a run, in the order in which it reached them."""
    return tuple((one.point, one.kinds) for one in seen)


@dataclass(frozen=True, slots=True)
class Merge:
    """From some moment on a run is the run of another scenario, of no more faults.

    Attributes:
        node: The other one.
        after: How many requests had been seen at that moment, by both.
    """

    node: Node
    after: int


@dataclass(eq=False, slots=True)
class Node:
    """A scenario from which others follow.

    Attributes:
        scenario: Its faults.
        outcome: What came of it.
        position: The index among the points it reached of the one where its last fault struck.
        points: What it reached, in order. Empty when it was not run itself.
        states: The states it passed through after its last fault, and how many requests had been seen then.
        merge: Where it became another scenario's run, if it did.
        children: Those that follow, by their further fault; filled while the next level is explored, unless that is the
            last.
    """

    scenario: Scenario
    outcome: Outcome
    position: int
    points: tuple[Reached, ...]
    states: Mapping[str, int] = field(default_factory=dict)
    merge: Merge | None = None
    children: dict[Fault, Node] = field(default_factory=dict)

    def at(self, index: int) -> Node:
        """Who stands for this scenario where a further fault strikes at ``index``: itself, or what it has become."""
        node = self
        while node.merge is not None and index >= node.merge.after:
            node = node.merge.node
        return node

    def length(self) -> int:
        """How many points it reached, itself or as what it has become."""
        node = self
        while node.merge is not None:
            node = node.merge.node
        return len(node.points)


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
