"""Orders and payments that came apart: found, repaired or asked about, and then found no more."""

from __future__ import annotations

import pytest

from activities.orders.contract import OrderStatus
from kit.workflow import Standing
from tests.reconciliation.estate import AMOUNT, Estate
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_a_payment_without_an_order_is_given_back_and_found_no_more(estate: Estate) -> None:
    """A captured payment whose order does not exist is refunded under a key, and the next run finds nothing."""
    await estate.order("ORDER-1")
    await estate.payment("ORDER-1")
    lost = await estate.payment("ORDER-2")

    async with estate.worker() as worker:
        first = await estate.reconcile(worker, replayed=True)
        second = await estate.reconcile(worker)

    (finding,) = first.findings
    assert (finding.invariant, finding.key, finding.standing) == (CAPTURED_HAS_ORDER.name, "ORDER-2", Standing.REPAIRED)
    assert finding.text == "order 'ORDER-2' does not exist, and 4999 usd was taken for it"
    assert finding.repair is not None
    assert finding.repair.key == f"refund:{lost}"
    assert first.holds
    assert (estate.left("ORDER-1"), estate.left("ORDER-2")) == (AMOUNT, 0)
    row = await estate.ledger.get(f"refund:{lost}")
    assert row is not None
    assert row.saga == first.workflow_id
    assert second.findings == []
    assert second.holds


async def test_an_order_without_a_payment_is_a_question_and_closed_when_it_is_paid(estate: Estate) -> None:
    """No rule can take money: its owner is asked, once for all runs, until the order is paid."""
    await estate.order("ORDER-3", OrderStatus.SHIPPED)

    async with estate.worker() as worker:
        first = await estate.reconcile(worker, replayed=True)
        again = await estate.reconcile(worker, replayed=True)
        (finding,) = first.findings
        question = worker.client.get_workflow_handle(str(finding.task))
        (task,) = await question.query("kit_tasks")
        await estate.payment("ORDER-3")
        third = await estate.reconcile(worker, replayed=True)
        closed = await question.result()

    assert (finding.invariant, finding.standing) == (ORDER_IS_PAID.name, Standing.ASKED)
    assert not first.holds
    assert again.findings[0].task == finding.task
    assert "order 'ORDER-3' is shipped over 4999, and has paid 0" in task["question"]
    assert third.holds
    assert closed["decision"] is None
