"""The payment intent: one attempt to take money, in Stripe's words."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class PaymentIntent:
    """One attempt to take money; `status` walks through Stripe's states."""

    id: str
    amount: int
    currency: str
    capture_method: str
    created: int
    status: str
    payment_method: str | None
    metadata: dict[str, str] = field(default_factory=dict)
    amount_received: int = 0
    amount_refunded: int = 0
    latest_charge: str | None = None
    cancellation_reason: str | None = None
    canceled_at: int | None = None
    last_payment_error: dict[str, Any] | None = None

    @property
    def reference(self) -> str:
        """What the record of effects calls it."""
        return self.metadata.get("order_id") or self.metadata.get("subscription_id") or self.id

    def wire(self, *, charge: bool = False) -> dict[str, Any]:
        """The payment intent as Stripe writes it, without the fields nobody here reads.

        Args:
            charge: Write the latest charge out, as ``expand[]=latest_charge`` asks for, and not its id only.
        """
        return {
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": self.amount if self.status == "requires_capture" else 0,
            "amount_received": self.amount_received,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": self.capture_method,
            "created": self.created,
            "currency": self.currency,
            "last_payment_error": self.last_payment_error,
            "latest_charge": self._charge() if charge else self.latest_charge,
            "livemode": False,
            "metadata": dict(self.metadata),
            "payment_method": self.payment_method,
            "payment_method_types": ["card"],
            "status": self.status,
        }

    def _charge(self) -> dict[str, Any] | None:
        if self.latest_charge is None:
            return None
        return {
            "id": self.latest_charge,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount_received,
            "amount_refunded": self.amount_refunded,
            "created": self.created,
            "refunded": 0 < self.amount_received == self.amount_refunded,
        }
