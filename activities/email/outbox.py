"""What has been sent, by the effect ledger."""

from __future__ import annotations

from typing import Final

from activities.email.contract import find_receipts, list_receipts, send_receipt
from kit.contract import Keys, Page, Record, Scan, Token
from kit.contract.keys import quoted, unquoted
from kit.ledger import Entry, Ledger
from kit.worker.connector import Connector

_PREFIX: Final = (send_receipt.key or "").partition("{")[0]


class LedgerOutbox(Connector):
    """Lists the receipts of which the effect ledger knows.

    Settled rows leave the ledger when their retention is over: older receipts are not compared any more.

    Args:
        ledger: The workers' ledger; the plugin opens and closes it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @list_receipts.action
    async def list_receipts(self, request: Scan, token: Token) -> Page:
        """One page of the receipts, by their keys."""
        rows = await self._ledger.page(_PREFIX, after=request.after or "", limit=request.limit)
        return Page(records=tuple(map(_record, rows)), next=rows[-1].key if len(rows) == request.limit else None)

    @find_receipts.action
    async def find_receipts(self, request: Keys, token: Token) -> Page:
        """The receipts of some orders."""
        rows = [await self._ledger.get(_PREFIX + quoted(order_id)) for order_id in request.keys]
        return Page(records=tuple(_record(row) for row in rows if row is not None))


def _record(row: Entry) -> Record:
    order_id = unquoted(row.key.removeprefix(_PREFIX))
    return Record(key=order_id, state=row.state.value, since=row.updated_at, facts={"saga": row.saga})
