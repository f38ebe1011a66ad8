"""Graceful degradation: the checkout accepts the intent while what cannot be taken back is on hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kit.contract import Hold, HoldScope
from kit.operate import SubmitState, hold_off, hold_on, submit
from kit.testing.sandbox import EffectKind
from tests.harness import Running
from tests.workflows.shop import ORDER, SUCCESS, Shop, assert_truth, checkout_of
from tests.workflows.story import Run
from workflows.checkout import Checkout

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def _on(worker: Running, shop: Shop, scope: HoldScope, name: str) -> None:
    hold = Hold(scope=scope, name=name, reason="receipts go out twice", who="ada", since=datetime.now(UTC))
    await shop.ledger.open()  # the worker may not have come to it yet
    await hold_on(shop.ledger.holds, hold)
    await _look(worker)


async def _off(worker: Running, shop: Shop, scope: HoldScope, name: str) -> None:
    await hold_off(shop.ledger.holds, scope, name, who="ada", reason="mended")
    await _look(worker)


async def _look(worker: Running) -> None:
    """Do what a worker does every second."""
    assert worker.plugin.holds is not None
    assert await worker.plugin.holds.look()


async def test_checkout_is_accepted_while_the_irreversible_is_on_hold(shop: Shop) -> None:
    """The order is placed and paid and the caller hears "accepted"; shipment and receipt leave once, afterwards."""
    async with shop.worker() as worker:
        await _on(worker, shop, HoldScope.EFFECT, "irreversible")
        heard = await submit(
            worker.client, Checkout.run, checkout_of(), id=f"degraded-{worker.task_queue}", task_queue=worker.task_queue
        )
        placed, _ = await shop.tables()
        meanwhile = await shop.seen()
        await _off(worker, shop, HoldScope.EFFECT, "irreversible")
        story = await Run(worker, heard.handle).story()

    assert (heard.state, heard.committed, heard.held) == (SubmitState.ACCEPTED, True, True)
    assert placed == {ORDER: "placed"}
    assert meanwhile[EffectKind.CAPTURED] == 1
    assert meanwhile[EffectKind.DELIVERED] == meanwhile[EffectKind.SENT] == 0
    assert story.activities == SUCCESS
    await assert_truth(shop, story)


@pytest.mark.parametrize("cached", [True], indirect=True)  # replays of its steps are tested above
async def test_checkout_is_accepted_before_anything_has_happened(shop: Shop) -> None:
    """With the payment provider on hold the intent is durable: nothing is charged, and all of it follows later."""
    async with shop.worker() as worker:
        await _on(worker, shop, HoldScope.DEPENDENCY, "payments")
        heard = await submit(
            worker.client, Checkout.run, checkout_of(), id=f"waiting-{worker.task_queue}", task_queue=worker.task_queue
        )
        meanwhile = await shop.seen()
        await _off(worker, shop, HoldScope.DEPENDENCY, "payments")
        story = await Run(worker, heard.handle).story()

    assert (heard.state, heard.committed, heard.held) == (SubmitState.ACCEPTED, False, True)
    assert meanwhile[EffectKind.AUTHORIZED] == 0
    assert story.activities == SUCCESS
    await assert_truth(shop, story)


@pytest.mark.parametrize("cached", [True], indirect=True)  # replays of its steps are tested above
async def test_checkout_without_a_hold_is_completed(shop: Shop) -> None:
    """The caller of a run that ends in time has its result, and the run has no event for it."""
    async with shop.worker() as worker:
        heard = await submit(
            worker.client, Checkout.run, checkout_of(), id=f"done-{worker.task_queue}", task_queue=worker.task_queue
        )
        again = await submit(
            worker.client, Checkout.run, checkout_of(), id=f"done-{worker.task_queue}", task_queue=worker.task_queue
        )
        story = await Run(worker, heard.handle).story()

    assert (heard.state, heard.held, heard.duplicate, again.duplicate) == (SubmitState.COMPLETED, False, False, True)
    assert heard.result == again.result
    assert heard.result is not None
    assert heard.result.order_id == ORDER
    assert story.activities == SUCCESS
    assert "WORKFLOW_EXECUTION_UPDATE_ACCEPTED" not in story.history.kinds
