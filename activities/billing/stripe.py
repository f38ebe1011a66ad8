"""Billing by Stripe's subscriptions (https://docs.stripe.com/api/subscriptions)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from activities.billing import contract as billing
from activities.billing.contract import (
    Cancellation,
    CancelSubscription,
    ChangePlan,
    ReadSubscription,
    Refund,
    RefundProration,
    Subscription,
)
from activities.billing.listed import PAGE, ListedBilling
from activities.entitlements.contract import Plan
from activities.stripe import error_of, is_stored_breakdown
from kit.contract import FailureKind, Token, Undo
from kit.errors import Refused

_ENDED: Final = "canceled"
_INVOICE: Final = ("expand[]", "latest_invoice")


class StripeBilling(ListedBilling):
    """Reads, lists, cancels and changes subscriptions, and refunds what was paid for unused time."""

    @billing.read_subscription.action
    async def read_subscription(self, request: ReadSubscription, token: Token) -> Subscription:
        """Look the subscription up, with what was paid last."""
        return self._subscription(await self._look(request.subscription_id))

    # -- cancel ------------------------------------------------------------------------------------------------------

    @billing.cancel_subscription.action
    async def cancel_subscription(self, request: CancelSubscription, token: Token) -> Cancellation:
        """End the subscription at once.

        Whoever ended it before, it has ended: that is what was asked for, and no failure.
        """
        # Prorating it there would be a credit on the customer's next invoice, and there is none.
        wanted = {"prorate": "false", "invoice_now": "false", "cancellation_details[comment]": token.key}
        try:
            found = await self._delete(_path(request.subscription_id), wanted)
        except httpx.HTTPStatusError as error:
            # Of what has ended Stripe says that there is no such subscription, and shows it when it is looked up.
            missing = error_of(error).get("code") == "resource_missing"
            if not missing or (ended := await self.find_cancellation(request, token)) is None:
                raise
            return ended
        return _cancellation(found)

    @billing.cancel_subscription.probe
    async def find_cancellation(self, request: CancelSubscription, token: Token) -> Cancellation | None:
        """The end of the subscription, whoever brought it about: there is only one, and it is for good."""
        found = await self._look(request.subscription_id)
        return _cancellation(found) if found["status"] == _ENDED else None

    # -- refund ------------------------------------------------------------------------------------------------------

    @billing.refund_proration.action
    async def refund_proration(self, request: RefundProration, token: Token) -> Refund:
        """Refund a part of the latest payment."""
        form = {
            "payment_intent": request.payment_intent,
            "amount": str(request.amount),
            "reason": "requested_by_customer",
            "metadata[subscription_id]": request.subscription_id,
            "metadata[kit_key]": token.key,
        }
        try:
            refund = await self._post("/v1/refunds", form, key=token.key)
        except httpx.HTTPStatusError as error:
            if not is_stored_breakdown(error) or (found := await self.find_refund(request, token)) is None:
                raise
            return found
        return _refund(refund)

    @billing.refund_proration.probe
    async def find_refund(self, request: RefundProration, token: Token) -> Refund | None:
        """The refund made under the key, unless it came back."""
        query = {"payment_intent": request.payment_intent, "limit": PAGE}
        async for refund in self._pages("/v1/refunds", query):
            if refund["metadata"].get("kit_key") == token.key and refund["status"] not in ("failed", "canceled"):
                return _refund(refund)
        return None

    # -- change the plan ---------------------------------------------------------------------------------------------

    @billing.change_plan.action
    async def change_plan(self, request: ChangePlan, token: Token) -> Subscription:
        """Charge another plan, if the plan still is the one that the request says."""
        found = await self._look(request.subscription_id)
        if self._is_made(found, request, token):
            return self._subscription(found)
        plan = self._plan_of(found)
        if found["status"] == _ENDED or plan != request.before:
            raise Refused(
                FailureKind.CONFLICT,
                f"subscription {request.subscription_id!r} is {found['status']!r} with plan {plan.value!r}, "
                f"not with {request.before.value!r}: somebody has changed it since",
                reason="subscription_changed",
            )
        try:
            changed = await self._charge(found, request.plan, kit_key=token.key, key=token.key)
        except httpx.HTTPStatusError as error:
            if not is_stored_breakdown(error) or (made := await self.find_change(request, token)) is None:
                raise
            return made
        return self._subscription(changed)

    @billing.change_plan.compensation
    async def change_back(self, undo: Undo[ChangePlan, Subscription], token: Token) -> None:
        """Charge the plan from before, unless somebody has changed it since.

        Without a key: the subscription's state keeps it to one, and under a key Stripe would repeat a breakdown for
        ever.
        """
        request = undo.request
        found = await self._look(request.subscription_id)
        if found["status"] == _ENDED or not self._is_made(found, request, token):
            return
        await self._charge(found, request.before, kit_key="")

    @billing.change_plan.probe
    async def find_change(self, request: ChangePlan, token: Token) -> Subscription | None:
        """The subscription, if its latest change is the one made under the key."""
        found = await self._look(request.subscription_id)
        return self._subscription(found) if self._is_made(found, request, token) else None

    def _is_made(self, found: Mapping[str, Any], request: ChangePlan, token: Token) -> bool:
        """Whether this very change stands: its key is on the subscription, and so is its price."""
        key = billing.change_plan.key_for(request, workflow_id=token.workflow_id)
        return bool(found["metadata"].get("kit_key") == key and self._plan_of(found) == request.plan)

    async def _charge(
        self, found: Mapping[str, Any], plan: Plan, *, kit_key: str, key: str | None = None
    ) -> Mapping[str, Any]:
        price = self._prices.get(plan)
        if price is None:
            raise Refused(
                FailureKind.INVALID,
                f"plan {plan.value!r} has no price: give StripeBilling(prices=...) one",
                reason="no_price",
            )
        form = {
            "items[0][id]": found["items"]["data"][0]["id"],
            "items[0][price]": price,
            "proration_behavior": "create_prorations",
            "metadata[kit_key]": kit_key,
            _INVOICE[0]: _INVOICE[1],
        }
        changed: Mapping[str, Any] = await self._post(_path(found["id"]), form, key=key)
        return changed

    # -- wire --------------------------------------------------------------------------------------------------------

    async def _look(self, subscription_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._get(_path(subscription_id), dict([_INVOICE]))
        return found

    def _plan_of(self, found: Mapping[str, Any]) -> Plan:
        price = found["items"]["data"][0]["price"]["id"]
        if price not in self._plans:
            raise Refused(
                FailureKind.INVALID,
                f"subscription {found['id']!r} has the price {price!r}, which is no plan's: "
                f"give StripeBilling(prices=...) one",
                reason="unknown_price",
            )
        return self._plans[price]

    def _subscription(self, found: Mapping[str, Any]) -> Subscription:
        invoice = found["latest_invoice"] or {}
        return Subscription(
            subscription_id=found["id"],
            account_id=found["metadata"].get("account_id") or found["customer"],
            plan=self._plan_of(found),
            status=found["status"],
            period_start=_instant(found["current_period_start"]),
            period_end=_instant(found["current_period_end"]),
            paid=invoice.get("amount_paid", 0),
            currency=found["currency"],
            payment_intent=invoice.get("payment_intent"),
        )


def _path(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _cancellation(found: Mapping[str, Any]) -> Cancellation:
    return Cancellation(subscription_id=found["id"], status=found["status"])


def _refund(refund: Mapping[str, Any]) -> Refund:
    return Refund(refund_id=refund["id"], amount=refund["amount"], currency=refund["currency"])
