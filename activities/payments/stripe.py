"""Payments by Stripe's PaymentIntents (https://docs.stripe.com/api/payment_intents)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from activities.payments import contract as payments
from activities.payments.contract import (
    Authorization,
    AuthorizePayment,
    Capture,
    CapturePayment,
    Refunded,
    RefundPayment,
)
from activities.payments.taken import PAGE, SEARCH_LAG, TakenPayments, clause, now
from activities.stripe import error_of, is_stored_breakdown
from kit.contract import FailureKind, Token, Undo
from kit.errors import OutcomeUnknown, Refused

_HELD = ("requires_capture",)
_TAKEN = ("succeeded",)
_STILL_RUNNING = ("processing",)


class StripePayments(TakenPayments):
    """Authorizes, voids, captures and refunds card payments, and lists them."""

    # -- authorize -------------------------------------------------------------------------------------------

    @payments.authorize.action
    async def authorize(self, request: AuthorizePayment, token: Token) -> Authorization:
        """Create a payment intent that holds the amount."""
        form = {
            "amount": str(request.amount),
            "currency": request.currency,
            "payment_method": request.payment_method,
            "payment_method_types[]": "card",
            "capture_method": "manual",
            "confirm": "true",
            # Nobody is there to answer the bank's question: a payment that needs one is declined.
            "error_on_requires_action": "true",
            "metadata[order_id]": request.order_id,
            "metadata[kit_key]": token.key,
        }
        if request.customer_email is not None:
            form["receipt_email"] = request.customer_email

        try:
            intent = await self._post("/v1/payment_intents", form, key=token.key)
        except httpx.HTTPStatusError as error:
            if not is_stored_breakdown(error) or (found := await self.find_authorization(request, token)) is None:
                raise
            return found

        if intent["status"] in _STILL_RUNNING:
            text = f"payment intent {intent['id']!r} is still being processed"
            raise OutcomeUnknown(FailureKind.UNAVAILABLE, text, reason="processing")
        if intent["status"] not in _HELD + _TAKEN:
            raise Refused(
                FailureKind.DECLINED,
                f"payment intent {intent['id']!r} holds no money: its status is {intent['status']!r}",
                reason=intent["status"],
            )
        return _authorization(intent)

    @payments.authorize.compensation
    async def void(self, undo: Undo[AuthorizePayment, Authorization], token: Token) -> None:
        """Cancel the payment intent, unless it holds no money any more.

        Without a key: its state keeps it to one cancellation, and under a key Stripe would repeat a breakdown for ever.
        """
        intent_id = undo.result.payment_intent
        try:
            await self._post(f"/v1/payment_intents/{intent_id}/cancel", {"cancellation_reason": "abandoned"})
        except httpx.HTTPStatusError as error:
            if error_of(error).get("code") != "payment_intent_unexpected_state":
                raise
            # What an earlier attempt did is no failure: what counts is how the payment intent stands now.
            intent = await self._get(f"/v1/payment_intents/{intent_id}")
            if intent["status"] == "canceled":
                return
            if intent["status"] in _TAKEN and await self._left_to_refund(intent) <= 0:
                return
            raise Refused(
                FailureKind.CONFLICT,
                f"payment intent {intent_id!r} cannot be canceled: its status is {intent['status']!r}",
                reason="payment_intent_unexpected_state",
            ) from error

    @payments.authorize.probe
    async def find_authorization(self, request: AuthorizePayment, token: Token) -> Authorization | None:
        """The payment intent made under the key, if it holds money or took some that was not given back."""
        async for intent in self._made_under(token.key):
            if intent["status"] in _HELD:
                return _authorization(intent)
            if intent["status"] in _TAKEN and await self._left_to_refund(intent) > 0:
                return _authorization(intent)
        return None

    # -- capture ---------------------------------------------------------------------------------------------

    @payments.capture.action
    async def capture(self, request: CapturePayment, token: Token) -> Capture:
        """Take the amount that is held; what is held above it is released."""
        try:
            intent = await self._post(
                f"/v1/payment_intents/{request.payment_intent}/capture",
                {"amount_to_capture": str(request.amount)},
                key=token.key,
            )
        except httpx.HTTPStatusError as error:
            if not is_stored_breakdown(error) or (found := await self.find_capture(request, token)) is None:
                raise
            return found
        return _captured(intent)

    @payments.capture.compensation
    async def refund(self, undo: Undo[CapturePayment, Capture], token: Token) -> None:
        """Give back what has not been given back yet, by whomever. Without a key, for the reason given at `void`."""
        await self._give_back(undo.result.payment_intent)

    @payments.capture.probe
    async def find_capture(self, request: CapturePayment, token: Token) -> Capture | None:
        """The payment intent's capture, unless all of it was given back."""
        intent = await self._get(f"/v1/payment_intents/{request.payment_intent}")
        if intent["status"] not in _TAKEN or await self._left_to_refund(intent) <= 0:
            return None
        return _captured(intent)

    # -- refund ----------------------------------------------------------------------------------------------

    @payments.refund.action
    async def refund_payment(self, request: RefundPayment, token: Token) -> Refunded:
        """Give back what has not been given back yet, by whomever."""
        await self._give_back(request.payment_intent)
        return Refunded(payment_intent=request.payment_intent)

    async def _give_back(self, intent_id: str) -> None:
        intent = await self._get(f"/v1/payment_intents/{intent_id}")
        if await self._left_to_refund(intent) <= 0:
            return
        try:
            # Without an amount Stripe refunds what is left, so two of these give back no more than one. A rest
            # computed here could be outdated when it arrives.
            await self._post("/v1/refunds", {"payment_intent": intent["id"]})
        except httpx.HTTPStatusError as error:
            if error_of(error).get("code") != "charge_already_refunded":
                raise

    # -- wire ------------------------------------------------------------------------------------------------

    async def _made_under(self, key: str) -> AsyncIterator[Mapping[str, Any]]:
        created = int(now().timestamp() - SEARCH_LAG.total_seconds())
        recent: dict[str, Any] = {"created[gte]": created, "limit": PAGE}
        async for intent in self._pages("/v1/payment_intents", recent):
            if intent["metadata"].get("kit_key") == key:
                yield intent
        found = await self._get("/v1/payment_intents/search", {"query": clause("kit_key", key), "limit": PAGE})
        for intent in found["data"]:
            # What search knows of an object lags behind, too; its id is all that is taken from it.
            yield await self._get(f"/v1/payment_intents/{intent['id']}")

    async def _left_to_refund(self, intent: Mapping[str, Any]) -> int:
        refunded = 0
        async for refund in self._pages("/v1/refunds", {"payment_intent": intent["id"], "limit": PAGE}):
            if refund["status"] not in ("failed", "canceled"):
                refunded += refund["amount"]
        return int(intent["amount_received"]) - refunded


def _authorization(intent: Mapping[str, Any]) -> Authorization:
    return Authorization(payment_intent=intent["id"], amount=intent["amount"], currency=intent["currency"])


def _captured(intent: Mapping[str, Any]) -> Capture:
    return Capture(payment_intent=intent["id"], charge=intent["latest_charge"], amount=intent["amount_received"])
