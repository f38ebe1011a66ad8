"""What happens in a scenario: which calls there were, which faults have struck, and the story that is told of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from kit.contract import Role
from kit.contract.operation import UNDO_SUFFIX
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import SERVER, Line, Seen
from kit.testing.wire.aftermath import Aftermath, Place
from kit.testing.wire.controls import Controls

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What time it is in a world before the first call."""


class Witness:
    """Sees what happens in one scenario, and knows what is to go wrong in it."""

    def __init__(self, scenario: Scenario, controls: Controls) -> None:
        self.scenario = scenario
        self.controls = controls
        self.seen: list[Seen] = []
        self.story: list[Line] = []
        self.aftermath = Aftermath()
        self.well = False
        """Set before people repair what has parked: from then on nothing goes wrong."""
        self.on_point: Callable[[Point], None] | None = None
        """Told of every point before it matters whether a fault strikes there."""
        self._faults = _by_point(scenario)
        self._struck: set[Fault] = set()
        self._numbers: dict[Place, int] = {}

    def expect(self, scenario: Scenario) -> None:
        """From here on, let the faults of another scenario strike, which has been the same until now."""
        self.scenario = scenario
        self._faults = _by_point(scenario)

    # -- the calls -------------------------------------------------------------------------------------------------

    def count(self, place: Place) -> int:
        """Number a call."""
        self._numbers[place] = number = self._numbers.get(place, 0) + 1
        return number

    def next_call(self, place: Place) -> Point:
        """Where a fault would strike that comes before the next call, or with it."""
        point = Point(*place, self._numbers.get(place, 0) + 1)
        if self.on_point is not None:
            self.on_point(point)
        return point

    def before(self, place: Place, kind: FaultKind) -> Fault | None:
        """The fault of this kind that strikes before the next call, if one does."""
        point = self.next_call(place)
        faults = () if self.well else self._faults.get(point, ())
        return next((fault for fault in faults if fault.kind is kind and fault not in self._struck), None)

    def strikes_before(self, activity_type: str) -> Fault | None:
        """The cancellation that strikes before the next attempt of an activity, if one does; it counts as struck.

        An engine asks before each attempt is taken up, and cancels the run itself.
        """
        role = Role.COMPENSATION if activity_type.endswith(UNDO_SUFFIX) else Role.ACTION
        fault = self.before((activity_type.removesuffix(UNDO_SUFFIX), role), FaultKind.CANCEL_BEFORE)
        if fault is not None:
            self.strike(fault, SERVER, f"is asked to cancel the run before {fault.point} is taken up")
        return fault

    def kinds(self, point: Point) -> tuple[FaultKind, ...]:
        """What can go wrong at a point that was seen; nothing at one that was not."""
        return next((seen.kinds for seen in self.seen if seen.point == point), ())

    # -- what is told ----------------------------------------------------------------------------------------------

    def tell(self, lane: str, text: str, *, source: str | None = None, fault: Fault | None = None) -> None:
        """Add a line to the story."""
        self.story.append(Line(self.controls.now(), lane, text, source, fault))

    def strike(self, fault: Fault, lane: str, text: str) -> None:
        """A fault strikes now."""
        self._struck.add(fault)
        self.tell(lane, text, fault=fault)

    # -- the faults ------------------------------------------------------------------------------------------------

    def unreached(self) -> tuple[Fault, ...]:
        """The faults of the scenario that have not struck."""
        return tuple(fault for fault in self.scenario.faults if fault not in self._struck)

    @property
    def missed(self) -> bool:
        """Whether a fault of the scenario can never strike any more: its call is over, and it waits for nothing later.

        To be asked while no call is under way.
        """
        waiting = self.aftermath.waiting
        return any(
            self._numbers.get((fault.point.operation, fault.point.role), 0) >= fault.point.call
            for fault in self.unreached()
            if fault not in waiting
        )

    @property
    def absorbed(self) -> bool:
        """Whether every fault has struck and none has anything left to do but what `state` tells."""
        return len(self._struck) == len(self.scenario.faults)

    def state(self) -> bytes:
        """All that later strikes depend on, besides what is `latent`; whatever the calls are numbered."""
        facts = (
            sorted((key, str(fault.kind)) for key, fault in self.aftermath.records.items()),
            sorted(str(fault) for fault in self.unreached()),
            self.well,
        )
        return repr(facts).encode()

    def latent(self) -> frozenset[tuple[str, str]]:
        """What the next calls of an operation meet, by its name: of an operation that is not called it says nothing."""
        return self.aftermath.latent(self._numbers)


def _by_point(scenario: Scenario) -> dict[Point, list[Fault]]:
    found: dict[Point, list[Fault]] = {}
    for fault in scenario.faults:
        found.setdefault(fault.point, []).append(fault)
    return found
