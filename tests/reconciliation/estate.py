"""The shop's systems in this process, to be broken on purpose: real connectors, real database, sandbox providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.billing.stripe import StripeBilling
from activities.crm.hubspot import HubSpotCrm
from activities.email.outbox import LedgerOutbox
from activities.entitlements.http import HttpEntitlements
from activities.orders.contract import OrderStatus
from activities.orders.sql import SqlOrders
from activities.orders.tables import create_tables, orders
from activities.payments.stripe import StripePayments
from activities.subscriptions.contract import SubscriptionStatus
from activities.subscriptions.sql import SqlSubscriptions
from activities.subscriptions.tables import add_subscription, subscriptions
from activities.subscriptions.tables import create_tables as create_subscriptions
from kit.ledger import ClaimAction, Complete, Entry, Ledger, MemoryLedger, State, TransactionalLedger
from kit.testing.sandbox import SandboxApp
from kit.worker import Connector, ReliabilityPlugin, http_client
from kit.workflow import ReconciliationReport, ReconciliationRequest
from tests.harness import Running, running
from workflows.reconciliation import Reconcile

AMOUNT: Final = 4999


class Street(httpx.AsyncBaseTransport):
    """The way to the providers: keeps a list of what was asked for, and may be closed at one house."""

    def __init__(self, app: SandboxApp) -> None:
        self._inner = httpx.ASGITransport(app)
        self.asked: list[str] = []
        self.refused: tuple[str, str] | None = None
        self.hear: Callable[[httpx.Request], Awaitable[None]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass one request on."""
        self.asked.append(f"{request.url.path}?{request.url.query.decode()}")
        if self.hear is not None:
            await self.hear(request)
        if self.refused is not None:
            path, about = self.refused
            if path in request.url.path and about in (await request.aread()).decode():
                return httpx.Response(403, json={"error": {"type": "permission", "message": "no"}}, request=request)
        return await self._inner.handle_async_request(request)


@dataclass
class Estate:
    """The systems of one test."""

    server: WorkflowEnvironment
    app: SandboxApp
    street: Street
    engine: AsyncEngine
    database: TransactionalLedger
    connectors: Sequence[Connector]
    ledger: Ledger = field(default_factory=MemoryLedger)
    cached: bool = True

    @classmethod
    @asynccontextmanager
    async def open(
        cls, server: WorkflowEnvironment, folder: Path, *, cached: bool = True, ledger: Ledger | None = None
    ) -> AsyncIterator[Estate]:
        """Open the systems for one test."""
        app = SandboxApp()
        street = Street(app)
        ledger = ledger or MemoryLedger()
        async with AsyncExitStack() as stack:
            engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
            stack.push_async_callback(engine.dispose)
            await create_tables(engine)
            await create_subscriptions(engine)
            database = TransactionalLedger(engine)
            await database.create_schema()

            async def client(credentials: str) -> httpx.AsyncClient:
                headers = {"Authorization": f"Bearer {credentials}"}
                return await stack.enter_async_context(
                    http_client("http://sandbox.test", transport=street, headers=headers)
                )

            stripe = await client("sk_test_sandbox")
            connectors = (
                StripePayments(stripe),
                StripeBilling(stripe),
                SqlOrders(database),
                SqlSubscriptions(database),
                LedgerOutbox(ledger),
                HubSpotCrm(await client("pat-sandbox")),
                HttpEntitlements(await client("none")),
            )
            yield cls(server, app, street, engine, database, connectors, ledger, cached)

    @property
    def asked(self) -> list[str]:
        """The lists that the service has asked the providers for: each request's path and query."""
        return self.street.asked

    def listen(self, hear: Callable[[httpx.Request], Awaitable[None]]) -> None:
        """Hear of every request before it is answered."""
        self.street.hear = hear

    def refuse(self, path: str, about: str) -> None:
        """Let a provider refuse every request to a path, where its body is about something."""
        self.street.refused = (path, about)

    @asynccontextmanager
    async def worker(self, *workflows: type, **options: Any) -> AsyncIterator[Running]:
        """A worker of the service."""
        plugin = ReliabilityPlugin(ledger=self.ledger, connectors=self.connectors)
        classes = workflows or (Reconcile,)
        async with running(self.server, plugin, classes, cached=self.cached, **options) as worker:
            yield worker

    async def reconcile(self, worker: Running, *, replayed: bool = False, **asked: Any) -> ReconciliationReport:
        """One reconciliation from beginning to end; ``replayed`` once more from its history."""
        handle = await self.begin(worker, **asked)
        report: ReconciliationReport = await handle.result()
        if replayed:
            await worker.history(handle)
        return report

    async def begin(self, worker: Running, *, id: str | None = None, **asked: Any) -> WorkflowHandle[Any, Any]:
        """Start a reconciliation."""
        return await worker.start(
            Reconcile.run,
            ReconciliationRequest(**{"calls_a_minute": 60_000, "service": worker.task_queue, **asked}),
            id=id,
        )

    # -- what stands in the systems --------------------------------------------------------------------------------

    async def order(self, order_id: str, status: OrderStatus = OrderStatus.PLACED, *, amount: int = AMOUNT) -> None:
        """Put an order into the shop's database, past every workflow."""
        row = {
            "id": order_id,
            "cart_id": f"cart-{order_id}",
            "sku": "BOOK",
            "quantity": 1,
            "amount": amount,
            "currency": "usd",
            "payment_intent": "pi",
            "reservation_id": "res",
            "status": status,
        }
        async with self.engine.begin() as tx:
            await tx.execute(insert(orders).values(**row))

    async def move(self, order_id: str, status: OrderStatus) -> None:
        """Change an order by hand."""
        async with self.engine.begin() as tx:
            await tx.execute(update(orders).where(orders.c.id == order_id).values(status=status))

    async def payment(self, order_id: str, *, amount: int = AMOUNT, ours: bool = True) -> str:
        """Take money for an order at the provider, past every workflow. Returns the payment intent's id."""
        form = {
            "amount": str(amount),
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            "metadata[order_id]": order_id,
        } | ({"metadata[kit_key]": f"authorize:{order_id}"} if ours else {})
        async with http_client("http://stripe.test", transport=httpx.ASGITransport(self.app)) as http:
            headers = {"Authorization": "Bearer sk_test_sandbox"}
            reply = await http.post("/v1/payment_intents", data=form, headers=headers)
        return str(reply.raise_for_status().json()["id"])

    async def ended_subscription(self, subscription_id: str, *, account_id: str) -> None:
        """Put a subscription into the shop's database that has ended there."""
        await add_subscription(self.engine, subscription_id, account_id=account_id, email="ann@example.com")
        async with self.engine.begin() as tx:
            row = update(subscriptions).where(subscriptions.c.id == subscription_id)
            await tx.execute(row.values(status=SubscriptionStatus.CANCELED, cancellations=1))

    async def receipt(self, order_id: str) -> None:
        """Write into the effect ledger that a receipt was sent, as its attempt would have."""
        now = datetime.now(UTC) - timedelta(hours=1)
        entry = Entry(
            key=f"receipt:{order_id}",
            fingerprint="receipt",
            operation="email.send_receipt",
            version=1,
            state=State.CLAIMED,
            saga=f"checkout-{order_id}",
            run_id="gone",
            step=1,
            correlation_id="c",
            request=b"{}",
            owner="one",
            lease_until=now,
            first_claimed_at=now,
            updated_at=now,
        )
        await self.ledger.apply(ClaimAction(entry=entry, now=now))
        await self.ledger.apply(Complete(key=entry.key, owner="one", result=b'{"message_id": "1"}', now=now))

    def left(self, order_id: str) -> int:
        """What was taken for an order and not given back, by the provider's own record."""
        intents = self.app.payments.intents.values()
        return sum(i.amount_received - i.amount_refunded for i in intents if i.reference == order_id)
