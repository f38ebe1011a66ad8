"""Comparing page by page finds what comparing everything at once finds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.contract import Page, Record
from kit.workflow.comparing import Comparison, Side, pairs_of

KEYS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


def _pages(keys: list[str], size: int) -> list[Page]:
    chunks = [keys[start : start + size] for start in range(0, len(keys), size)] or [[]]
    last = len(chunks) - 1
    return [
        Page(records=tuple(Record(key=key, state="x") for key in chunk), next=None if n == last else str(n))
        for n, chunk in enumerate(chunks)
    ]


@given(left=KEYS, right=KEYS, sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)), most=st.integers(1, 20))
def test_every_id_comes_out_and_what_differs_is_never_taken_for_a_match(
    left: list[str], right: list[str], sizes: tuple[int, int], most: int
) -> None:
    """In any order, with any pages and any room: each record is in one pair, and one-sided ids come out one-sided."""
    pages = {Side.LEFT: _pages(left, sizes[0]), Side.RIGHT: _pages(right, sizes[1])}
    comparison, pairs = Comparison(), []

    while (side := comparison.next) is not None:
        # What a run carries on is all it needs.
        comparison = Comparison.model_validate_json(comparison.model_dump_json())
        pairs += comparison.take(side, pages[side].pop(0), most=most)
        assert max(len(comparison.left.waiting), len(comparison.right.waiting)) <= most
    pairs += comparison.rest()

    assert pages == {Side.LEFT: [], Side.RIGHT: []}
    assert Counter(record.key for pair in pairs for record in pair.left) == Counter(left)
    assert Counter(record.key for pair in pairs for record in pair.right) == Counter(right)
    for key in set(left) ^ set(right):
        assert all(not (pair.left and pair.right) for pair in pairs if pair.key == key)


def test_two_systems_in_the_same_order_keep_a_page_waiting() -> None:
    """Memory is a page or so where both are read in one order, however long they are."""
    keys = [f"{number:04}" for number in range(1000)]
    pages = {side: _pages(keys, 10) for side in Side}
    comparison, longest = Comparison(), 0

    while (side := comparison.next) is not None:
        comparison.take(side, pages[side].pop(0))
        longest = max(longest, len(comparison.left.waiting), len(comparison.right.waiting))

    assert longest <= 10
    assert comparison.rest() == []


def test_a_page_that_leads_to_itself_is_refused() -> None:
    """A listing that never ends is an error, and not a run that never ends."""
    comparison = Comparison()
    comparison.take(Side.LEFT, Page(records=(), next="1"))

    with pytest.raises(ValueError, match="says that the next one is after '1', too"):
        comparison.take(Side.LEFT, Page(records=(), next="1"))


def test_all_records_of_an_id_are_one_pair() -> None:
    """Two payments for one order are seen together when both systems are asked for it."""
    one, two = Record(key="a", state="x"), Record(key="a", state="y")

    (pair,) = pairs_of(("a",), (), (one, two))

    assert (pair.left, pair.right) == ((), (one, two))
