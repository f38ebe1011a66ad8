"""A provider for the small worlds: it does what it is asked, writes it down, and keeps what promise it is made for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kit import FailureKind, Refused
from kit.testing.runs import Truth


@dataclass
class Deed:
    """One effect.

    Attributes:
        operation: What it is an effect of.
        key: The key that was asked for.
        order: Its place among all deeds.
        live: Whether it stands.
    """

    operation: str
    key: str
    order: int
    live: bool = True

    @property
    def id(self) -> str:
        """How the office calls it."""
        return f"{self.operation}/{self.order}"


@dataclass
class Book:
    """What all offices of a world have done, in order."""

    deeds: list[Deed] = field(default_factory=list)
    taken: int = 0

    def place(self) -> int:
        """The next place in the order of the world."""
        self.taken += 1
        return self.taken

    def truth(self, system: str) -> list[Truth]:
        """Every deed, as a world tells it."""
        told = {True: "stands", False: "was taken back"}
        return [
            Truth(
                system, deed.operation, deed.key, deed.live, deed.order, f"{deed.id} for {deed.key} {told[deed.live]}"
            )
            for deed in self.deeds
        ]

    def of(self, key: str) -> Iterable[Deed]:
        """What was done under a key, oldest first."""
        return (deed for deed in self.deeds if deed.key == key)


class Office:
    """One system.

    Args:
        book: Where it writes.
        operation: What it does.
        once: Whether it does a thing once for each key, also after it was taken back: it honours keys, or its state
            allows no second time. Without, each request is a deed of its own.
    """

    def __init__(self, book: Book, operation: str, *, once: bool) -> None:
        self._book = book
        self._operation = operation
        self._once = once

    async def do(self, key: str) -> str:
        """Do it; returns its id."""
        done = next(iter(self._book.of(key)), None) if self._once else None
        if done is None:
            done = Deed(self._operation, key, self._book.place())
            self._book.deeds.append(done)
        return done.id

    async def take_back(self, deed_id: str) -> None:
        """Take one deed back; nothing is done about one that is gone."""
        for deed in self._book.deeds:
            if deed.id == deed_id:
                deed.live = False

    async def find(self, key: str) -> str | None:
        """The id of a deed that stands."""
        return next((deed.id for deed in self._book.of(key) if deed.live), None)


def declined() -> Refused:
    """How an office says no."""
    return Refused(FailureKind.DECLINED, "no", reason="declined")
