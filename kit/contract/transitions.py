"""State machines of the business: which change is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from kit.errors import DefinitionError, TransitionError

StateT = TypeVar("StateT", bound=StrEnum)


@dataclass(frozen=True)
class Transitions(Generic[StateT]):
    """The allowed changes of one state machine.

    Enforced by compare-and-set: `sources` gives the states from which ``wanted`` may be reached, to be used as the
    condition of the one write that makes the change.

    Attributes:
        name: Of the machine, for messages.
        allowed: For every state, the states it may change to. A state without any is final.
    """

    name: str
    allowed: Mapping[StateT, Iterable[StateT]]

    def __post_init__(self) -> None:
        """Refuse a table that forgets a state."""
        states = set(type(next(iter(self.allowed)))) if self.allowed else set()
        if missing := sorted(str(state) for state in states - set(self.allowed)):
            raise DefinitionError(
                f"transitions {self.name!r}",
                rule=f"the states {', '.join(missing)} have no row",
                fix="give every state a row; a final state has an empty one",
            )
        object.__setattr__(self, "allowed", {state: tuple(targets) for state, targets in self.allowed.items()})

    def check(self, current: StateT, wanted: StateT) -> None:
        """Raise unless ``current`` may change to ``wanted``.

        Raises:
            TransitionError: It may not.
        """
        targets = tuple(self.allowed.get(current, ()))
        if wanted not in targets:
            raise TransitionError(
                self.name, current=current, wanted=wanted, allowed=tuple(str(target) for target in targets)
            )

    def sources(self, wanted: StateT) -> tuple[StateT, ...]:
        """The states from which ``wanted`` may be reached."""
        return tuple(state for state, targets in self.allowed.items() if wanted in targets)
