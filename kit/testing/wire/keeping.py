"""What holds something that none of its attributes shows, and can bring it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Keeping(ABC):
    """An object that says itself how it comes back to an earlier moment; all others get their attributes back."""

    __slots__ = ()

    @abstractmethod
    def keep(self) -> Callable[[], None]:
        """Remember what it holds; what is returned brings it back, as often as it is called."""
