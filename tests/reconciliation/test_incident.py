"""Incidents: from containing them to an end that is refused while anything is wrong."""

from __future__ import annotations

import pytest

from activities.orders.contract import OrderStatus
from kit.contract import HoldScope
from kit.operate import IncidentRefused, Operating, hold_off, open_tasks, store_of
from kit.operate.incident import advance, close, note, open_incident, story
from kit.workflow.incident import IncidentRequest, Stage, Word
from temporal.app import WORKFLOWS
from tests.harness import Running
from tests.reconciliation.estate import Estate
from tests.worlds.checkout import CHECKOUT
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID
from workflows.reconciliation import INVARIANTS, Reconcile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ADA = Word(who="ada", why="done")


def _operating(estate: Estate, worker: Running) -> Operating:
    return Operating(client=worker.client, ledger=estate.ledger, task_queue=worker.task_queue)


def _request(title: str, *holds: str) -> IncidentRequest:
    return IncidentRequest(title=title, who="ada", why="customers complain", reconciliation="Reconcile", holds=holds)


async def test_an_incident_is_closed_only_when_everything_holds(estate: Estate) -> None:
    """It repairs on its way; it is refused its end while an invariant is violated, a task open or its hold on."""
    await estate.payment("ORDER-1")
    await estate.order("ORDER-2", OrderStatus.PLACED)

    async with estate.worker() as worker:
        operating = _operating(estate, worker)
        title = f"payments without orders {worker.task_queue}"
        opened = await open_incident(operating, _request(title, "operation:payments.capture"))
        with pytest.raises(IncidentRefused, match="is open: go on with it"):
            await open_incident(operating, _request(title, "operation:payments.refund"))
        holds = await store_of(operating).active()
        with pytest.raises(IncidentRefused, match="it is closed from 'verify' only"):
            await close(operating, opened.id, ADA)
        await note(operating, opened.id, Word(who="bob", why="the deploy of noon"))
        for _ in range(3):
            record = await advance(operating, opened.id, ADA)
        with pytest.raises(IncidentRefused) as refused:
            await close(operating, opened.id, ADA)
        await estate.payment("ORDER-2")
        await estate.reconcile(worker)  # the next scheduled one, which closes the question
        await hold_off(store_of(operating), HoldScope.OPERATION, "payments.capture", who="ada", reason="mended")
        while await open_tasks(worker.client, query=f"TaskQueue = '{worker.task_queue}'"):
            pass  # visibility is a moment late with the question that is closed
        closed = await close(operating, opened.id, ADA)

    assert [hold.name for hold in holds] == ["payments.capture"]
    assert record.stage is Stage.VERIFY
    assert record.evidence[0].report.invariants[0].holds
    assert estate.left("ORDER-1") == 0
    assert f"“{ORDER_IS_PAID.name}” does not hold (1 findings)" in str(refused.value)
    assert "the hold on operation 'payments.capture' is on" in str(refused.value)
    assert closed.stage is Stage.CLOSED
    assert [len(evidence.refusals) > 0 for evidence in (closed.evidence[1], closed.evidence[-1])] == [True, False]
    assert "bob: the deploy of noon" in story(closed)
    assert "order 'ORDER-2' is placed over 4999, and has paid 0" in story(closed)


async def test_one_definition_is_asked_by_sweep_reconciliation_and_incident(estate: Estate) -> None:
    """What the subject of a sweep has is the very object that the reconciliation checks, by which incidents close."""
    asked = Reconcile.__reconciliation__.invariants
    async with estate.worker() as worker:
        report = await estate.reconcile(worker)

    assert Reconcile in WORKFLOWS
    assert any(each is CAPTURED_HAS_ORDER for each in CHECKOUT.invariants)
    assert any(each is CAPTURED_HAS_ORDER for each in asked)
    assert asked == INVARIANTS
    assert [each.invariant for each in report.invariants] == [each.name for each in asked]
