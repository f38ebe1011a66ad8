"""What comes back to one request when something goes wrong, in the words of the client's own library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Generic, TypeVar

from kit.errors import Outcome
from kit.testing.faults import FaultKind

T = TypeVar("T")


class Unclassifiable(Exception):
    """An error that no failure map knows: what a client raises on an answer that it does not understand."""


ON_EVERY_WIRE: Final = frozenset(
    {
        FaultKind.OUTAGE,
        FaultKind.REPLY_LOST,
        FaultKind.REPLIES_LOST,
        FaultKind.TOO_SLOW,
        FaultKind.LATE_AFTER_RETRY,
        FaultKind.LATE_AFTER_UNDO,
        FaultKind.TWICE,
        FaultKind.FINAL_ERROR,
    }
)
"""The faults that need no word of the provider."""


class Answers(ABC, Generic[T]):
    """One request, and what its client sees when something goes wrong with it.

    Attributes:
        what: What is asked, as the story tells it: ``"POST /v1/refunds"``.
        safe: Whether it changes nothing at the provider.
        offers: The faults that this kind of wire can have.
    """

    what: str
    safe: bool = False
    offers: ClassVar[frozenset[FaultKind]] = ON_EVERY_WIRE

    @abstractmethod
    def unreachable(self) -> BaseException:
        """What is raised when nobody answers: nothing can have happened."""

    @abstractmethod
    def lost(self) -> BaseException:
        """What is raised when the connection breaks before the reply: it may have happened."""

    def refused(self) -> T:
        """The provider's "no", for good; returned or raised as the library does."""
        raise NotImplementedError(f"{type(self).__name__} has no refusal")

    def rate_limited(self) -> T:
        """The provider's "too many, later"; returned or raised as the library does."""
        raise NotImplementedError(f"{type(self).__name__} has no rate limit")

    def server_error(self) -> T:
        """What a proxy answers in the provider's place; returned or raised as the library does."""
        raise NotImplementedError(f"{type(self).__name__} has no proxy")

    def told(self, reply: T) -> tuple[str, Outcome]:
        """A reply in a word, and what it says of the effect."""
        return "done", Outcome.DONE
