"""The world of the reference checkout: the sandbox's providers and the shop's own database, in this process.

The shop's database writes down by triggers what happened to its orders and carts, so that what is true is the
database's own word. Keys are made from the order that a provider knows, never from what a connector sent: two charges
for one order are two effects of one key, whatever keys they came with.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.carts.sql import SqlCarts
from activities.email.contract import Sent, send_receipt
from activities.email.outbox import LedgerOutbox
from activities.email.smtp import SmtpEmail
from activities.fulfilment.webhook import WebhookFulfilment
from activities.inventory.http import HttpInventory
from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.sql import SqlOrders
from activities.orders.tables import create_tables, open_cart
from activities.payments.stripe import StripePayments
from kit.contract import Role
from kit.ledger import TransactionalLedger
from kit.testing import sandbox
from kit.testing.runs import Ending, Run, Truth
from kit.testing.sandbox import EffectKind, EffectRecord, SandboxApp
from kit.testing.sandbox.webhooks import FULFILMENT_PATH
from kit.testing.wire import Wire
from kit.testing.wire.sql import SqlTemplate
from kit.testing.world import Invariant, Subject, World
from kit.worker import Call, Connector, http_client
from kit.workflow import Task
from workflows.checkout import Checkout, CheckoutRequest
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID, RECEIPT_HAS_ORDER

ORDER: Final = "ORDER-1"
CART: Final = "CART-1"
SKU: Final = "BOOK"
AMOUNT: Final = 4999
CURRENCY: Final = "usd"

REQUEST: Final = CheckoutRequest(
    order_id=ORDER,
    cart_id=CART,
    sku=SKU,
    quantity=2,
    amount=AMOUNT,
    currency=CURRENCY,
    payment_method="pm_card_visa",
    email="customer@example.com",
)

LATE: Final = {
    "payments": timedelta(seconds=5),
    "inventory": timedelta(seconds=2),
    "fulfilment": timedelta(seconds=5),
    "email": timedelta(minutes=1),
}
"""How late each system really is, whatever a contract says of it."""

_ENDED: Final = frozenset({Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED})
_STEP: Final = 1000
"""Between two effects of the sandbox there is room for as many changes of the shop's database."""

_RECORD: Final = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, what TEXT, id TEXT, order_id TEXT, after INTEGER)",
    "CREATE TRIGGER order_made AFTER INSERT ON orders BEGIN INSERT INTO record (what, id, order_id, after) "
    "VALUES ('order made', NEW.id, NEW.id, effects_so_far()); END",
    "CREATE TRIGGER cart_changed AFTER UPDATE OF status ON carts BEGIN INSERT INTO record (what, id, order_id, after) "
    "VALUES ('cart ' || NEW.status, NEW.id, NEW.order_id, effects_so_far()); END",
)


async def _build(engine: AsyncEngine) -> None:
    await create_tables(engine)
    await TransactionalLedger(engine).create_schema()
    async with engine.begin() as tx:
        for statement in _RECORD:
            await tx.exec_driver_sql(statement)
    await open_cart(engine, CART)


SHOP: Final = SqlTemplate(_build)
"""The shop's database with one open cart."""


class CheckoutWorld(World):
    """Payments, warehouse, fulfilment partner and mail server of one shop, and its own database."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.app = SandboxApp(now=wire.time)
        self.engine = wire.sql(
            system="shop", functions={"effects_so_far": lambda: len(self.app.exchange.journal.effects())}
        )
        self._connectors = self.connect()

    async def open(self) -> None:
        """Open the cart."""
        await SHOP.copy_to(self.engine)

    def connect(self) -> tuple[Connector, ...]:
        """The connectors of the service, on the wire."""
        database = TransactionalLedger(self.engine)
        return (
            StripePayments(self.client("payments", Authorization="Bearer sk_test_sandbox")),
            HttpInventory(self.client("inventory")),
            SqlOrders(database),
            SqlCarts(database),
            WebhookFulfilment(self.client("fulfilment"), url=FULFILMENT_PATH, secret=self.app.webhook_secret),
            SmtpEmail("mail.test", 25, client=self.wire.smtp(self.app.mailbox, system="email", late=LATE["email"])),
            LedgerOutbox(self.ledger),
        )

    def client(self, system: str, **headers: str) -> httpx.AsyncClient:
        """An HTTP client to one of the sandbox's providers."""
        transport = self.wire.http(self.app, system=system, refused=refused, late=LATE[system])
        return http_client(f"http://{system}.test", transport=transport, headers=headers)

    @property
    def connectors(self) -> Sequence[Connector]:
        """See base class."""
        return self._connectors

    async def truth(self) -> list[Truth]:
        """See base class."""
        effects = [found for effect in self.app.exchange.journal.effects() if (found := self._effect(effect))]
        return sorted([*effects, *self._orders(), *self._carts()], key=lambda effect: effect.order)

    async def found(self, task: Task, key: str) -> Sent | None:
        """The receipt in the customer's mailbox."""
        effects = self.app.exchange.journal.effects()
        sent = [e.object_id for e in effects if e.kind is EffectKind.SENT and f"receipt:{e.reference}" == key]
        return Sent(message_id=sent[0]) if sent and task.operation == send_receipt.name else None

    async def state(self) -> bytes:
        """See base class."""
        return self.app.state() + self.engine.dump()

    def charged(self, order_id: str) -> int:
        """What the order has paid and not got back, in minor units."""
        intents = self.app.payments.intents.values()
        return sum(i.amount_received - i.amount_refunded for i in intents if i.reference == order_id)

    def order_status(self, order_id: str) -> str | None:
        """How the order stands in the shop's database."""
        rows = self.engine.rows("SELECT id, status FROM orders")
        return dict(rows).get(order_id)

    def cart_status(self, cart_id: str) -> str:
        """How the cart stands in the shop's database."""
        return str(dict(self.engine.rows("SELECT id, status FROM carts"))[cart_id])

    def _effect(self, effect: EffectRecord) -> Truth | None:
        order = effect.reference
        match effect.kind:
            case EffectKind.AUTHORIZED:
                operation, key, live = "payments.authorize", f"authorize:{order}", self._holds_or_took(effect.object_id)
            case EffectKind.CAPTURED:
                operation, key, live = "payments.capture", f"capture:{order}", effect.live
            case EffectKind.RESERVED:
                # The warehouse knows no orders, only the reference of whoever asks; here that is one order.
                operation, key, live = "inventory.reserve", f"reserve:{ORDER}:{effect.details['sku']}", effect.live
            case EffectKind.DELIVERED:
                operation, key, live = "fulfilment.request_shipment", f"ship:{order}", effect.live
            case EffectKind.SENT:
                operation, key, live = "email.send_receipt", f"receipt:{order}", effect.live
            case _:
                return None  # the end of another effect
        system = operation.partition(".")[0]
        return Truth(system, operation, key, live, effect.sequence * _STEP, _told(effect, live=live))

    def _holds_or_took(self, intent_id: str) -> bool:
        intent = self.app.payments.intents[intent_id]
        return intent.status == "requires_capture" or intent.amount_received > intent.amount_refunded

    def _orders(self) -> list[Truth]:
        made = self.engine.rows("SELECT id, after, seq FROM record WHERE what = 'order made'")
        found = []
        for order, after, seq in made:
            status = self.order_status(order)
            live = status is not None and status != OrderStatus.CANCELLED
            text = f"created order {order}, it is {status}"
            found.append(Truth("shop", "orders.create", f"create-order:{order}", live, after * _STEP + seq, text))
        return found

    def _carts(self) -> list[Truth]:
        completed = self.engine.rows(
            f"SELECT id, order_id, after, seq FROM record WHERE what = 'cart {CartStatus.COMPLETED}'"  # noqa: S608 - ours
        )
        found = []
        for place, (cart, order, after, seq) in enumerate(completed, start=1):
            live = place == len(completed) and self.cart_status(cart) == CartStatus.COMPLETED
            text = f"completed cart {cart} of order {order}" + ("" if live else ", taken back since")
            key = f"complete-cart:{cart}:{order}"
            found.append(Truth("shop", "carts.complete", key, live, after * _STEP + seq, text))
        return found


def refused(call: Call, request: httpx.Request) -> httpx.Response:
    """How each provider says no, in its own words."""
    asked = (call.operation.name, call.role)
    status, body = _REFUSALS.get(asked, (403, _stripe("invalid_request_error", "no_permission")))
    return httpx.Response(status, json=body, request=request)


def _stripe(kind: str, code: str) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": f"refused: {code}"}}


_REFUSALS: Final = {
    ("payments.authorize", Role.ACTION): (402, _stripe("card_error", "card_declined")),
    ("payments.capture", Role.ACTION): (400, _stripe("invalid_request_error", "charge_expired_for_capture")),
    ("inventory.reserve", Role.ACTION): (409, {"error": "out_of_stock"}),
    ("fulfilment.request_shipment", Role.ACTION): (422, {"error": "refused"}),
}


def _told(effect: EffectRecord, *, live: bool) -> str:
    amount = "" if effect.amount is None else f" {effect.amount / 100:.2f} {effect.currency}"
    quantity = "" if effect.quantity is None else f" {effect.quantity} of {effect.details.get('sku')}"
    return f"{effect.kind.value}{amount}{quantity} for {effect.reference}" + ("" if live else ", taken back since")


# -- the shop's own rules ----------------------------------------------------------------------------------------------


def _harmless(world: CheckoutWorld, run: Run) -> list[str]:
    return [violation.message for violation in sandbox.violations(world.app.exchange.journal.effects())]


def _paid_in_full(world: CheckoutWorld, run: Run) -> list[str]:
    paid = world.charged(ORDER)
    if run.ending is Ending.COMPLETED and paid != AMOUNT:
        return [f"{ORDER!r} is placed, and has paid {paid} of {AMOUNT}"]
    if run.ending in _ENDED and paid:
        return [f"{ORDER!r} was not placed ({run.ending.value}), and has paid {paid}"]
    return []


def _shop_agrees(world: CheckoutWorld, run: Run) -> list[str]:
    order, cart = world.order_status(ORDER), world.cart_status(CART)
    if run.ending is Ending.COMPLETED and (order, cart) != (OrderStatus.PLACED, CartStatus.COMPLETED):
        return [f"the checkout completed, and order {ORDER!r} is {order!r}, cart {CART!r} {cart!r}"]
    if run.ending in _ENDED and (order not in (None, OrderStatus.CANCELLED) or cart != CartStatus.OPEN):
        return [f"the checkout ended {run.ending.value}, and order {ORDER!r} is {order!r}, cart {CART!r} {cart!r}"]
    return []


CHECKOUT: Final = Subject(
    workflow=Checkout,
    request=REQUEST,
    world=CheckoutWorld,
    invariants=(
        Invariant("no order has an effect twice", _harmless),
        Invariant("a placed order is paid in full, another one is not paid", _paid_in_full),
        Invariant("order and cart stand as the checkout ended", _shop_agrees),
        CAPTURED_HAS_ORDER,
        ORDER_IS_PAID,
        RECEIPT_HAS_ORDER,
    ),
)
"""The reference checkout, as a sweep takes it."""
