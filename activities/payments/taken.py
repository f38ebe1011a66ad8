"""What Stripe says of the money that was taken for orders: read for comparison, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from activities.payments import contract as payments
from activities.payments.contract import Taken
from activities.stripe import StripeConnector
from kit.contract import Keys, Page, Record, Scan, Token
from kit.worker.context import current_call

SEARCH_LAG: Final = timedelta(minutes=5)
"""What is newer than this is listed, what is older is searched: search lags behind by up to a minute, by more
during an outage (https://docs.stripe.com/search#data-freshness); lists do not."""

PAGE: Final = 100
"""The most objects Stripe puts on one page."""


class TakenPayments(StripeConnector):
    """Lists the payments that took money, whether it was given back since or not.

    Payments without an order's id in their metadata are somebody else's: an invoice's, a terminal's.
    """

    @payments.list_taken.action
    async def list_taken(self, request: Scan, token: Token) -> Page:
        """One page of payment intents, newest first; what was refunded comes with its charge."""
        query: dict[str, Any] = {"limit": min(request.limit, PAGE), "expand[]": "data.latest_charge"}
        if request.after is not None:
            query["starting_after"] = request.after
        page = await self._get("/v1/payment_intents", query)
        records = tuple(record for intent in page["data"] if (record := _record(intent)) is not None)
        return Page(records=records, next=page["data"][-1]["id"] if page["has_more"] else None)

    @payments.find_taken.action
    async def find_taken(self, request: Keys, token: Token) -> Page:
        """The payments of some orders: the latest by the list, which lags behind nothing, the others by the search."""
        found: dict[str, Record] = {}
        created = int(now().timestamp() - SEARCH_LAG.total_seconds())
        recent: dict[str, Any] = {"created[gte]": created, "limit": PAGE, "expand[]": "data.latest_charge"}
        async for intent in self._pages("/v1/payment_intents", recent):
            record = _record(intent)
            if record is not None and record.key in request.keys:
                found[intent["id"]] = record
        for order_id in request.keys:
            query = {"query": clause("order_id", order_id), "limit": PAGE}
            for known in (await self._get("/v1/payment_intents/search", query))["data"]:
                # What search knows of an object lags behind, too; its id is all that is taken from it.
                intent = await self._get(f"/v1/payment_intents/{known['id']}", {"expand[]": "latest_charge"})
                if (record := _record(intent)) is not None:
                    found[known["id"]] = record
        return Page(records=tuple(found[intent_id] for intent_id in sorted(found)))


def clause(field: str, value: str) -> str:
    """The search query for a field of the metadata (https://docs.stripe.com/search#search-query-language)."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"metadata['{field}']:'{quoted}'"


def now() -> datetime:
    """The server's time, where there is one: a worker's own clock may be wrong, and under time skipping it is."""
    call = current_call.get()
    return datetime.now(UTC) if call is None else call.clock()


def _record(intent: Mapping[str, Any]) -> Record | None:
    """A payment intent that took money for an order. Stripe does not say when it did: only when the intent was made."""
    order_id, charge = intent["metadata"].get("order_id"), intent["latest_charge"]
    if not order_id or intent["status"] != "succeeded" or charge is None:
        return None
    left = int(intent["amount_received"]) - int(charge["amount_refunded"])
    facts = {"payment_intent": intent["id"], "left": str(left), "currency": intent["currency"]}
    if key := intent["metadata"].get("kit_key"):
        facts["kit_key"] = key
    return Record(key=order_id, state=Taken.TAKEN if left > 0 else Taken.REFUNDED, facts=facts)
