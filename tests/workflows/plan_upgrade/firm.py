"""The firm whose customers upgrade: real connectors, providers on real sockets, the ledger in a real file.

The providers' clock is the server's, which skips time: the search for tickets is as far behind as the run has waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.billing.listed import PRICES
from activities.billing.stripe import StripeBilling
from activities.crm.hubspot import HubSpotCrm
from activities.email.smtp import SmtpEmail
from activities.entitlements.contract import Plan
from activities.entitlements.http import HttpEntitlements
from activities.tickets.zendesk import ZendeskTickets
from kit.ledger import SqliteLedger, State
from kit.testing.sandbox import EffectKind, EffectRecord, FaultKind, Operation, Sandbox
from kit.worker import Connector, ReliabilityPlugin, current_call, http_client
from kit.workflow import DECIDE_UPDATE, Choice, Decision, RunSummary, Task
from tests.harness import History, Running, running
from tests.workflows.network import Network
from workflows.plan_upgrade import PlanUpgrade, PlanUpgraded, PlanUpgradeRequest

ACCOUNT: Final = "ACC-1"
SUBSCRIPTION: Final = "sub_1"
UPGRADE: Final = "UPG-1"
PATIENT: Final = 30.0
"""Seconds after which a run that does not close is a failed test instead of a hanging one."""

READS: Final = ["crm.read_company", "billing.read_subscription", "entitlements.read"]
WRITES: Final = ["crm.upsert_company", "billing.change_plan", "tickets.open", "entitlements.change"]
SUCCESS: Final = [*READS, *WRITES, "email.send_notice"]
"""What an upgrade schedules when nothing has to be undone, whatever is retried."""

_CREDENTIALS: Final = {
    HubSpotCrm: "Bearer pat-sandbox",
    StripeBilling: "Bearer sk_test_sandbox",
    ZendeskTickets: "Basic c2FuZGJveA==",
    HttpEntitlements: "",
}


class TimedNetwork(Network):
    """A network that knows what time it is at the server, by the calls that it carries."""

    def __init__(self) -> None:
        super().__init__()
        self._latest = datetime.fromtimestamp(0, UTC)

    def now(self) -> datetime:
        """The server's time, as the latest call knew it."""
        return self._latest

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        call = current_call.get()
        if call is not None:
            self._latest = max(self._latest, call.clock())
        return await super().handle_async_request(request)


@dataclass(frozen=True)
class Story:
    """A run that has closed."""

    workflow_id: str
    history: History
    upgraded: PlanUpgraded | None
    error: BaseException | None
    summary: RunSummary

    @property
    def attempts(self) -> dict[str, int]:
        """How many attempts each step took that took more than one."""
        return {step["operation"]: step["attempts"] for step in self.summary.steps if step["attempts"] > 1}


@dataclass
class Firm:
    """One firm with one customer, on the starter plan, for one test."""

    server: WorkflowEnvironment
    folder: Path
    cached: bool
    sandbox: Sandbox
    network: TimedNetwork
    ids: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, server: WorkflowEnvironment, folder: Path, *, cached: bool) -> AsyncIterator[Firm]:
        """Let every system know the customer."""
        network = TimedNetwork()
        async with Sandbox.start(now=network.now) as sandbox:
            sandbox.app.crm.add(ACCOUNT, name="Acme", plan=Plan.STARTER)
            sandbox.app.billing.subscribe(SUBSCRIPTION, account_id=ACCOUNT, price=PRICES[Plan.STARTER])
            sandbox.app.entitlements.add(ACCOUNT, plan=Plan.STARTER)
            yield cls(server, folder, cached, sandbox, network)

    # -- what happens ----------------------------------------------------------------------------------------------

    async def fault(self, operation: Operation, fault: FaultKind, **options: Any) -> None:
        """Script a fault of a provider."""
        await self.sandbox.control.fault(operation, fault, **options)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Running]:
        """A worker of the service."""
        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(SqliteLedger(self.folder / "effects.db"))
            connectors: list[Connector] = [SmtpEmail(self.sandbox.smtp_host, self.sandbox.smtp_port)]
            for connector, credentials in _CREDENTIALS.items():
                options: dict[str, Any] = {"transport": self.network, "headers": {"Authorization": credentials}}
                # Callers and providers share one event loop, which other tests may starve: nothing is "down" for that.
                client = http_client(self.sandbox.url, connect=timedelta(seconds=8), **options)
                await stack.enter_async_context(client)
                connectors.append(connector(client))
            plugin = ReliabilityPlugin(ledger=ledger, connectors=connectors)
            yield await stack.enter_async_context(running(self.server, plugin, [PlanUpgrade], cached=self.cached))

    async def start(self, worker: Running, **changes: Any) -> WorkflowHandle[Any, PlanUpgraded]:
        """The customer presses the button."""
        wanted = {
            "upgrade_id": UPGRADE,
            "account_id": ACCOUNT,
            "subscription_id": SUBSCRIPTION,
            "plan": Plan.PRO,
            "email": "ann@example.com",
        }
        return await worker.start(PlanUpgrade.run, PlanUpgradeRequest.model_validate(wanted | changes))

    async def story(self, worker: Running, handle: WorkflowHandle[Any, PlanUpgraded]) -> Story:
        """Wait for the end of a run."""
        upgraded, error = None, None
        try:
            async with asyncio.timeout(PATIENT):
                upgraded = await handle.result()
        except WorkflowFailureError as failure:
            error = failure.cause
        summary = await handle.query(PlanUpgrade.kit_summary)
        return Story(handle.id, await worker.history(handle), upgraded, error, summary)

    async def upgrade(self, **changes: Any) -> Story:
        """Upgrade, from the start of a worker to the end of the run."""
        async with self.worker() as worker:
            return await self.story(worker, await self.start(worker, **changes))

    async def parked(self, handle: WorkflowHandle[Any, PlanUpgraded]) -> Task:
        """Wait until a run asks a person."""
        async with asyncio.timeout(PATIENT):
            async for told in handle.fetch_history_events(wait_new_event=True):
                if told.HasField("workflow_properties_modified_event_attributes"):
                    break
        (task,) = [task for task in await handle.query(PlanUpgrade.kit_tasks) if task.open]
        return task

    async def supply(self, handle: WorkflowHandle[Any, PlanUpgraded], task: Task, **result: Any) -> None:
        """Answer as a person who has looked would."""
        decision = Decision(task_id=task.id, choice=Choice.SUPPLY, who="ann", why="I looked", result=result)
        await handle.execute_update(DECIDE_UPDATE, decision, result_type=Task)

    # -- what is true ----------------------------------------------------------------------------------------------

    def plans(self) -> set[str]:
        """The customer's plan, as the three systems have it: one, if all is well."""
        company = self.sandbox.app.crm.company(ACCOUNT, by="account_id")
        prices = {price: plan for plan, price in PRICES.items()}
        assert company is not None
        return {
            company.properties["plan"],
            prices[self.sandbox.app.billing.subscriptions[SUBSCRIPTION].price],
            self.sandbox.app.entitlements.plan(ACCOUNT),
        }

    def effects(self, kind: EffectKind) -> list[EffectRecord]:
        """What of one kind the providers did."""
        return [effect for effect in self.sandbox.app.exchange.journal.effects() if effect.kind is kind]

    def calls(self, operation: Operation) -> int:
        """How often the providers were asked for something."""
        return sum(call.operation is operation for call in self.sandbox.app.exchange.journal.calls())

    async def rows(self, story: Story) -> set[State]:
        """The states that the ledger's rows of a run are in."""
        async with SqliteLedger(self.folder / "effects.db") as ledger:
            return {row.state for row in await ledger.of_saga(story.workflow_id)}
