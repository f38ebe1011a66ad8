"""A world with somebody else in it: other orders, which no fault of this one may touch.

For faults that reach for the wrong object. Yesterday the same customer ordered the same book: money is held, pieces are
reserved, the cart is checked out. Last week they ordered another, which is paid and placed, and its receipt was sent:
two receipts would meet in a key that forgets the order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from sqlalchemy import insert

from activities.email.contract import SendReceipt, Sent, send_receipt
from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.tables import carts, orders
from kit.contract import fingerprint
from kit.ledger.states import ClaimAction, Complete, Entry, State
from kit.testing import Invariant, Run, Truth
from kit.testing.sandbox import EffectKind
from tests.worlds.checkout import AMOUNT, CHECKOUT, CURRENCY, REQUEST, SKU, CheckoutWorld

_HEADERS: Final = {"Authorization": "Bearer sk_test_sandbox"}

OTHER: Final = "YESTERDAY"
"""The other order, which is under way; its cart is named after it, too."""

DONE: Final = "LAST-WEEK"
"""The order that is done; its cart and its run are named after it, too."""


class Street(CheckoutWorld):
    """The checkout's world, after two other orders."""

    async def open(self) -> None:
        """See base class."""
        await super().open()
        way = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=way, base_url="http://yesterday.test", headers=_HEADERS) as http:
            paid = await http.post("/v1/payment_intents", data=_payment(DONE, capture="automatic"))
            payment_intent = paid.raise_for_status().json()["id"]
            (await http.post("/v1/payment_intents", data=_payment(OTHER, capture="manual"))).raise_for_status()
            set_aside = {"reference": f"reserve:{OTHER}:{SKU}", "sku": SKU, "quantity": 2}
            (await http.post("/stock/reservations", json=set_aside)).raise_for_status()
        async with self.engine.begin() as tx:
            await tx.execute(insert(carts).values(id=OTHER, status=CartStatus.CHECKED_OUT, order_id=OTHER))
            await tx.execute(insert(carts).values(id=DONE, status=CartStatus.COMPLETED, order_id=DONE))
            await tx.execute(insert(orders).values(**_placed(payment_intent)))
        await self._receipt_sent()

    async def _receipt_sent(self) -> None:
        """What the ledger remembers of the order that is done: its receipt went out, under whatever key that gave."""
        request = SendReceipt(order_id=DONE, to=REQUEST.email, amount=AMOUNT, currency=CURRENCY)
        now = datetime(2000, 1, 1, tzinfo=UTC)
        row = Entry(
            key=send_receipt.key_for(request, workflow_id=DONE),
            fingerprint=fingerprint(send_receipt.name, request),
            operation=send_receipt.name,
            version=send_receipt.version,
            state=State.CLAIMED,
            saga=DONE,
            run_id=DONE,
            step=1,
            correlation_id=DONE,
            request=request.model_dump_json().encode(),
            owner=DONE,
            lease_until=now,
            first_claimed_at=now,
            updated_at=now,
        )
        await self.ledger.apply(ClaimAction(entry=row, now=now))
        sent = Sent(message_id=DONE).model_dump_json().encode()
        await self.ledger.apply(Complete(key=row.key, owner=row.owner, result=sent, now=now))

    async def truth(self) -> list[Truth]:
        """See base class. What belongs to the other orders is none of the run's business."""
        return [one for one in await super().truth() if OTHER not in one.text and DONE not in one.text]

    def others(self) -> dict[str, str]:
        """How what belongs to the other orders stands."""
        live = {e.kind for e in self.app.exchange.journal.effects() if OTHER in e.reference and e.live}
        return {
            "authorization": "held" if EffectKind.AUTHORIZED in live else "gone",
            "reservation": "held" if EffectKind.RESERVED in live else "gone",
            "cart": self.cart_status(OTHER),
            "payment": str(self.charged(DONE)),
        }


def _payment(order: str, *, capture: str) -> dict[str, str]:
    """How the provider was asked for the money of another order."""
    return {
        "amount": str(AMOUNT),
        "currency": CURRENCY,
        "payment_method": "pm_card_visa",
        "capture_method": capture,
        "confirm": "true",
        "metadata[order_id]": order,
        "metadata[kit_key]": f"authorize:{order}",
    }


def _placed(payment_intent: str) -> dict[str, Any]:
    """The row of the order that is done."""
    return {
        "id": DONE,
        "cart_id": DONE,
        "sku": SKU,
        "quantity": 2,
        "amount": AMOUNT,
        "currency": CURRENCY,
        "payment_intent": payment_intent,
        "reservation_id": DONE,
        "status": OrderStatus.PLACED,
    }


def _untouched(world: Street, run: Run) -> list[str]:
    expected = {
        "authorization": "held",
        "reservation": "held",
        "cart": CartStatus.CHECKED_OUT.value,
        "payment": str(AMOUNT),
    }
    return [f"{what} of another order is {how!r}" for what, how in world.others().items() if how != expected[what]]


STREET: Final = replace(
    CHECKOUT,
    world=Street,
    invariants=(*CHECKOUT.invariants, Invariant("nothing of another order is touched", _untouched)),
)
"""The checkout, after two other orders."""
