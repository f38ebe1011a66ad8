"""The shop of the reference checkout: real connectors, providers on real sockets, ledgers in real files.

What a test believes comes from three records that the code under test does not write: the providers' effects, the
shop's own tables, and the Temporal server's history. `assert_truth` holds the ledgers against them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import httpx
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.carts.sql import SqlCarts
from activities.email.smtp import SmtpEmail
from activities.fulfilment.webhook import WebhookFulfilment
from activities.inventory.http import HttpInventory
from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.sql import SqlOrders
from activities.orders.tables import carts, create_tables, open_cart, orders
from activities.payments.stripe import StripePayments
from kit.errors import LedgerError
from kit.ledger import Command, Entry, SqliteLedger, State, TransactionalLedger, Verdict
from kit.testing.sandbox import (
    WEBHOOK_SECRET,
    CallRecord,
    EffectKind,
    EffectRecord,
    FaultKind,
    Operation,
    Sandbox,
    violations,
)
from kit.worker import Connector, ReliabilityPlugin, http_client
from kit.workflow import COMPENSATED, RunSummary, Status
from tests.harness import Running, ShortAttempts, running
from tests.workflows.network import Network
from tests.workflows.story import PATIENT, Run, Story
from workflows.checkout import Checkout, CheckoutRequest

ORDER: Final = "ORDER-1"
CART: Final = "CART-1"
SKU: Final = "BOOK"
AMOUNT: Final = 4999

FORWARD: Final = ["inventory.reserve", "payments.authorize", "orders.create", "payments.capture", "carts.complete"]
AFTER_COMMIT: Final = ["fulfilment.request_shipment", "email.send_receipt"]
SUCCESS: Final = FORWARD + AFTER_COMMIT
"""What a checkout schedules when nothing has to be undone, whatever is retried."""

PATIENCE: Final = timedelta(seconds=1)
"""How long an attempt that is never heard of again is waited for: really, for a running attempt is never skipped."""

COMPLETE: Final = Counter({EffectKind.RESERVED: 1, EffectKind.CAPTURED: 1, EffectKind.DELIVERED: 1, EffectKind.SENT: 1})
"""The live effects of a completed order."""

SETTLED: Final = frozenset({State.REFUSED, State.VOID, State.UNDONE})
"""What the ledger may say of an effect that is not there."""


class Addresses(NamedTuple):
    """Where the providers of a sandbox are."""

    url: str
    webhook_url: str
    smtp_host: str
    smtp_port: int


@asynccontextmanager
async def connectors(
    providers: Addresses, database: TransactionalLedger, *, network: Network | None = None, secret: str = WEBHOOK_SECRET
) -> AsyncIterator[tuple[Connector, ...]]:
    """The connectors of the checkout, as a service would make them."""
    async with AsyncExitStack() as stack:

        async def client(**headers: str) -> httpx.AsyncClient:
            transport = network or Network()
            # Providers and callers share one event loop here, which other tests may starve: nothing is "down" for that.
            options: dict[str, Any] = {"connect": timedelta(seconds=8), "transport": transport, "headers": headers}
            return await stack.enter_async_context(http_client(providers.url, **options))

        yield (
            StripePayments(await client(Authorization="Bearer sk_test_sandbox")),
            HttpInventory(await client()),
            SqlOrders(database),
            SqlCarts(database),
            WebhookFulfilment(await client(), url=providers.webhook_url, secret=secret),
            SmtpEmail(providers.smtp_host, providers.smtp_port),
        )


class Ledger:
    """The effect ledger's file, which can fail for some commands."""

    def __init__(self, path: Path) -> None:
        self.file = SqliteLedger(path)
        self.holds = self.file.holds
        self.trouble: Callable[[Command], LedgerError | None] = lambda _: None

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See `kit.ledger.Ledger`."""
        if (error := self.trouble(command)) is not None:
            raise error
        return await self.file.apply(command, expected=expected)

    async def get(self, key: str) -> Entry | None:
        """See `kit.ledger.Ledger`."""
        return await self.file.get(key)

    async def of_saga(self, saga: str) -> list[Entry]:
        """See `kit.ledger.Ledger`."""
        return await self.file.of_saga(saga)

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """See `kit.ledger.Ledger`."""
        return await self.file.page(prefix, after=after, limit=limit)

    async def purge(self, now: Any) -> int:
        """See `kit.ledger.Ledger`."""
        return await self.file.purge(now)

    async def open(self) -> None:
        """See `kit.ledger.Ledger`."""
        await self.file.open()

    async def close(self) -> None:
        """See `kit.ledger.Ledger`."""
        await self.file.close()

    async def __aenter__(self) -> Ledger:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@dataclass
class Shop:
    """One shop, with one open cart, for one test."""

    server: WorkflowEnvironment
    folder: Path
    cached: bool
    sandbox: Sandbox
    engine: AsyncEngine
    database: TransactionalLedger
    secret: str = WEBHOOK_SECRET
    network: Network = field(default_factory=Network)
    delayed: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    TAKEN: ClassVar[CartStatus] = CartStatus.CHECKED_OUT
    """How the cart of `cart_is_taken` stands."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "effects.db")

    @classmethod
    @asynccontextmanager
    async def open(cls, server: WorkflowEnvironment, folder: Path, *, cached: bool) -> AsyncIterator[Shop]:
        """Open the shop for one test."""
        delayed, go_on = asyncio.Event(), asyncio.Event()

        async def wait(_: float) -> None:
            delayed.set()
            await go_on.wait()

        async with Sandbox.start(sleep=wait) as sandbox:
            # A locked file is an outage of the database: found out at once.
            engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}", connect_args={"timeout": 0.02})
            await create_tables(engine)
            await open_cart(engine, CART)
            database = TransactionalLedger(engine)
            await database.create_schema()
            yield cls(server, folder, cached, sandbox, engine, database, delayed=delayed, go_on=go_on)
            await engine.dispose()

    @property
    def providers(self) -> Addresses:
        """Where the providers are."""
        sandbox = self.sandbox
        return Addresses(sandbox.url, sandbox.webhook_url, sandbox.smtp_host, sandbox.smtp_port)

    # -- what goes wrong -------------------------------------------------------------------------------------------

    async def fault(self, operation: Operation, fault: FaultKind, **options: Any) -> None:
        """Script a fault of a provider."""
        await self.sandbox.control.fault(operation, fault, **options)

    async def provider_is_slow(self) -> None:
        """Wait until a call with the fault ``delay`` has taken effect; its reply waits for `go_on`."""
        async with asyncio.timeout(PATIENT):
            await self.delayed.wait()

    async def cart_is_taken(self) -> None:
        """Another order has checked the cart out: creating this one is an impossible transition."""
        async with self.engine.begin() as tx:
            await tx.execute(carts.update().values(status=CartStatus.CHECKED_OUT, order_id="ORDER-0"))

    async def database_down(self, refusals: int) -> None:
        """The shop's database is locked by another process until it has refused so many attempts."""
        other = sqlite3.connect(self.folder / "shop.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        left = refusals

        def refused(_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                other.rollback()
                other.close()

        event.listen(self.engine.sync_engine, "handle_error", refused)

    # -- checking out ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def worker(self, *, impatient: str | None = None, task_queue: str | None = None) -> AsyncIterator[Running]:
        """A worker of the service. ``impatient``: the activity whose attempts are given up after `PATIENCE`."""
        async with connectors(self.providers, self.database, network=self.network, secret=self.secret) as served:
            plugin = ReliabilityPlugin(ledger=self.ledger, connectors=served)
            short = [] if impatient is None else [ShortAttempts(PATIENCE, only=impatient)]
            async with running(
                self.server, plugin, [Checkout], cached=self.cached, interceptors=short, task_queue=task_queue
            ) as worker:
                try:
                    yield worker
                finally:
                    self.network.bring_home()

    async def start(self, worker: Running, *, id: str | None = None, **request: Any) -> Run:
        """Submit the checkout of the cart."""
        handle = await worker.start(
            Checkout.run,
            checkout_of(**request),
            id=id or f"checkout-{uuid.uuid4().hex[:12]}",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        return Run(worker, handle)

    async def checkout(self, *, impatient: str | None = None, **request: Any) -> Story:
        """Check the cart out, from the start of a worker to the end of the run."""
        async with self.worker(impatient=impatient) as worker:
            run = await self.start(worker, **request)
            return await run.story()

    # -- what is true ----------------------------------------------------------------------------------------------

    async def effects(self) -> list[EffectRecord]:
        """What the providers did."""
        return await self.sandbox.control.effects()

    async def calls(self, operation: Operation | None = None) -> list[CallRecord]:
        """What the providers were asked."""
        return [call for call in await self.sandbox.control.calls() if operation in (None, call.operation)]

    async def seen(self) -> Counter[EffectKind]:
        """How often the providers did what, undone or not."""
        return Counter(effect.kind for effect in await self.effects())

    async def rows(self, *sagas: str) -> dict[str, State]:
        """The rows of both ledgers."""
        found: dict[str, State] = {}
        async with Ledger(self.folder / "effects.db") as ledger:
            for saga in sagas:
                entries = await ledger.of_saga(saga) + await self.database.of_saga(saga)
                found |= {entry.key: entry.state for entry in entries}
        return found

    async def tables(self) -> tuple[dict[str, str], dict[str, str]]:
        """The states of all orders and of all carts."""
        async with self.engine.connect() as tx:
            found = [(await tx.execute(select(table.c.id, table.c.status))).all() for table in (orders, carts)]
        placed, opened = ({str(row.id): str(row.status) for row in rows} for rows in found)
        return placed, opened


def checkout_of(**changes: Any) -> CheckoutRequest:
    """What the customer's button sends."""
    request = {
        "order_id": ORDER,
        "cart_id": CART,
        "sku": SKU,
        "quantity": 2,
        "amount": AMOUNT,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "email": "ann@example.com",
    }
    return CheckoutRequest.model_validate(request | changes)


KEYS: Final = (
    f"authorize:{ORDER}",
    f"capture:{ORDER}",
    f"complete-cart:{CART}:{ORDER}",
    f"create-order:{ORDER}",
    f"receipt:{ORDER}",
    f"reserve:{ORDER}:{SKU}",
    f"ship:{ORDER}",
)
"""The keys of a complete checkout."""


async def assert_truth(shop: Shop, story: Story, *, cart: CartStatus = CartStatus.OPEN, loose: str = "") -> None:
    """How a run closed, what the providers did, the shop's tables, and the ledgers say the same.

    Args:
        shop: Where it happened.
        story: How the run closed.
        cart: Where the cart of a run that was undone must stand.
        loose: The key of the one effect whose row may not say that it was done.
    """
    effects = await shop.effects()
    live = Counter(effect.kind for effect in effects if effect.live)
    rows = await shop.rows(story.workflow_id)
    placed, opened = await shop.tables()

    assert violations(effects) == ()
    if story.placed is not None:
        assert story.closed_as == "COMPLETED"
        assert live == COMPLETE
        assert (placed, opened) == ({ORDER: OrderStatus.PLACED}, {CART: CartStatus.COMPLETED})
        assert sorted(rows) == sorted(KEYS)
        assert {key for key, state in rows.items() if state is not State.DONE} <= {loose}
    else:
        assert story.summary.status in (Status.COMPENSATED, Status.CANCELLED)
        assert story.closed_as == ("CANCELED" if story.summary.status is Status.CANCELLED else "FAILED")
        if isinstance(story.error, ApplicationError):
            assert story.error.type == COMPENSATED
            assert RunSummary.model_validate(story.error.details[0]) == story.summary
        assert live == Counter()
        assert placed in ({}, {ORDER: OrderStatus.CANCELLED})
        assert opened == {CART: cart}
        assert set(rows.values()) <= SETTLED
