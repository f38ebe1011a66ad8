"""A service with one subscription: what a test believes comes from the providers' records and the service's tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from activities.audit import tables as audit_tables
from activities.audit.sql import SqlAudit
from activities.billing.stripe import StripeBilling
from activities.email.smtp import SmtpEmail
from activities.entitlements.contract import Plan
from activities.entitlements.http import HttpEntitlements
from activities.subscriptions import tables
from activities.subscriptions.sql import SqlSubscriptions
from kit import Choice, Decision
from kit.ledger import SqliteLedger, TransactionalLedger
from kit.testing.sandbox import CallRecord, EffectKind, FaultKind, Operation, Sandbox
from kit.worker import Connector, ReliabilityPlugin, http_client
from kit.workflow import DECIDE_UPDATE, TASKS_QUERY, Task
from tests.harness import Running, running
from tests.workflows.network import Network
from workflows.subscription_cancel import CancelRequest, SubscriptionCancel, SubscriptionCanceled

SUBSCRIPTION: Final = "sub_1"
ACCOUNT: Final = "ACC-1"
PATIENT: Final = 30.0
"""Seconds after which a run that does not close is a failed test instead of a hanging one."""


class Stands(NamedTuple):
    """How everybody sees the subscription."""

    here: str
    billed: str
    entitled: str
    refunds: tuple[int, ...] = ()
    notices: int = 0
    recorded: int = 0


ACTIVE: Final = Stands("active", "active", Plan.PRO)
"""Everything is as before, and nobody was told anything."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: with a result, or with an error."""

    result: SubscriptionCanceled | None
    error: BaseException | None
    activities: list[str]


@dataclass
class Service:
    """The service and its providers, with one subscription that has just begun."""

    server: WorkflowEnvironment
    cached: bool
    folder: Path
    sandbox: Sandbox
    engine: AsyncEngine
    price: str
    network: Network = field(default_factory=Network)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, server: WorkflowEnvironment, folder: Path, *, cached: bool, price: str = "price_starter"
    ) -> AsyncIterator[Service]:
        """Open it for one test."""
        async with Sandbox.start() as sandbox:
            engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}")
            await tables.create_tables(engine)
            await audit_tables.create_tables(engine)
            await tables.add_subscription(
                engine, SUBSCRIPTION, account_id=ACCOUNT, email="ann@example.com", plan=Plan.PRO
            )
            await TransactionalLedger(engine).create_schema()
            sandbox.app.billing.subscribe(SUBSCRIPTION, account_id=ACCOUNT, price=price, since=_today())
            sandbox.app.entitlements.add(ACCOUNT, plan=Plan.PRO)
            yield cls(server, cached, folder, sandbox, engine, price)
            await engine.dispose()

    async def fault(self, operation: Operation, fault: FaultKind, **options: Any) -> None:
        """Script a fault of a provider."""
        await self.sandbox.control.fault(operation, fault, **options)

    async def well(self) -> None:
        """Nothing goes wrong any more."""
        await self.sandbox.control.clear_faults()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Running]:
        """A worker of the service."""
        async with self._connectors() as served, SqliteLedger(self.folder / "effects.db") as ledger:
            plugin = ReliabilityPlugin(ledger=ledger, connectors=served)
            async with running(self.server, plugin, [SubscriptionCancel], cached=self.cached) as worker:
                yield worker

    @asynccontextmanager
    async def _connectors(self) -> AsyncIterator[tuple[Connector, ...]]:
        async with AsyncExitStack() as stack:

            async def client(**headers: str) -> httpx.AsyncClient:
                options: dict[str, Any] = {"transport": self.network, "headers": headers}
                return await stack.enter_async_context(
                    http_client(self.sandbox.url, connect=timedelta(seconds=8), **options)
                )

            database = TransactionalLedger(self.engine)
            yield (
                StripeBilling(await client(Authorization="Bearer sk_test_sandbox")),
                HttpEntitlements(await client()),
                SqlSubscriptions(database),
                SqlAudit(database),
                SmtpEmail(self.sandbox.smtp_host, self.sandbox.smtp_port),
            )

    async def cancel(self, *, number: int = 1) -> Ended:
        """Ask for the cancellation, from the start of a worker to the end of the run."""
        async with self.worker() as worker:
            request = CancelRequest(subscription_id=SUBSCRIPTION, number=number)
            return await self.end(worker, await worker.start(SubscriptionCancel.run, request))

    async def end(self, worker: Running, run: WorkflowHandle[Any, Any]) -> Ended:
        """Wait for the end of a run."""
        result, error = None, None
        try:
            result = await asyncio.wait_for(run.result(), PATIENT)
        except WorkflowFailureError as failure:
            error = failure.cause
        return Ended(result, error, (await worker.history(run)).activities)

    async def task(self, run: WorkflowHandle[Any, Any]) -> Task:
        """The first open task of a run, once it has been put."""
        async with asyncio.timeout(PATIENT):
            while True:
                tasks: list[Task] = await run.query(TASKS_QUERY, result_type=list[Task])
                if found := [task for task in tasks if task.open]:
                    return found[0]
                await asyncio.sleep(0.02)  # a workflow tells nobody that it has parked; a query must ask again

    async def decide(self, run: WorkflowHandle[Any, Any], choice: Choice) -> Task:
        """Answer the first open task of a run."""
        task = await self.task(run)
        decision = Decision(task_id=task.id, choice=choice, who="ann", why="I looked", digest=task.digest)
        decided: Task = await run.execute_update(DECIDE_UPDATE, decision, result_type=Task)
        return decided

    # -- what is true ----------------------------------------------------------------------------------------------

    async def stands(self) -> Stands:
        """How everybody sees the subscription now."""
        app = self.sandbox.app
        effects = await self.sandbox.control.effects()
        return Stands(
            here=str(await tables.subscription_status(self.engine, SUBSCRIPTION)),
            billed=app.billing.subscriptions[SUBSCRIPTION].status,
            entitled=app.entitlements.plan(ACCOUNT),
            refunds=tuple(refund["amount"] for refund in app.payments.refunds),
            notices=sum(effect.kind is EffectKind.SENT for effect in effects),
            recorded=len(await audit_tables.trail(self.engine, SUBSCRIPTION)),
        )

    def gone(self, *, refund: bool = True) -> Stands:
        """What everybody says of a subscription that has ended on its first day: all that was paid is refunded."""
        paid = {"price_starter": 1900, "price_pro": 9900}[self.price]
        return Stands("canceled", "canceled", Plan.NONE, (paid,) if refund else (), notices=1, recorded=1)

    async def calls(self, operation: Operation) -> list[CallRecord]:
        """What a provider was asked."""
        return [call for call in await self.sandbox.control.calls() if call.operation is operation]


def _today() -> datetime:
    # The whole day counts as unused, so that a test that runs over midnight ends as it began.
    return datetime.now(UTC) + timedelta(days=1)
