"""Billing as Stripe's subscriptions: retrieve, list, change of plan, cancellation at once or at the period's end.

A connector written for this provider works against Stripe with another base URL. It is the same account as payments:
the same credentials, the same idempotency keys, and a refund of what a subscription has paid is one of its payment
intent (`POST /v1/refunds`).

As with Stripe, what has ended answers a further cancellation as if it had never been (404 `resource_missing`), and is
found all the same when it is retrieved. A DELETE takes no idempotency key; a POST does.

The reference of every effect is the subscription's id.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Provider
from kit.testing.sandbox.payment_replies import fault_reply, page
from kit.testing.sandbox.payments import Payments, check_key
from kit.testing.sandbox.records import Caller, EffectKind
from kit.testing.sandbox.stripe_wire import StripeError, choice, error_reply, invalid, metadata_of
from kit.testing.sandbox.subscription import Subscription

PRICES: Final[Mapping[str, int]] = {"price_starter": 1900, "price_pro": 9900, "price_enterprise": 49900}
"""What may be subscribed to, and what a period of it costs, in minor units."""

PERIOD: Final = timedelta(days=30)
"""How long what was paid lasts."""

_STATUSES: Final = (
    "all", "ended", "active", "past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "trialing",
    "paused",
)  # fmt: skip
_PRORATIONS: Final = ("create_prorations", "always_invoice", "none")


class Billing:
    """The billing provider: its subscriptions, and what each call does to them.

    Args:
        exchange: What all providers of the sandbox share.
        payments: The same account's payments.
    """

    def __init__(self, exchange: Exchange, payments: Payments) -> None:
        self.exchange = exchange
        self.subscriptions: dict[str, Subscription] = {}
        self._payments = payments
        self._ids = count(1)  # never restarted, see `Payments`

    def clear(self) -> None:
        """Forget every subscription."""
        self.subscriptions.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (list(self.subscriptions.values()), repr(self._ids))

    def subscribe(
        self,
        subscription_id: str,
        *,
        account_id: str,
        price: str = "price_starter",
        currency: str = "usd",
        since: datetime | None = None,
    ) -> Subscription:
        """Make a subscription as if the customer had taken it out, and paid its first period, some time ago.

        Args:
            subscription_id: Its id.
            account_id: Whose it is; in its metadata.
            price: One of `PRICES`.
            currency: What it is paid in.
            since: When its period began; now by default.

        Raises:
            ValueError: There is one of this id, or no such price.
        """
        if subscription_id in self.subscriptions:
            raise ValueError(f"there is a subscription {subscription_id!r}; use another id")
        if price not in PRICES:
            raise ValueError(f"price {price!r} is none of {', '.join(PRICES)}")
        since = since or self.exchange.journal.now()
        number = next(self._ids)
        paid = self._payments.taken(PRICES[price], currency, metadata={"subscription_id": subscription_id})
        subscription = Subscription(
            id=subscription_id,
            item=f"si_sandbox_{number}",
            price=price,
            currency=currency,
            customer=f"cus_sandbox_{number}",
            created=int(since.timestamp()),
            period_start=since,
            period_end=since + PERIOD,
            invoice=f"in_sandbox_{number}",
            amount_paid=paid.amount_received,
            payment_intent=paid.id,
            metadata={"account_id": account_id},
        )
        self.subscriptions[subscription_id] = subscription
        return subscription

    async def serve(
        self, request: Request, execute: Callable[[], Reply], params: Mapping[str, str] | None = None
    ) -> Reply:
        """Serve one call; `params` are those of a POST, which is where idempotency keys count."""
        key = request.caller.idempotency_key
        keys = self._payments.keys
        slot = keys.slot(key, path=request.path, params=params) if key and params is not None else None
        return await self.exchange.serve(Provider.BILLING, request, execute=execute, fault_reply=fault_reply, key=slot)

    # As in `Payments`: each validates at once and returns the execution.

    def retrieve(self, subscription_id: str, *, invoice: bool) -> Callable[[], Reply]:
        """`GET /v1/subscriptions/{id}`, also after its end."""
        return lambda: Reply(200, self._known(subscription_id).wire(invoice=invoice))

    def list_subscriptions(self, status: str, limit: int, *, after: str | None) -> Callable[[], Reply]:
        """`GET /v1/subscriptions`, newest first, `limit` on a page; without a status those that have not ended."""
        if status and status not in _STATUSES:
            raise invalid(f"Invalid status: must be one of {', '.join(_STATUSES)}, got {status!r}.", param="status")
        if after is not None:
            self._known(after, status=400)

        def wanted(subscription: Subscription) -> bool:
            if status in ("", "all"):
                return status == "all" or subscription.status != "canceled"
            return subscription.status == ("canceled" if status == "ended" else status)

        def execute() -> Reply:
            newest = [each for each in reversed(self.subscriptions.values()) if wanted(each)]
            ids = [each.id for each in newest]
            rest = newest if after is None else newest[ids.index(after) + 1 :] if after in ids else []
            found = [each.wire() for each in rest[:limit]]
            return Reply(200, page("list", "/v1/subscriptions", found, has_more=len(rest) > limit))

        return execute

    def update(
        self, subscription_id: str, params: Mapping[str, str], caller: Caller, *, invoice: bool
    ) -> Callable[[], Reply]:
        """`POST /v1/subscriptions/{id}`: another price, metadata, or the end of the period as its end."""
        check_key(caller)
        subscription = self._known(subscription_id)
        price = params.get("items[0][price]")
        if price is not None and price not in PRICES:
            raise invalid(f"No such price: {price!r}", code="resource_missing", param="items[0][price]")
        item = params.get("items[0][id]")
        if item != (subscription.item if price is not None else None):
            # Stripe would add an item to the subscription, which has one here.
            raise invalid(f"Invalid subscription item: {item!r}", code="resource_missing", param="items[0][id]")
        at_period_end = choice(params, "cancel_at_period_end", ("true", "false", ""), default="")
        choice(params, "proration_behavior", _PRORATIONS, default="create_prorations")

        def execute() -> Reply:
            if subscription.status == "canceled":
                message = "A canceled subscription can only update its cancellation_details and metadata."
                return error_reply(400, "invalid_request_error", message, remember=True)
            # An empty value removes a key (https://docs.stripe.com/api/metadata).
            metadata = {**subscription.metadata, **metadata_of(params)}
            subscription.metadata = {name: value for name, value in metadata.items() if value}
            if at_period_end:
                subscription.cancel_at_period_end = at_period_end == "true"
            if price is not None and price != subscription.price:
                self._charge(subscription, price, caller)
            return Reply(200, subscription.wire(invoice=invoice))

        return execute

    def cancel(
        self, subscription_id: str, params: Mapping[str, str], caller: Caller, *, invoice: bool
    ) -> Callable[[], Reply]:
        """`DELETE /v1/subscriptions/{id}`: it ends at once."""
        subscription = self._known(subscription_id)
        for name in ("prorate", "invoice_now"):
            choice(params, name, ("true", "false"), default="false")

        def execute() -> Reply:
            if subscription.status == "canceled":
                return _missing(subscription_id).reply
            subscription.status = "canceled"
            subscription.canceled_at = self._timestamp()
            subscription.comment = params.get("cancellation_details[comment]")
            self._did(EffectKind.CANCELED, subscription, caller)
            return Reply(200, subscription.wire(invoice=invoice))

        return execute

    def _known(self, subscription_id: str, *, status: int = 404) -> Subscription:
        """The subscription of that id.

        Raises:
            StripeError: There is none.
        """
        if subscription_id not in self.subscriptions:
            raise _missing(subscription_id, status=status)
        return self.subscriptions[subscription_id]

    def _charge(self, subscription: Subscription, price: str, caller: Caller) -> None:
        before, subscription.price = subscription.price, price
        # What stands is the latest change: the one before it is over.
        self.exchange.journal.ended(Provider.BILLING, EffectKind.PLAN_CHANGED, subscription.id)
        self._did(EffectKind.PLAN_CHANGED, subscription, caller, details={"from": before, "to": price})

    def _did(
        self,
        kind: EffectKind,
        subscription: Subscription,
        caller: Caller,
        *,
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.exchange.journal.did(
            Provider.BILLING,
            kind,
            reference=subscription.id,
            object_id=subscription.id,
            caller=caller,
            details=details,
        )

    def _timestamp(self) -> int:
        return int(self.exchange.journal.now().timestamp())


def _missing(subscription_id: str, *, status: int = 404) -> StripeError:
    return invalid(f"No such subscription: {subscription_id!r}", code="resource_missing", param="id", status=status)
