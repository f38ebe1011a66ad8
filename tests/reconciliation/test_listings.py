"""Every listing of the reference service reads its system truly: whatever the size of a page, and again by id."""

from __future__ import annotations

from typing import Any

import pytest

from kit.contract import Keys, Listing, Operation, Page, Record, Role, Scan, Token
from tests.reconciliation.estate import Estate
from tests.reconciliation.test_all_six import break_everything
from workflows.reconciliation import INVARIANTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

LISTINGS = {listing.name: listing for each in INVARIANTS for listing in (each.left, each.right)}
TOKEN = Token(key="", correlation_id="c", workflow_id="w")


async def _ask(estate: Estate, operation: Operation[Any, Page], request: Any) -> Page:
    connector = next(each for each in estate.connectors if operation.name in each.handlers)
    method = connector.method(operation, Role.ACTION)
    assert method is not None
    page: Page = await method(request, TOKEN)
    return page


async def _all(estate: Estate, listing: Listing, *, limit: int) -> list[Record]:
    after: str | None = None
    found: list[Record] = []
    while True:
        page = await _ask(estate, listing.pages, Scan(after=after, limit=limit))
        assert len(page.records) <= limit
        found += page.records
        if page.next is None:
            return found
        after = page.next


async def test_pages_of_any_size_and_a_look_by_id_say_the_same(estate: Estate) -> None:
    """One record on a page or all on one: the same records; and asked for by its id, each says the same."""
    await break_everything(estate)

    for name, listing in LISTINGS.items():
        at_once = await _all(estate, listing, limit=100)
        one_by_one = await _all(estate, listing, limit=1)
        keys = tuple(sorted({record.key for record in at_once}))
        again = await _ask(estate, listing.again, Keys(keys=keys))

        assert len(at_once) >= 1, name
        assert one_by_one == at_once, name
        assert sorted(again.records, key=repr) == sorted(at_once, key=repr), name


async def test_what_a_system_does_not_know_is_no_failure(estate: Estate) -> None:
    """Asked for an id that it does not know a system says nothing, or that it stands for nothing."""
    unknown = Keys(keys=("nobody-knows-it",))

    found = {name: await _ask(estate, listing.again, unknown) for name, listing in LISTINGS.items()}

    said = {name: [record.state for record in page.records] for name, page in found.items()}
    assert said == {name: ["none"] if name == "entitlements" else [] for name in LISTINGS}
