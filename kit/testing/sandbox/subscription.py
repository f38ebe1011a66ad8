"""The subscription: what a customer is charged for again and again, in Stripe's words."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class Subscription:
    """One subscription with one item, paid for one period."""

    id: str
    item: str
    price: str
    currency: str
    customer: str
    created: int
    period_start: datetime
    period_end: datetime
    invoice: str
    amount_paid: int
    payment_intent: str
    metadata: dict[str, str] = field(default_factory=dict)
    status: str = "active"
    canceled_at: int | None = None
    cancel_at_period_end: bool = False
    comment: str | None = None

    def wire(self, *, invoice: bool = False) -> dict[str, Any]:
        """The subscription as Stripe writes it, without the fields nobody here reads.

        Args:
            invoice: Whether the latest invoice is written out; else its id alone.
        """
        start, end = int(self.period_start.timestamp()), int(self.period_end.timestamp())
        reason = "cancellation_requested" if self.canceled_at is not None else None
        return {
            "id": self.id,
            "object": "subscription",
            "cancel_at_period_end": self.cancel_at_period_end,
            "canceled_at": self.canceled_at,
            "cancellation_details": {"comment": self.comment, "feedback": None, "reason": reason},
            "created": self.created,
            "currency": self.currency,
            "current_period_end": end,
            "current_period_start": start,
            "customer": self.customer,
            "ended_at": self.canceled_at if self.status == "canceled" else None,
            "items": {
                "object": "list",
                "has_more": False,
                "url": f"/v1/subscription_items?subscription={self.id}",
                "data": [
                    {
                        "id": self.item,
                        "object": "subscription_item",
                        "price": {"id": self.price, "object": "price", "currency": self.currency},
                        "quantity": 1,
                        "subscription": self.id,
                    }
                ],
            },
            "latest_invoice": self._invoice(start, end) if invoice else self.invoice,
            "livemode": False,
            "metadata": dict(self.metadata),
            "start_date": start,
            "status": self.status,
        }

    def _invoice(self, start: int, end: int) -> dict[str, Any]:
        return {
            "id": self.invoice,
            "object": "invoice",
            "amount_paid": self.amount_paid,
            "currency": self.currency,
            "customer": self.customer,
            "payment_intent": self.payment_intent,
            "period_end": end,
            "period_start": start,
            "status": "paid",
            "subscription": self.id,
        }
