"""What Stripe says of the subscriptions it charges: read for comparison, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import httpx

from activities.billing import contract as billing
from activities.entitlements.contract import Plan
from activities.stripe import StripeConnector, error_of
from kit.contract import Keys, Page, Record, Scan, Token

PRICES: Final[Mapping[Plan, str]] = MappingProxyType(
    {Plan.STARTER: "price_starter", Plan.PRO: "price_pro", Plan.ENTERPRISE: "price_enterprise"}
)
"""The id of each plan's price in the account."""

PAGE: Final = 100
"""The most objects Stripe puts on one page."""

_PATH: Final = "/v1/subscriptions"


class ListedBilling(StripeConnector):
    """Lists subscriptions, by their own ids and by the accounts whose they are.

    Args:
        http: A client of Stripe; see `StripeConnector`.
        prices: The id of each plan's price.
    """

    def __init__(self, http: httpx.AsyncClient, *, prices: Mapping[Plan, str] = PRICES) -> None:
        super().__init__(http)
        self._prices = prices
        self._plans = {price: plan for plan, price in prices.items()}

    @billing.list_subscriptions.action
    async def list_subscriptions(self, request: Scan, token: Token) -> Page:
        """One page of all subscriptions, ended or not, newest first."""
        return await self._list(request, {"status": "all"}, by="id")

    @billing.find_subscriptions.action
    async def find_subscriptions(self, request: Keys, token: Token) -> Page:
        """Some subscriptions; each is shown after its end, too."""
        found = [await self._find(subscription_id) for subscription_id in request.keys]
        return Page(records=self._records((each for each in found if each is not None), by="id"))

    @billing.list_accounts.action
    async def list_accounts(self, request: Scan, token: Token) -> Page:
        """One page of the subscriptions that have not ended, newest first."""
        return await self._list(request, {}, by="account")

    @billing.find_accounts.action
    async def find_accounts(self, request: Keys, token: Token) -> Page:
        """What some accounts are charged for. All pages are read: Stripe's search by metadata lags behind."""
        found = [each async for each in self._pages(_PATH, {"limit": PAGE})]
        records = self._records(found, by="account")
        return Page(records=tuple(record for record in records if record.key in request.keys))

    async def _list(self, request: Scan, query: Mapping[str, str], *, by: str) -> Page:
        asked: dict[str, Any] = {**query, "limit": min(request.limit, PAGE)}
        if request.after is not None:
            asked["starting_after"] = request.after
        page = await self._get(_PATH, asked)
        return Page(
            records=self._records(page["data"], by=by), next=page["data"][-1]["id"] if page["has_more"] else None
        )

    async def _find(self, subscription_id: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = await self._get(f"{_PATH}/{subscription_id}")
        except httpx.HTTPStatusError as error:
            if error_of(error).get("code") != "resource_missing":
                raise
            return None
        return found

    def _records(self, found: Iterable[Mapping[str, Any]], *, by: str) -> tuple[Record, ...]:
        records = []
        for each in found:
            account = each["metadata"].get("account_id") or each["customer"]
            price = each["items"]["data"][0]["price"]["id"]
            facts = {"subscription_id": each["id"], "account_id": account, "plan": str(self._plans.get(price, price))}
            records.append(Record(key=each["id"] if by == "id" else account, state=each["status"], facts=facts))
        return tuple(records)
