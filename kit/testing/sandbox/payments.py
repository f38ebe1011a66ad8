"""Payments as Stripe's PaymentIntents: manual capture, cancel, refunds, look-ups, idempotency keys.

A connector written for this provider works against Stripe with another base URL. As with Stripe, a declined
confirmation leaves a payment intent behind, in `requires_payment_method`: a look-up finds it, and it holds no
money.

The reference of every effect is the payment intent's `metadata[order_id]`, or its id when it has none.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Provider
from kit.testing.sandbox.idempotency import MAX_KEY_LENGTH, IdempotencyKeys
from kit.testing.sandbox.payment_intent import PaymentIntent
from kit.testing.sandbox.payment_replies import fault_reply, page, unexpected_state
from kit.testing.sandbox.records import Caller, EffectKind
from kit.testing.sandbox.stripe_wire import StripeError, choice, error_reply, integer, invalid, metadata_of

# https://docs.stripe.com/testing: the test payment methods, and the decline code of those that are declined.
PAYMENT_METHODS: Mapping[str, str | None] = {
    "pm_card_visa": None,
    "pm_card_mastercard": None,
    "pm_card_amex": None,
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
}
_CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
_CANCELLABLE = ("requires_payment_method", "requires_confirmation", "requires_capture")


class Payments:
    """The payments provider: its state, and what each call does to it."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.keys = IdempotencyKeys()
        self.intents: dict[str, PaymentIntent] = {}
        self.refunds: list[dict[str, Any]] = []
        # Never restarted, so that an id from before a reset means nothing after it.
        self._ids = count(1)

    def clear(self) -> None:
        """Forget every payment, refund and key."""
        self.keys.clear()
        self.intents.clear()
        self.refunds.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (list(self.intents.values()), self.refunds, self.keys.state(), repr(self._ids))

    async def serve(
        self, request: Request, execute: Callable[[], Reply], params: Mapping[str, str] | None = None
    ) -> Reply:
        """Serve one call; `params` are those of a POST, which is where idempotency keys count."""
        key = request.caller.idempotency_key
        slot = self.keys.slot(key, path=request.path, params=params) if key and params is not None else None
        return await self.exchange.serve(Provider.PAYMENTS, request, execute=execute, fault_reply=fault_reply, key=slot)

    # Each of the following validates at once (what it raises is not remembered under the key) and returns the
    # execution, which runs only when the exchange says so.

    def create(self, params: Mapping[str, str], caller: Caller) -> Callable[[], Reply]:
        """`POST /v1/payment_intents`."""
        check_key(caller)
        amount = integer(params, "amount")
        currency = params.get("currency", "")
        if not (len(currency) == 3 and currency.isalpha()):
            raise invalid(f"Invalid currency: {currency!r}.", param="currency")
        method = params.get("payment_method")
        if method is not None and method not in PAYMENT_METHODS:
            raise invalid(f"No such PaymentMethod: {method!r}", code="resource_missing", param="payment_method")
        capture_method = choice(
            params, "capture_method", ("automatic", "automatic_async", "manual"), default="automatic"
        )
        confirm = choice(params, "confirm", ("true", "false"), default="false") == "true"
        if confirm and method is None:
            raise invalid("Missing required param: payment_method.", code="parameter_missing", param="payment_method")

        def execute() -> Reply:
            intent = PaymentIntent(
                id=f"pi_sandbox_{next(self._ids)}",
                amount=amount,
                currency=currency.lower(),
                capture_method=capture_method,
                created=self._timestamp(),
                status="requires_confirmation" if method else "requires_payment_method",
                payment_method=method,
                metadata=metadata_of(params),
            )
            self.intents[intent.id] = intent
            return self._confirm(intent, caller) if confirm else Reply(200, intent.wire())

        return execute

    def retrieve(self, intent_id: str, *, charge: bool = False) -> Callable[[], Reply]:
        """`GET /v1/payment_intents/{id}`; with `charge` its latest charge is written out."""
        return lambda: Reply(200, self.intent(intent_id).wire(charge=charge))

    def list_intents(self, since: int, limit: int, *, after: str | None, charge: bool = False) -> Callable[[], Reply]:
        """`GET /v1/payment_intents`, newest first, `limit` on a page; with `charge` latest charges are written out."""
        if after is not None:
            self.intent(after, status=400)

        def execute() -> Reply:
            newest = [intent for intent in reversed(self.intents.values()) if intent.created >= since]
            ids = [intent.id for intent in newest]
            rest = newest if after is None else newest[ids.index(after) + 1 :] if after in ids else []
            found = [intent.wire(charge=charge) for intent in rest[:limit]]
            return Reply(200, page("list", "/v1/payment_intents", found, has_more=len(rest) > limit))

        return execute

    def search(self, clauses: list[tuple[str, str]]) -> Callable[[], Reply]:
        """`GET /v1/payment_intents/search`, newest first, on one page, without Stripe's indexing delay."""

        def matches(intent: PaymentIntent) -> bool:
            facts = {"status": intent.status, **{f"metadata.{k}": v for k, v in intent.metadata.items()}}
            return all(facts.get(name) == wanted for name, wanted in clauses)

        def execute() -> Reply:
            found = [intent.wire() for intent in reversed(self.intents.values()) if matches(intent)]
            return Reply(200, page("search_result", "/v1/payment_intents/search", found))

        return execute

    def capture(self, intent_id: str, params: Mapping[str, str], caller: Caller) -> Callable[[], Reply]:
        """`POST /v1/payment_intents/{id}/capture`."""
        check_key(caller)
        intent = self.intent(intent_id)
        amount = integer(params, "amount_to_capture", default=intent.amount)
        if amount > intent.amount:
            raise invalid(
                f"The amount to capture, {amount}, is above the authorized {intent.amount}.",
                code="amount_too_large",
                param="amount_to_capture",
            )

        def execute() -> Reply:
            if intent.status != "requires_capture":
                return unexpected_state(intent, "captured", ("requires_capture",))
            intent.metadata.update(metadata_of(params))
            self._capture(intent, amount, caller)
            return Reply(200, intent.wire())

        return execute

    def cancel(self, intent_id: str, params: Mapping[str, str], caller: Caller) -> Callable[[], Reply]:
        """`POST /v1/payment_intents/{id}/cancel`."""
        check_key(caller)
        intent = self.intent(intent_id)
        if "cancellation_reason" in params:
            choice(params, "cancellation_reason", _CANCELLATION_REASONS, default="")

        def execute() -> Reply:
            if intent.status not in _CANCELLABLE:
                return unexpected_state(intent, "canceled", _CANCELLABLE)
            if intent.status == "requires_capture":
                self.exchange.journal.ended(Provider.PAYMENTS, EffectKind.AUTHORIZED, intent.id)
                self._did(EffectKind.VOIDED, intent, intent.amount, caller, live=False)
            intent.status = "canceled"
            intent.canceled_at = self._timestamp()
            intent.cancellation_reason = params.get("cancellation_reason")
            return Reply(200, intent.wire())

        return execute

    def refund(self, params: Mapping[str, str], caller: Caller) -> Callable[[], Reply]:
        """`POST /v1/refunds`."""
        check_key(caller)
        intent_id = params.get("payment_intent")
        if not intent_id:
            raise invalid("Missing required param: payment_intent.", code="parameter_missing", param="payment_intent")
        intent = self.intent(intent_id, status=400)
        choice(params, "reason", ("duplicate", "fraudulent", "requested_by_customer"), default="duplicate")
        wanted = integer(params, "amount") if "amount" in params else None

        def execute() -> Reply:
            left = intent.amount_received - intent.amount_refunded
            amount = left if wanted is None else wanted
            if intent.status != "succeeded":
                return unexpected_state(intent, "refunded", ("succeeded",))
            if left == 0:
                return error_reply(
                    400,
                    "invalid_request_error",
                    f"Charge {intent.latest_charge} has already been refunded.",
                    code="charge_already_refunded",
                    remember=True,
                )
            if amount > left:
                return error_reply(
                    400,
                    "invalid_request_error",
                    f"Refund amount ({amount}) is greater than the unrefunded amount on the charge ({left}).",
                    param="amount",
                    remember=True,
                )
            return Reply(200, self._refund(intent, amount, params, caller))

        return execute

    def list_refunds(self, intent_id: str | None) -> Callable[[], Reply]:
        """`GET /v1/refunds`, newest first, on one page."""

        def execute() -> Reply:
            found = [r for r in reversed(self.refunds) if intent_id is None or r["payment_intent"] == intent_id]
            return Reply(200, page("list", "/v1/refunds", found))

        return execute

    def taken(self, amount: int, currency: str, *, metadata: Mapping[str, str]) -> PaymentIntent:
        """A payment from before: taken, and in no record of effects."""
        intent = PaymentIntent(
            id=f"pi_sandbox_{next(self._ids)}",
            amount=amount,
            currency=currency,
            capture_method="automatic",
            created=self._timestamp(),
            status="succeeded",
            payment_method="pm_card_visa",
            metadata=dict(metadata),
            amount_received=amount,
            latest_charge=f"ch_sandbox_{next(self._ids)}",
        )
        self.intents[intent.id] = intent
        return intent

    def intent(self, intent_id: str, *, status: int = 404) -> PaymentIntent:
        """The payment intent of that id.

        Raises:
            StripeError: There is none.
        """
        if intent_id not in self.intents:
            raise invalid(
                f"No such payment_intent: {intent_id!r}",
                code="resource_missing",
                param="intent",
                status=status,
            )
        return self.intents[intent_id]

    def reference(self, intent_id: str) -> str:
        """What a call about this id is about; the id itself when nothing is known of it."""
        intent = self.intents.get(intent_id)
        return intent.reference if intent else intent_id

    def _confirm(self, intent: PaymentIntent, caller: Caller) -> Reply:
        decline_code = PAYMENT_METHODS[intent.payment_method or ""]
        intent.latest_charge = f"ch_sandbox_{next(self._ids)}"
        if decline_code:
            return self._decline(intent, decline_code)
        intent.status = "requires_capture"
        if intent.capture_method == "manual":
            self._did(EffectKind.AUTHORIZED, intent, intent.amount, caller)
        else:
            self._capture(intent, intent.amount, caller)
        return Reply(200, intent.wire())

    @staticmethod
    def _decline(intent: PaymentIntent, decline_code: str) -> Reply:
        insufficient = decline_code == "insufficient_funds"
        message = "Your card has insufficient funds." if insufficient else "Your card was declined."
        error = {
            "type": "card_error",
            "code": "card_declined",
            "decline_code": decline_code,
            "message": message,
        }
        intent.status = "requires_payment_method"
        intent.last_payment_error = error
        intent.payment_method = None
        body = {"error": {**error, "charge": intent.latest_charge, "payment_intent": intent.wire()}}
        return Reply(402, body)

    def _capture(self, intent: PaymentIntent, amount: int, caller: Caller) -> None:
        intent.status = "succeeded"
        intent.amount_received = amount
        self.exchange.journal.ended(Provider.PAYMENTS, EffectKind.AUTHORIZED, intent.id)
        self._did(EffectKind.CAPTURED, intent, amount, caller)

    def _refund(self, intent: PaymentIntent, amount: int, params: Mapping[str, str], caller: Caller) -> dict[str, Any]:
        refund = {
            "id": f"re_sandbox_{next(self._ids)}",
            "object": "refund",
            "amount": amount,
            "charge": intent.latest_charge,
            "created": self._timestamp(),
            "currency": intent.currency,
            "metadata": metadata_of(params),
            "payment_intent": intent.id,
            "reason": params.get("reason"),
            "status": "succeeded",
        }
        self.refunds.append(refund)
        intent.amount_refunded += amount
        if intent.amount_refunded == intent.amount_received:
            self.exchange.journal.ended(Provider.PAYMENTS, EffectKind.CAPTURED, intent.id)
        self._did(EffectKind.REFUNDED, intent, amount, caller, live=False)
        return refund

    def _did(self, kind: EffectKind, intent: PaymentIntent, amount: int, caller: Caller, *, live: bool = True) -> None:
        self.exchange.journal.did(
            Provider.PAYMENTS,
            kind,
            reference=intent.reference,
            object_id=intent.id,
            caller=caller,
            live=live,
            amount=amount,
            currency=intent.currency,
        )

    def _timestamp(self) -> int:
        return int(self.exchange.journal.now().timestamp())


def check_key(caller: Caller) -> None:
    """Refuse an idempotency key that is too long.

    Raises:
        StripeError: It is.
    """
    key = caller.idempotency_key
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise StripeError(
            error_reply(
                400,
                "idempotency_error",
                f"Idempotency keys may have {MAX_KEY_LENGTH} characters, got {len(key)}.",
            )
        )
