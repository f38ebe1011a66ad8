"""The stage of the checkout: its providers on real sockets, its shop and its ledger in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.tables import cart_status, create_tables, open_cart, order_status
from activities.orders.tables import carts as cart_rows
from kit.ledger import TransactionalLedger
from kit.testing.gates.rollback import Stage
from kit.testing.runs import Ending
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox, violations
from workflows.checkout import Checkout, CheckoutRequest

SKU: Final = "BOOK"

COMPLETE: Final = Counter({EffectKind.RESERVED: 1, EffectKind.CAPTURED: 1, EffectKind.DELIVERED: 1, EffectKind.SENT: 1})
"""The live effects of an order that went through."""


class CheckoutStage(Stage):
    """Orders that go through, and orders that are taken back, each with a cart of its own."""

    scenarios: ClassVar = {"clean": Checkout, "card declined": Checkout, "cart taken": Checkout}

    def __init__(self) -> None:
        self._sandbox: Sandbox | None = None
        self._shop: AsyncEngine | None = None

    def request(self, scenario: str, number: int) -> CheckoutRequest:
        """See base class."""
        return CheckoutRequest(
            order_id=f"ORDER-{number}.",
            cart_id=f"CART-{number}.",
            sku=SKU,
            quantity=1,
            amount=4999,
            currency="usd",
            payment_method="pm_card_visa",
            email="ann@example.com",
        )

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Mapping[str, str]]:
        """See base class."""
        shop_url = f"sqlite+aiosqlite:///{folder / 'shop.db'}"
        self._shop = create_async_engine(shop_url)
        await create_tables(self._shop)
        await TransactionalLedger(self._shop).create_schema()
        async with Sandbox.start() as self._sandbox:
            sandbox = self._sandbox
            await sandbox.control.set_stock(SKU, units=1000)
            yield {
                "CHECKOUT_LEDGER_URL": f"sqlite:///{folder / 'effects.db'}",
                "CHECKOUT_SHOP_URL": shop_url,
                "CHECKOUT_PAYMENTS_URL": sandbox.url,
                "CHECKOUT_PAYMENTS_KEY": "sk_test_sandbox",
                "CHECKOUT_STOCK_URL": sandbox.url,
                "CHECKOUT_FULFILMENT_URL": sandbox.webhook_url,
                "CHECKOUT_FULFILMENT_SECRET": sandbox.webhook_secret,
                "CHECKOUT_SMTP_HOST": sandbox.smtp_host,
                "CHECKOUT_SMTP_PORT": str(sandbox.smtp_port),
            }
        await self._shop.dispose()

    async def prepare(self, scenario: str, number: int) -> None:
        """See base class."""
        assert self._shop is not None
        assert self._sandbox is not None
        order = self.request(scenario, number)
        await open_cart(self._shop, order.cart_id)
        if scenario == "card declined":
            await self._sandbox.control.fault(Operation.AUTHORIZE, FaultKind.REFUSE, match=order.order_id)
        if scenario == "cart taken":
            async with self._shop.begin() as tx:
                await tx.execute(
                    cart_rows.update()
                    .where(cart_rows.c.id == order.cart_id)
                    .values(status=CartStatus.CHECKED_OUT, order_id="ORDER-0")
                )

    async def check(self, scenario: str, number: int, ending: Ending) -> Iterable[str]:
        """See base class."""
        assert self._shop is not None
        assert self._sandbox is not None
        order = self.request(scenario, number)
        # The warehouse refers to a reservation by its key, of which the order is a part.
        effects = [one for one in await self._sandbox.control.effects() if order.order_id in one.reference]
        live = Counter(effect.kind for effect in effects if effect.live)
        placed = await order_status(self._shop, order.order_id)
        cart = await cart_status(self._shop, order.cart_id)
        wrong = [violation.message for violation in violations(effects)]
        if ending is Ending.COMPLETED:
            if live != COMPLETE:
                wrong.append(f"the order went through, but what stands is {_told(live)}")
            if (placed, cart) != (OrderStatus.PLACED, CartStatus.COMPLETED):
                wrong.append(f"the order went through, but is {placed} and its cart {cart}")
        elif ending in (Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED):
            if live:
                wrong.append(f"the order did not go through, but what stands is {_told(live)}")
            if placed not in (None, OrderStatus.CANCELLED):
                wrong.append(f"the order did not go through, but is {placed}")
        return wrong


def _told(live: Counter[EffectKind]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(live.items())) or "nothing"


STAGE: Final = CheckoutStage()
"""What ``[tool.kit] rollback`` names."""
