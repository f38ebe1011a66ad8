"""A release whose behaviour is reversed: checkouts of a bad build, of which some were refunded by hand.

Fewer than in the demo, which does it with fifty and is run by the tests, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner

from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.tables import carts, create_tables, open_cart, orders
from kit.ledger import SqliteLedger, TransactionalLedger
from kit.operate import Operating
from kit.operate.unwinding import Plan, State, Unwinding, plan, targets
from kit.testing.sandbox import EffectKind, EffectRecord, Sandbox, violations
from kit.worker import ReliabilityPlugin
from kit.workflow import DECIDE_UPDATE, TASKS_QUERY, Choice, Decision, Task
from kit.workflow.unwound import unwind_id
from tests.harness import Running, running
from tests.workflows.shop import AMOUNT, Addresses, checkout_of, connectors
from workflows.checkout import Checkout

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ORDERS = [f"bad-{number:02}" for number in range(15)]
BY_HAND = ORDERS[1::5]
KEY = {"Authorization": "Bearer sk_test_sandbox"}
QUERY = "BuildIds = 'unversioned:bad' AND WorkflowType = 'Checkout'"


@dataclass(frozen=True)
class Shop:
    """Open carts, and everything a checkout needs."""

    sandbox: Sandbox
    engine: AsyncEngine
    ledger: SqliteLedger
    plugin: ReliabilityPlugin

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Shop]:
        """Open the shop."""
        async with Sandbox.start() as sandbox:
            engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'shop.db'}", connect_args={"timeout": 30})
            await create_tables(engine)
            for order in ORDERS:
                await open_cart(engine, f"cart-{order}")
            database = TransactionalLedger(engine)
            await database.create_schema()
            ledger = SqliteLedger(folder / "effects.db")
            providers = Addresses(sandbox.url, sandbox.webhook_url, sandbox.smtp_host, sandbox.smtp_port)
            async with connectors(providers, database) as served:
                yield cls(sandbox, engine, ledger, ReliabilityPlugin(ledger=ledger, connectors=served))
            await engine.dispose()

    async def effects(self) -> list[EffectRecord]:
        """What the providers did, by their own records."""
        return await self.sandbox.control.effects()

    async def rows(self) -> tuple[set[str], set[str]]:
        """In which states the orders and the carts are."""
        async with self.engine.connect() as tx:
            found = [(await tx.execute(select(table.c.status))).scalars().all() for table in (orders, carts)]
        placed, opened = (set(map(str, each)) for each in found)
        return placed, opened

    async def check_out(self, worker: Running) -> None:
        """Check all carts out."""
        handles = [
            await worker.start(
                Checkout.run, checkout_of(order_id=order, cart_id=f"cart-{order}", quantity=1), id=f"checkout-{order}"
            )
            for order in ORDERS
        ]
        await asyncio.gather(*(handle.result() for handle in handles))

    async def refund_by_hand(self) -> None:
        """As somebody does at the provider's own dashboard."""
        intents = {e.reference: e.object_id for e in await self.effects() if e.kind is EffectKind.AUTHORIZED}
        async with httpx.AsyncClient(base_url=self.sandbox.url, headers=KEY) as dashboard:
            for order in BY_HAND:
                reply = await dashboard.post("/v1/refunds", data={"payment_intent": intents[order]})
                reply.raise_for_status()


async def test_what_a_bad_build_did_is_reversed(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """No charge is left, none is refunded twice, what has no undo is asked about, and nothing else is left."""
    queue = f"shop-{tmp_path.name}"
    # Without the sandbox, which costs as much as all else: what is shown here does not depend on it.
    where: dict[str, Any] = {"task_queue": queue, "workflow_runner": UnsandboxedWorkflowRunner()}
    async with Shop.open(tmp_path) as shop:
        async with running(server, shop.plugin, [Checkout], build_id="bad", **where) as bad:
            await shop.check_out(bad)
        charged = [effect for effect in await shop.effects() if effect.kind is EffectKind.CAPTURED]
        await shop.refund_by_hand()

        async with running(server, shop.plugin, [Checkout], build_id="good", **where) as good:
            operating = Operating(client=good.client, ledger=shop.ledger, task_queue=queue)
            plans = await _plan(operating)
            first = await Unwinding(operating, who="ada", why="bad build", rate=100, at_once=20).run(plans)
            live = Counter(effect.kind for effect in await shop.effects() if effect.live)
            await _leave_what_was_sent(good, first[0].target.saga)
            again = await plan(operating, [first[0].target, first[1].target])

        effects = await shop.effects()
        rows = await shop.rows()

    assert len(charged) == len(plans) == len(first) == len(ORDERS)
    assert {len(each.effects.effects) for each in plans} == {7}
    assert {fate.state for fate in first} == {State.PARKED}
    assert live == Counter({EffectKind.DELIVERED: len(ORDERS), EffectKind.SENT: len(ORDERS)})
    assert violations(effects) == ()
    refunds = [effect for effect in effects if effect.kind is EffectKind.REFUNDED]
    assert Counter(effect.reference for effect in refunds) == Counter(ORDERS)
    assert {effect.amount for effect in refunds} == {AMOUNT}
    assert rows == ({OrderStatus.CANCELLED}, {CartStatus.OPEN})
    assert [each.effects.nothing_to_do for each in again] == [True, False]
    assert {effect.operation for effect in again[1].effects.effects} == {
        "fulfilment.request_shipment",
        "email.send_receipt",
    }


async def _plan(operating: Operating) -> list[Plan]:
    query = f"{QUERY} AND TaskQueue = '{operating.task_queue}'"
    # Visibility hears of a run's end a little later, and tells nobody when.
    done = f"{query} AND ExecutionStatus = 'Completed'"
    while (await operating.client.count_workflows(done)).count < len(ORDERS):  # noqa: ASYNC110 - as it says
        await asyncio.sleep(0.1)
    return await plan(operating, [target async for target in targets(operating, query, limit=100)])


async def _leave_what_was_sent(worker: Running, saga: str) -> None:
    """A person decides: the parcel comes back by itself, and a mail stays a mail."""
    handle = worker.client.get_workflow_handle(unwind_id(saga))
    for task in await handle.query(TASKS_QUERY, result_type=list[Task]):
        decision = Decision(task_id=task.id, choice=Choice.SKIP, who="ada", why="the customers are told")
        await handle.execute_update(DECIDE_UPDATE, decision, result_type=Task)
    await handle.result()
