"""A bad release and its reversal: fifty orders completed by a bad build, three refunded by hand since, all unwound.

Nothing goes wrong with these orders: they should not have been, and rolling the code back leaves them as they are. What
is undone, and that nothing is given back twice, is read from the providers' records, as with all other orders.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from sqlalchemy import insert
from temporalio.client import WorkflowHandle

from activities.orders.contract import CartStatus, OrderStatus
from activities.orders.tables import cart_status, carts, order_status
from kit.ledger import SqlLedger
from kit.operate import Operating
from kit.operate.unwind_report import document, markdown
from kit.operate.unwinding import Fate, Plan, State, Unwinding, plan, targets
from kit.testing.sandbox import EffectKind, EffectRecord, violations
from temporal.demo.stage import BAD_BUILD, Stage
from temporal.demo.stories import AMOUNT, CURRENCY, SKU
from workflows.checkout import Checkout, CheckoutRequest

ORDERS: Final = 50
BY_HAND: Final = 3
"""How many of them somebody has refunded meanwhile, at the provider's dashboard."""

WHO: Final = "demo"
WHY: Final = f"build {BAD_BUILD} should not have taken these orders"
RATE: Final = 50.0  # unwinds started in a second: these providers have nothing else to do

_GONE: Final = (EffectKind.AUTHORIZED, EffectKind.CAPTURED, EffectKind.RESERVED)
"""What may not be left."""
_STAYS: Final = (EffectKind.DELIVERED, EffectKind.SENT)
"""What nobody can take back: a person is asked."""


@dataclass(slots=True)
class Release:
    """What came of it.

    Attributes:
        lines: What the records say, each with whether it is well.
        fates: What has become of each order, as the unwinds say.
        plans: What they were going to do.
        at: When they were carried out.
    """

    lines: list[tuple[bool, str]] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def markdown(self) -> str:
        """The report for people."""
        return markdown(self.fates, who=WHO, why=WHY, at=self.at)

    @property
    def document(self) -> dict[str, Any]:
        """The report for machines."""
        findings = [{"ok": well, "text": text} for well, text in self.lines]
        return {"findings": findings, **document(self.plans, self.fates, who=WHO, why=WHY, at=self.at)}


def order_ids(stage: Stage) -> list[str]:
    """The orders of the bad build."""
    return [f"order-bad-build-{number:02}{stage.suffix}" for number in range(1, ORDERS + 1)]


async def play(stage: Stage) -> Release:
    """Let the bad build complete its orders, refund some by hand, unwind all, and look at what is left."""
    orders = order_ids(stage)
    await _check_out(stage, orders)
    charged = Counter(
        effect.reference for effect in await _effects(stage, orders) if effect.kind is EffectKind.CAPTURED
    )
    await _refund_by_hand(stage, orders[:: ORDERS // BY_HAND][:BY_HAND])
    release = Release()
    async with SqlLedger(stage.settings.ledger_url) as ledger:
        operating = Operating(client=stage.client, ledger=ledger, task_queue=stage.settings.task_queue)
        release.plans = await _plan(operating, orders)
        release.fates = await Unwinding(operating, who=WHO, why=WHY, rate=RATE, at_once=ORDERS).run(release.plans)
    await _judge(stage, orders, charged, release)
    return release


async def _check_out(stage: Stage, orders: list[str]) -> None:
    handles: list[WorkflowHandle[Any, Any]] = []
    async with stage.shop.begin() as tx:
        await tx.execute(insert(carts), [{"id": _cart(order), "status": CartStatus.OPEN} for order in orders])
    for order in orders:
        request = CheckoutRequest(
            order_id=order,
            cart_id=_cart(order),
            sku=SKU,
            quantity=1,
            amount=AMOUNT,
            currency=CURRENCY,
            payment_method="pm_card_visa",
            email="bad-build@customer.example",
        )
        handles.append(
            await stage.client.start_workflow(Checkout.run, request, id=order, task_queue=stage.settings.task_queue)
        )
    await asyncio.gather(*(handle.result() for handle in handles))


async def _refund_by_hand(stage: Stage, orders: list[str]) -> None:
    """As somebody does at the provider's dashboard: neither Temporal nor the ledger hears of it."""
    key = {"Authorization": f"Bearer {stage.settings.payments_key.get_secret_value()}"}
    found = {e.reference: e.object_id for e in await _effects(stage, orders) if e.kind is EffectKind.AUTHORIZED}
    async with httpx.AsyncClient(base_url=stage.sandbox.url, headers=key, trust_env=False) as dashboard:
        for order in orders:
            reply = await dashboard.post("/v1/refunds", data={"payment_intent": found[order]})
            reply.raise_for_status()


async def _plan(operating: Operating, orders: list[str]) -> list[Plan]:
    prefix = orders[0].rpartition("bad-build-")[0] + "bad-build-"
    query = (
        f"BuildIds = 'unversioned:{BAD_BUILD}' AND WorkflowId STARTS_WITH '{prefix}' "
        f"AND TaskQueue = '{operating.task_queue}'"
    )
    # Visibility hears of a run's end a little later, and tells nobody when.
    done = f"{query} AND ExecutionStatus = 'Completed'"
    while (await operating.client.count_workflows(done)).count < ORDERS:  # noqa: ASYNC110 - as it says
        await asyncio.sleep(0.1)
    return await plan(operating, [each async for each in targets(operating, query, limit=ORDERS)])


async def _judge(stage: Stage, orders: list[str], charged: Counter[str], release: Release) -> None:
    effects = await _effects(stage, orders)
    live = Counter(effect.kind for effect in effects if effect.live)
    refunds = Counter(effect.reference for effect in effects if effect.kind is EffectKind.REFUNDED)
    amounts = {effect.amount for effect in effects if effect.kind is EffectKind.REFUNDED}
    twice = sum(number > 1 for number in refunds.values())
    left = sum(live[kind] for kind in _GONE)
    stands = [(await order_status(stage.shop, order), await cart_status(stage.shop, _cart(order))) for order in orders]
    taken_back = stands.count((OrderStatus.CANCELLED, CartStatus.OPEN))
    parked = sum(fate.state is State.PARKED for fate in release.fates)
    stays = sum(live[kind] for kind in _STAYS)
    release.lines = [
        (
            left == twice == 0 and refunds == charged == Counter(orders) and amounts == {AMOUNT},
            f"{len(charged)} orders of a bad build, {BY_HAND} refunded by hand, unwound: {left} charges, holds or "
            f"reservations left, {sum(refunds.values())} refunds, {twice} orders refunded twice",
        ),
        (taken_back == ORDERS, f"{taken_back} of {ORDERS} of them are cancelled in the shop, their carts open again"),
        (
            parked == ORDERS and stays == ORDERS * len(_STAYS),
            f"{stays} parcels and e-mails that cannot be taken back: each a question to its owner",
        ),
    ]
    release.lines += [(False, violation.message) for violation in violations(effects)]


def _cart(order: str) -> str:
    return order.replace("order-", "cart-", 1)


async def _effects(stage: Stage, orders: list[str]) -> list[EffectRecord]:
    wanted = set(orders)
    return [e for e in await stage.sandbox.control.effects() if wanted.intersection(e.reference.split(":"))]
