"""The systems that know an account, in this process, and a worker that keeps them the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.billing.listed import PRICES
from activities.billing.stripe import StripeBilling
from activities.crm.contract import CompanyFields
from activities.crm.hubspot import HubSpotCrm
from activities.email.smtp import SmtpEmail
from activities.enrichment.http import HttpEnrichment
from activities.entitlements.contract import Plan
from activities.entitlements.http import HttpEntitlements
from activities.tickets.zendesk import ZendeskTickets
from kit import Entity, EntityEvent
from kit.ledger import MemoryLedger
from kit.operate import deliver
from kit.testing.sandbox import Sandbox, SandboxApp
from kit.testing.sandbox.app import SandboxTransport
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.worker import ReliabilityPlugin, http_client
from kit.workflow import APPLY_UPDATE, ENTITY_QUERY, Fate, Receipt
from tests.harness import Running, running
from workflows.crm_sync import Account, AccountChanged, CrmSync, sync_workflow_id
from workflows.plan_upgrade import PlanUpgrade


class Transport(httpx.AsyncBaseTransport):
    """Reaches the sandbox, and lets a test do something at the moment before a request arrives."""

    def __init__(self, app: SandboxApp) -> None:
        self._inner = SandboxTransport(app)
        self.before: Callable[[httpx.Request], None] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        if self.before is not None:
            self.before(request)
        return await self._inner.handle_async_request(request)


def change(id: str, source: str, *, version: int | None = None, **said: Any) -> EntityEvent[AccountChanged]:
    """An event of one source, in which it says this."""
    fields = {name: said.pop(name) for name in tuple(said) if name in CompanyFields.model_fields}
    data = AccountChanged(fields=CompanyFields(**fields), **said)
    return EntityEvent[AccountChanged](id=id, source=source, version=version, data=data)


@dataclass
class Office:
    """One account, and everything that knows it.

    Attributes:
        app: The providers.
        wire: How they are reached.
        worker: What runs the sync.
        account_id: The account; one of each test's own.
        reads: How often a test has seen the CRM being read.
    """

    app: SandboxApp
    wire: Transport
    worker: Running
    account_id: str
    reads: int = 0

    @property
    def sync(self) -> WorkflowHandle[Any, Any]:
        """The account's entity, its latest run."""
        return self.worker.client.get_workflow_handle(sync_workflow_id(self.account_id))

    async def tell(self, *events: EntityEvent[AccountChanged]) -> None:
        """Deliver events, and do not wait for them."""
        start = Entity[Account](state=Account(account_id=self.account_id))
        for event in events:
            await deliver(
                self.worker.client,
                CrmSync.run,
                start,
                event,
                id=sync_workflow_id(self.account_id),
                task_queue=self.worker.task_queue,
            )

    async def applied(self, *events: EntityEvent[AccountChanged]) -> Account:
        """Deliver events and wait until they are applied. Returns what is known then."""
        await self.tell(*events)
        for event in events:
            receipt: Receipt = await self.sync.execute_update(APPLY_UPDATE, event, result_type=Receipt)
            assert receipt.fate is Fate.APPLIED
        return (await self.entity()).state

    async def entity(self) -> Entity[Account]:
        """All that the entity carries."""
        found: Entity[Account] = await self.sync.query(ENTITY_QUERY, result_type=Entity[Account])
        return found

    def company(self) -> dict[str, str]:
        """What the CRM has of the account; nothing when it has no such company."""
        found = self.app.crm.company(self.account_id, by="account_id")
        values = {} if found is None else found.properties
        return {name: value for name, value in values.items() if value and name != "account_id"}

    def edit(self, **properties: str) -> None:
        """Let a colleague type something into the CRM."""
        company = self.app.crm.company(self.account_id, by="account_id")
        assert company is not None
        company.properties.update(properties)

    def fail(self, operation: Operation, fault: FaultKind, **how: Any) -> None:
        """Let the next call of an operation go wrong."""
        self.app.exchange.script.add(Fault(provider=operation.provider, operation=operation, fault=fault, **how))

    def writes(self) -> int:
        """How many effects the CRM has had."""
        return sum(effect.provider is Provider.CRM for effect in self.app.exchange.journal.effects())


@asynccontextmanager
async def office(server: WorkflowEnvironment, *, cached: bool = True) -> AsyncIterator[Office]:
    """The systems, with one company in the CRM, and a worker."""
    async with Sandbox.start() as sandbox, _office(server, sandbox, cached=cached) as here:
        yield here


@asynccontextmanager
async def _office(server: WorkflowEnvironment, sandbox: Sandbox, *, cached: bool) -> AsyncIterator[Office]:
    app = sandbox.app
    wire = Transport(app)

    def client(system: str, credentials: str = "") -> httpx.AsyncClient:
        return http_client(f"http://{system}.test", transport=wire, headers={"Authorization": credentials})

    async with (
        client("crm", "Bearer pat-sandbox") as crm,
        client("billing", "Bearer sk_test_sandbox") as billing,
        client("tickets", "Basic c2FuZGJveA==") as tickets,
        client("entitlements") as entitlements,
        client("enrichment") as enrichment,
    ):
        connectors = (
            HubSpotCrm(crm),
            StripeBilling(billing),
            ZendeskTickets(tickets),
            HttpEntitlements(entitlements),
            HttpEnrichment(enrichment),
            SmtpEmail(sandbox.smtp_host, sandbox.smtp_port),
        )
        plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=connectors)
        async with running(server, plugin, [CrmSync, PlanUpgrade], cached=cached) as worker:
            here = Office(app, wire, worker, account_id=f"acc-{worker.task_queue}")
            app.crm.add(here.account_id, name="Acme")
            app.billing.subscribe("sub_1", account_id=here.account_id, price=PRICES[Plan.STARTER])
            app.entitlements.add(here.account_id, plan=Plan.STARTER)
            yield here
            await here.sync.cancel()
