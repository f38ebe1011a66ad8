"""The app object: from settings to a client, connectors and a worker. ``[tool.kit]`` in ``pyproject.toml`` names it."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from activities.audit import tables as audit_tables
from activities.audit.sql import SqlAudit
from activities.billing.stripe import StripeBilling
from activities.carts.sql import SqlCarts
from activities.crm.hubspot import HubSpotCrm
from activities.email.outbox import LedgerOutbox
from activities.email.smtp import SmtpEmail
from activities.enrichment.http import HttpEnrichment
from activities.entitlements.http import HttpEntitlements
from activities.fulfilment.webhook import WebhookFulfilment
from activities.inventory.http import HttpInventory
from activities.orders.sql import SqlOrders
from activities.orders.tables import create_tables
from activities.payments.stripe import StripePayments
from activities.subscriptions import tables as subscription_tables
from activities.subscriptions.sql import SqlSubscriptions
from activities.tickets.zendesk import ZendeskTickets
from kit.ledger import Ledger, SqlLedger, TransactionalLedger
from kit.operate import Operating
from kit.worker import Connector, ReliabilityPlugin, http_client
from temporal.settings import Settings
from temporal.timeouts import ShorterAttempts
from temporal.worker import work
from workflows.checkout import Checkout
from workflows.crm_sync import CrmSync
from workflows.plan_upgrade import PlanUpgrade
from workflows.reconciliation import Reconcile
from workflows.subscription_cancel import SubscriptionCancel

WORKFLOWS: Final = (Checkout, PlanUpgrade, CrmSync, SubscriptionCancel, Reconcile)
"""What the workers run."""

CONNECTORS: Final = (
    StripePayments,
    StripeBilling,
    HttpInventory,
    SqlOrders,
    SqlCarts,
    SqlSubscriptions,
    SqlAudit,
    WebhookFulfilment,
    SmtpEmail,
    LedgerOutbox,
    HubSpotCrm,
    ZendeskTickets,
    HttpEntitlements,
    HttpEnrichment,
)
"""The connectors of the workers, as classes: what the service promises can be read without its settings."""

DEFAULT_ADDRESS: Final = "localhost:7233"
"""Where Temporal is when nothing says so."""


@dataclass(frozen=True)
class App:
    """The checkout service.

    Attributes:
        environment: Where the settings are read from, when they are first needed.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @cached_property
    def settings(self) -> Settings:
        """What the service is told.

        Raises:
            DefinitionError: Something is missing or wrong.
        """
        return Settings.from_environment(self.environment)

    @cached_property
    def ledger(self) -> Ledger:
        """The workers' ledger: the plugin opens it, and what lists what was sent reads it."""
        return SqlLedger(self.settings.ledger_url)

    async def connect(self, plugin: ReliabilityPlugin, *, runtime: Runtime | None = None, lazy: bool = False) -> Client:
        """A client of the configured Temporal server; a lazy one connects with its first request.

        Raises:
            RuntimeError: The server does not answer, and the client is not lazy.
        """
        config = ClientConfig.load_client_connect_config(override_env_vars=dict(self.environment))
        config.setdefault("target_host", DEFAULT_ADDRESS)
        return await Client.connect(**config, plugins=[plugin], runtime=runtime, lazy=lazy)

    @asynccontextmanager
    async def connectors(self) -> AsyncIterator[tuple[Connector, ...]]:
        """One connector for every external system, with the connections they share."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            tls = httpx.create_ssl_context()  # one for all: it takes its time to load the trust store

            async def client(url: str, credentials: str | None = None) -> httpx.AsyncClient:
                headers = {} if credentials is None else {"Authorization": credentials}
                return await stack.enter_async_context(http_client(url, headers=headers, verify=tls))

            payments = await client(settings.payments_url, f"Bearer {settings.payments_key.get_secret_value()}")
            stock = await client(settings.stock_url)
            fulfilment = await client(settings.fulfilment_url)
            crm = await client(settings.crm_url, f"Bearer {settings.crm_token.get_secret_value()}")
            tickets = await client(settings.tickets_url, basic(settings.tickets_credentials.get_secret_value()))
            entitlements = await client(settings.entitlements_url)
            enrichment = await client(settings.enrichment_url)
            shop = create_async_engine(settings.shop_url)
            stack.push_async_callback(shop.dispose)
            await create_shop(shop)
            database = TransactionalLedger(shop)
            yield (
                StripePayments(payments),
                StripeBilling(payments),
                HttpInventory(stock),
                SqlOrders(database),
                SqlCarts(database),
                SqlSubscriptions(database),
                SqlAudit(database),
                WebhookFulfilment(
                    fulfilment,
                    url=settings.fulfilment_url,
                    secret=settings.fulfilment_secret.get_secret_value(),
                ),
                SmtpEmail(settings.smtp_host, settings.smtp_port),
                LedgerOutbox(self.ledger),
                HubSpotCrm(crm),
                ZendeskTickets(tickets),
                HttpEntitlements(entitlements),
                HttpEnrichment(enrichment),
            )

    @asynccontextmanager
    async def worker(self, *, runtime: Runtime | None = None) -> AsyncIterator[Worker]:
        """A worker that is connected and not yet running."""
        settings = self.settings
        async with self.connectors() as connectors:
            plugin = ReliabilityPlugin(ledger=self.ledger, connectors=connectors)
            client = await self.connect(plugin, runtime=runtime)
            yield Worker(
                client,
                task_queue=settings.task_queue,
                workflows=WORKFLOWS,
                build_id=settings.build_id,
                interceptors=[] if settings.attempt_cap is None else [ShorterAttempts(settings.attempt_cap)],
                graceful_shutdown_timeout=timedelta(seconds=settings.graceful_seconds),
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.sticky_seconds),
            )

    @asynccontextmanager
    async def operating(self) -> AsyncIterator[Operating]:
        """What operators' commands work on: a client, the ledger, and the queue of the workers.

        The client connects when it is first needed: a hold is switched on whether or not Temporal can be reached.
        """
        settings = self.settings
        async with SqlLedger(settings.ledger_url) as ledger:
            client = await self.connect(ReliabilityPlugin(holds=ledger.holds), lazy=True)
            yield Operating(client=client, ledger=ledger, task_queue=settings.task_queue)

    async def work(self) -> int:
        """Run a worker until it is told to stop; returns the exit code."""
        return await work(self)


def basic(credentials: str) -> str:
    """``user:password`` as HTTP's basic authentication sends it (RFC 7617)."""
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


async def create_shop(shop: AsyncEngine) -> None:
    """Create what is missing in the service's own database: its tables, and its ledger's."""
    await create_tables(shop)
    await subscription_tables.create_tables(shop)
    await audit_tables.create_tables(shop)
    await TransactionalLedger(shop).create_schema()


app = App()
"""What ``kit worker`` runs."""
