"""Comparing two systems page by page, in whatever order each of them has.

Pages of both are read in turn, and records are matched by their business id as they come: a symmetric hash join
(Wilschut and Apers, 1991). What has no partner yet waits for it; when both systems are at their end, what still waits
is one-sided. Two systems that are read in about the same order keep little waiting. Two that are not keep much: then
the oldest are given up and asked about by id, so memory is bounded whatever the order, and order only saves questions.

Nothing here is a verdict. What comes out are suspects, ids whose halves break a rule as they were read; both systems
are asked for these again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from kit.contract import Invariant, Page, Pair, Record

MOST_WAITING: Final = 2000
"""Records of one system that may wait for their partner: about 300 KB in the state that a run carries on."""


class Side(StrEnum):
    """One of the two systems."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def other(self) -> Side:
        """The other one."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


class Cursor(BaseModel):
    """How far one system has been read.

    Attributes:
        after: What the next page is asked for by.
        done: Whether the last page has been read.
        pages: How many pages were read.
        records: How many records were on them.
        waiting: Those without a partner yet, oldest first.
    """

    model_config = ConfigDict(extra="forbid")

    after: str | None = None
    done: bool = False
    pages: int = 0
    records: int = 0
    waiting: dict[str, tuple[Record, ...]] = Field(default_factory=dict)


class Comparison(BaseModel):
    """How far two systems have been compared: the checkpoint of a run, and all it needs to go on."""

    model_config = ConfigDict(extra="forbid")

    left: Cursor = Field(default_factory=Cursor)
    right: Cursor = Field(default_factory=Cursor)

    def cursor(self, side: Side) -> Cursor:
        """One system's."""
        return self.left if side is Side.LEFT else self.right

    @property
    def next(self) -> Side | None:
        """The system to be read next: the one whose partners wait. ``None`` when both are at their end."""
        behind = Side.LEFT if len(self.right.waiting) > len(self.left.waiting) else Side.RIGHT
        if not self.left.pages:
            behind = Side.LEFT
        if self.cursor(behind).done:
            behind = behind.other
        return None if self.cursor(behind).done else behind

    def take(self, side: Side, page: Page, *, most: int = MOST_WAITING) -> list[Pair]:
        """Take a page of one system.

        Args:
            side: Whose page it is.
            page: What it says.
            most: How many records may wait.

        Returns:
            The pairs that are as complete as they will be: matched, or given up.

        Raises:
            ValueError: The page leads to itself, so reading on would never end.
        """
        own, other = self.cursor(side), self.cursor(side.other)
        if page.next is not None and page.next == own.after:
            raise ValueError(f"the page after {own.after!r} says that the next one is after {page.next!r}, too")
        own.after, own.done = page.next, page.next is None
        own.pages += 1
        own.records += len(page.records)
        pairs: list[Pair] = []
        for record in page.records:
            partner = other.waiting.pop(record.key, None)
            if partner is not None:
                pairs.append(_pair(side, record.key, (record,), partner))
            else:
                own.waiting[record.key] = (*own.waiting.get(record.key, ()), record)
        excess = len(own.waiting) - most
        given_up = list(own.waiting)[:excess] if excess > 0 else []
        pairs.extend(_pair(side, key, own.waiting.pop(key)) for key in given_up)
        return pairs

    def rest(self) -> list[Pair]:
        """What is left without a partner when both systems are at their end."""
        found = [_pair(side, key, records) for side in Side for key, records in list(self.cursor(side).waiting.items())]
        self.left.waiting, self.right.waiting = {}, {}
        return found


def pairs_of(keys: Sequence[str], left: Iterable[Record], right: Iterable[Record]) -> Iterator[Pair]:
    """What two systems say of some ids, in their order."""
    sides: tuple[dict[str, list[Record]], dict[str, list[Record]]] = ({}, {})
    for side, records in zip(sides, (left, right), strict=True):
        for record in records:
            side.setdefault(record.key, []).append(record)
    for key in keys:
        yield Pair(key=key, left=tuple(sides[0].get(key, ())), right=tuple(sides[1].get(key, ())))


def suspects(invariants: Iterable[Invariant], pairs: Iterable[Pair]) -> list[str]:
    """The ids of the pairs that break one of the rules as they were read."""
    asked = tuple(invariants)
    return list(dict.fromkeys(pair.key for pair in pairs if any(rule.check(pair) for rule in asked)))


def _pair(side: Side, key: str, own: tuple[Record, ...], other: tuple[Record, ...] = ()) -> Pair:
    return Pair(key=key, left=own, right=other) if side is Side.LEFT else Pair(key=key, left=other, right=own)
