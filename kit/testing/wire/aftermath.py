"""What faults leave behind, for the calls that come after the one they struck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kit.contract import Role
from kit.testing.faults import Fault

FOR_EVER: Final = 12
"""How many calls lose their replies before their system is well again: more than any retry rule allows, and an
end, because an undo is tried without one."""

HELD_FOR: Final = 2
"""How many attempts a hold stops before it is lifted."""

Place = tuple[str, Role]
"""What is called: an operation's name, and which of its methods."""


class Aftermath:
    """What one scenario's faults have left behind.

    Attributes:
        records: What goes wrong with the record under a key, once its effect has happened.
        down: The operations whose next call nobody answers.
        held: The holds that are on, and how many attempts each still stops.
        silent: Where replies are lost, from the call that the fault names.
        refused: The requests that are refused whenever they come, by their place, their key and their number.
    """

    def __init__(self) -> None:
        self.records: dict[str, Fault] = {}
        self.down: dict[str, Fault] = {}
        self.held: dict[Place, tuple[Fault, int]] = {}
        self.silent: dict[Place, Fault] = {}
        self.refused: dict[tuple[Place, str, int], Fault] = {}

    def hold(self, place: Place, fault: Fault) -> None:
        """An operator switches a hold on."""
        self.held[place] = (fault, HELD_FOR)

    def stops(self, place: Place) -> Fault:
        """Take note that a hold has stopped an attempt; returns which."""
        # A hold that names the undo stops the action as well: that of another run of the same request.
        on = place if place in self.held else (place[0], Role.COMPENSATION)
        fault, left = self.held.pop(on)
        if left > 1:
            self.held[on] = (fault, left - 1)
        return fault

    def loses(self, place: Place, call: int) -> Fault | None:
        """The fault that loses the reply of this call, if one does."""
        fault = self.silent.get(place)
        return fault if fault is not None and call < fault.point.call + FOR_EVER else None

    @property
    def waiting(self) -> set[Fault]:
        """The faults that strike later than at their own call."""
        return {*self.records.values(), *self.silent.values()}

    def latent(self, numbers: Mapping[Place, int]) -> frozenset[tuple[str, str]]:
        """What the next calls of an operation meet, by its name: of an operation that is not called it says nothing.

        Args:
            numbers: How many calls there were.
        """
        return frozenset(
            (
                *((name, "is down") for name in self.down),
                *((name, f"{role.value} is held {left}") for (name, role), (_, left) in self.held.items()),
                *((name, f"{role.value} loses {left}") for (name, role), left in self._losing(numbers)),
                *((name, f"{role.value} {key} is refused {request}") for (name, role), key, request in self.refused),
            )
        )

    def _losing(self, numbers: Mapping[Place, int]) -> Iterator[tuple[Place, int]]:
        """Where replies are being lost, and for how many more calls."""
        for place, fault in self.silent.items():
            left = fault.point.call + FOR_EVER - 1 - numbers[place]
            if left > 0:
                yield place, left
