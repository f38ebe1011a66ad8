"""Reconciliations when things go wrong around them: crashes, long lists, runs in flight, floods."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from activities.orders.contract import OrderStatus
from activities.payments.contract import AuthorizePayment
from kit.workflow import Choice, Decision, ReconciliationReport, ReconciliationRequest, ReconciliationWorkflow, Standing
from kit.workflow.reporting import markdown
from tests.reconciliation.estate import AMOUNT, Estate
from tests.reconciliation.pay import Pay
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID, RECEIPT_HAS_ORDER
from workflows.reconciliation import Reconcile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ONLY: Final[dict[str, Any]] = {"invariants": (CAPTURED_HAS_ORDER.name,)}


async def test_a_run_that_loses_its_worker_goes_on_from_the_page_it_was_at(estate: Estate) -> None:
    """Of eight pages none is read twice, though the worker is gone after the third and another one takes over."""
    for number in range(8):
        await estate.payment(f"ORDER-{number}")
        await estate.order(f"ORDER-{number}")
    lost = await estate.payment("LOST")
    estate.app.exchange.journal.clear()
    third = asyncio.Event()

    async def on_page(request: httpx.Request) -> None:
        if sum("starting_after" in one for one in estate.asked) == 2:
            third.set()

    estate.listen(on_page)
    estate.cached = False  # else the second worker is kept waiting for the first one
    async with estate.worker() as worker:
        handle = await estate.begin(worker, page_size=2, **ONLY)
        await third.wait()
    async with estate.worker(task_queue=worker.task_queue) as second:
        again = second.client.get_workflow_handle(handle.id, result_type=ReconciliationReport)
        report = await again.result()

    assert [finding.key for finding in report.findings] == ["LOST"]
    assert report.compared[0].right_pages == 5
    asked = [query for query in estate.asked if "limit=2" in query]
    assert len(asked) - len(set(asked)) <= 1  # the page at work when the worker went
    assert estate.left("LOST") == 0
    assert (await estate.ledger.get(f"refund:{lost}")) is not None


async def test_a_long_comparison_continues_as_new_with_its_checkpoint(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh history every two pages: nothing is read twice, and findings and counts are of the whole."""
    monkeypatch.setattr("kit.workflow.reconciling.PAGES_A_RUN", 2)
    for number in range(6):
        await estate.payment(f"ORDER-{number}")
        await estate.order(f"ORDER-{number}")
    await estate.payment("LOST")

    async with estate.worker() as worker:
        handle = await estate.begin(worker, page_size=2, **ONLY)
        report: ReconciliationReport = await handle.result()
        first = await worker.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id).describe()

    compared = report.compared[0]
    assert first.status is not None
    assert first.status.name == "CONTINUED_AS_NEW"
    assert (compared.left_records, compared.right_records) == (6, 7)
    assert [finding.standing for finding in report.findings] == [Standing.REPAIRED]
    assert len([query for query in estate.asked if "limit=2" in query]) == compared.right_pages == 4


async def test_systems_are_not_asked_more_often_than_at_the_rate(estate: Estate) -> None:
    """At ten questions a minute, eight pages take more than half a minute of the run's own time."""
    for number in range(4):
        await estate.payment(f"ORDER-{number}")
        await estate.order(f"ORDER-{number}")

    async with estate.worker() as worker:
        report = await estate.reconcile(worker, page_size=1, calls_a_minute=10, **ONLY)

    assert report.ended_at is not None
    pages = report.compared[0].left_pages + report.compared[0].right_pages
    assert pages >= 8
    assert report.ended_at - report.started_at >= timedelta(seconds=6) * (pages - 1) - timedelta(seconds=5)


async def test_what_an_open_run_is_at_work_on_is_not_wrong(estate: Estate) -> None:
    """A captured payment whose run waits for a person is in flight; once the run was terminated it is a finding."""
    request = AuthorizePayment(order_id="ORDER-1", amount=AMOUNT, currency="usd", payment_method="pm_card_visa")

    async with estate.worker(Pay, Reconcile) as worker:
        paying = await worker.start(Pay.run, request)
        while not (await paying.query(Pay.kit_summary)).parked:
            pass
        open_run = await estate.reconcile(worker, **ONLY)
        await paying.terminate()
        closed_run = await estate.reconcile(worker, **ONLY)

    (finding,) = open_run.findings
    assert (finding.standing, finding.reason) == (Standing.IN_FLIGHT, f"run {paying.id} is open")
    assert open_run.holds
    (finding,) = closed_run.findings
    assert finding.standing is Standing.REPAIRED
    assert [(run.workflow_id, run.status) for run in finding.runs] == [(paying.id, "terminated")]
    assert estate.left("ORDER-1") == 0


async def test_a_flood_is_not_repaired_unasked_but_when_a_person_approves(estate: Estate) -> None:
    """Where a system seems to have lost everything nothing is refunded, and one question holds all of it."""
    for number in range(21):
        await estate.payment(f"ORDER-{number}")

    async with estate.worker() as worker:
        report = await estate.reconcile(worker, **ONLY)
        untouched = sum(estate.left(f"ORDER-{number}") for number in range(21))
        question = worker.client.get_workflow_handle(str(report.findings[0].task))
        (task,) = await question.query("kit_tasks")
        answer = Decision(task_id=task["id"], choice=Choice.APPROVE, who="ada", why="the import of noon")
        await question.execute_update("kit_decide", answer)
        closed = await question.result()
        approved = worker.client.get_workflow_handle(closed["repair"], result_type=ReconciliationReport)
        repaired = await approved.result()

    assert untouched == 21 * AMOUNT
    assert {finding.task for finding in report.findings} == {question.id}
    assert "21 of them can be repaired, if you approve" in task["question"]
    assert report.findings[0].reason == "21 repairs of this kind at once, and at most 20 are made unasked"
    assert (repaired.who, repaired.holds) == ("ada", True)
    assert sum(estate.left(f"ORDER-{number}") for number in range(21)) == 0


async def test_a_repair_that_fails_stops_nothing(estate: Estate) -> None:
    """One refund is refused: the other one is made, and the first becomes a question with the reason."""
    refused = await estate.payment("ORDER-1")
    await estate.payment("ORDER-2")
    estate.refuse("refunds", refused)

    async with estate.worker() as worker:
        report = await estate.reconcile(worker, **ONLY)

    standings = {finding.key: finding.standing for finding in report.findings}
    assert standings == {"ORDER-1": Standing.ASKED, "ORDER-2": Standing.REPAIRED}
    failed = next(finding for finding in report.findings if finding.key == "ORDER-1")
    assert failed.reason == "its repair left it refused (http_403)"
    assert "its repair left it refused" in markdown(report)


async def test_a_system_that_is_down_leaves_its_invariants_unchecked(estate: Estate) -> None:
    """Nobody says that a rule holds which could not be checked; the others are checked all the same."""
    estate.refuse("payment_intents", "")
    await estate.order("ORDER-1", OrderStatus.CANCELLED)

    async with estate.worker() as worker:
        report = await estate.reconcile(worker)

    unchecked = {each.invariant: each.unchecked for each in report.invariants}
    assert unchecked[CAPTURED_HAS_ORDER.name] == "payments.list_taken: forbidden (http_403)"
    assert unchecked[ORDER_IS_PAID.name] is not None
    assert unchecked[RECEIPT_HAS_ORDER.name] is None
    assert not report.holds


async def test_looking_changes_nothing(estate: Estate) -> None:
    """A run that only looks finds the same, repairs nothing and asks nobody."""
    await estate.payment("ORDER-1")

    async with estate.worker() as worker:
        report = await estate.reconcile(worker, repair=False)

    assert [finding.standing for finding in report.findings] == [Standing.FOUND]
    assert report.findings[0].task is None
    assert estate.left("ORDER-1") == AMOUNT


async def test_a_reconciliation_without_invariants_is_refused() -> None:
    """A class that would check nothing cannot be built."""
    with pytest.raises(ValueError, match="its invariants are"):

        class Nothing(ReconciliationWorkflow):
            pass


async def test_an_invariant_that_there_is_not_fails_the_run(estate: Estate) -> None:
    """A name that is not known is a clear failure, and nothing is read."""
    async with estate.worker() as worker:
        handle = await worker.start(Reconcile.run, ReconciliationRequest(invariants=("all is well",)))
        with pytest.raises(Exception, match="Workflow execution failed") as failed:
            await handle.result()

    cause: Any = failed.value.__cause__
    assert "there is no invariant 'all is well'" in str(cause)
