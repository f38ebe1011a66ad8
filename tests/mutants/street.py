"""A world with somebody else in it: another order, which no fault of this one may touch.

For faults that reach for the wrong object. Yesterday the same customer ordered the same book: money is held, pieces are
reserved, the cart is checked out. Their receipts would meet in a key that forgets the order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import httpx
from sqlalchemy import insert

from activities.email.contract import SendReceipt, Sent, send_receipt
from activities.orders.contract import CartStatus
from activities.orders.tables import carts
from kit.contract import fingerprint
from kit.ledger.states import ClaimAction, Complete, Entry, State
from kit.testing import Invariant, Run, Truth
from kit.testing.sandbox import EffectKind
from tests.worlds.checkout import AMOUNT, CHECKOUT, CURRENCY, REQUEST, SKU, CheckoutWorld
from workflows.invariants.checkout import RECEIPT_HAS_ORDER

_HEADERS: Final = {"Authorization": "Bearer sk_test_sandbox"}

OTHER: Final = "YESTERDAY"
"""The other order; its cart and its run are named after it, too."""


class Street(CheckoutWorld):
    """The checkout's world, the day after another order."""

    async def open(self) -> None:
        """See base class."""
        await super().open()
        way = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=way, base_url="http://yesterday.test", headers=_HEADERS) as http:
            held = {
                "amount": str(AMOUNT),
                "currency": CURRENCY,
                "payment_method": "pm_card_visa",
                "capture_method": "manual",
                "confirm": "true",
                "metadata[order_id]": OTHER,
                "metadata[kit_key]": f"authorize:{OTHER}",
            }
            (await http.post("/v1/payment_intents", data=held)).raise_for_status()
            set_aside = {"reference": f"reserve:{OTHER}:{SKU}", "sku": SKU, "quantity": 2}
            (await http.post("/stock/reservations", json=set_aside)).raise_for_status()
        async with self.engine.begin() as tx:
            await tx.execute(insert(carts).values(id=OTHER, status=CartStatus.CHECKED_OUT, order_id=OTHER))
        await self._receipt_sent()

    async def _receipt_sent(self) -> None:
        """What the ledger remembers of the other order: its receipt went out, under whatever key that gave."""
        request = SendReceipt(order_id=OTHER, to=REQUEST.email, amount=AMOUNT, currency=CURRENCY)
        now = datetime(2000, 1, 1, tzinfo=UTC)
        row = Entry(
            key=send_receipt.key_for(request, workflow_id=OTHER),
            fingerprint=fingerprint(send_receipt.name, request),
            operation=send_receipt.name,
            version=send_receipt.version,
            state=State.CLAIMED,
            saga=OTHER,
            run_id=OTHER,
            step=1,
            correlation_id=OTHER,
            request=request.model_dump_json().encode(),
            owner=OTHER,
            lease_until=now,
            first_claimed_at=now,
            updated_at=now,
        )
        await self.ledger.apply(ClaimAction(entry=row, now=now))
        sent = Sent(message_id=OTHER).model_dump_json().encode()
        await self.ledger.apply(Complete(key=row.key, owner=row.owner, result=sent, now=now))

    async def truth(self) -> list[Truth]:
        """See base class. What belongs to the other order is none of the run's business."""
        return [effect for effect in await super().truth() if OTHER not in effect.text]

    def others(self) -> dict[str, str]:
        """How what belongs to the other order stands."""
        live = {e.kind for e in self.app.exchange.journal.effects() if OTHER in e.reference and e.live}
        return {
            "authorization": "held" if EffectKind.AUTHORIZED in live else "gone",
            "reservation": "held" if EffectKind.RESERVED in live else "gone",
            "cart": self.cart_status(OTHER),
        }


def _untouched(world: Street, run: Run) -> list[str]:
    expected = {"authorization": "held", "reservation": "held", "cart": CartStatus.CHECKED_OUT.value}
    return [f"{what} of the other order is {how!r}" for what, how in world.others().items() if how != expected[what]]


# The other order is half a one on purpose: its receipt went out, and its payment is only held.
_ASKED: Final = tuple(each for each in CHECKOUT.invariants if each is not RECEIPT_HAS_ORDER)

STREET: Final = replace(
    CHECKOUT,
    world=Street,
    invariants=(*_ASKED, Invariant("nothing of another order is touched", _untouched)),
)
"""The checkout, the day after another order."""
