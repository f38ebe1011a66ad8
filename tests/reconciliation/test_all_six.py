"""Every invariant of the reference service is broken at once: found, repaired or asked about, and found no more."""

from __future__ import annotations

import json

import pytest

from activities.orders.contract import OrderStatus
from kit.workflow import Standing
from kit.workflow.reporting import markdown
from tests.reconciliation.estate import Estate
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID, RECEIPT_HAS_ORDER
from workflows.invariants.subscriptions import CRM_SHOWS_PLAN, ENDED_IS_NOT_CHARGED, PAYING_IS_ENTITLED

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def break_everything(estate: Estate) -> None:
    """What is wrong, and beside it of each kind one that is right."""
    await estate.order("PAID")
    await estate.payment("PAID")
    await estate.receipt("PAID")
    await estate.payment("NO-ORDER")
    await estate.order("NO-PAYMENT")
    await estate.order("SENT", OrderStatus.CANCELLED)
    await estate.receipt("SENT")
    billing, crm, entitlements = estate.app.billing, estate.app.crm, estate.app.entitlements
    for account, price in (("right", "price_pro"), ("revoked", "price_pro"), ("shown", "price_starter")):
        billing.subscribe(f"sub_{account}", account_id=account, price=price)
    billing.subscribe("sub_ended", account_id="ended")
    await estate.ended_subscription("sub_ended", account_id="ended")
    for account, plan in (("right", "pro"), ("revoked", "none"), ("shown", "starter"), ("ended", "starter")):
        entitlements.add(account, plan=plan)
    for account, plan in (("right", "pro"), ("revoked", "pro"), ("shown", "enterprise")):
        crm.add(account, plan=plan)


async def test_all_six_are_found_repaired_or_asked_about_and_found_no_more(estate: Estate) -> None:
    """Four are repaired through operations, two are questions; once these are settled a second run finds nothing."""
    await break_everything(estate)

    async with estate.worker() as worker:
        first = await estate.reconcile(worker, replayed=True)
        await estate.payment("NO-PAYMENT")
        await estate.move("SENT", OrderStatus.PLACED)
        await estate.payment("SENT")
        second = await estate.reconcile(worker)

    found = {finding.invariant: (finding.key, finding.standing) for finding in first.findings}
    assert found == {
        CAPTURED_HAS_ORDER.name: ("NO-ORDER", Standing.REPAIRED),
        ORDER_IS_PAID.name: ("NO-PAYMENT", Standing.ASKED),
        RECEIPT_HAS_ORDER.name: ("SENT", Standing.ASKED),
        ENDED_IS_NOT_CHARGED.name: ("sub_ended", Standing.REPAIRED),
        PAYING_IS_ENTITLED.name: ("revoked", Standing.REPAIRED),
        CRM_SHOWS_PLAN.name: ("shown", Standing.REPAIRED),
    }
    assert len(first.findings) == 6
    assert estate.left("NO-ORDER") == 0
    assert estate.app.billing.subscriptions["sub_ended"].status == "canceled"
    assert estate.app.entitlements.plan("revoked") == "pro"
    shown = estate.app.crm.company("shown", by="account_id")
    assert shown is not None
    assert shown.properties["plan"] == "starter"
    rows = await estate.ledger.of_saga(first.workflow_id)
    assert sorted(row.key.partition(":")[0] for row in rows) == [
        "cancel-subscription",
        "crm-upsert",
        "entitlement",
        "refund",
    ]
    assert second.findings == []
    assert second.holds


async def test_the_report_has_the_evidence_in_both_forms(estate: Estate) -> None:
    """What each system said, when, by which rule, and what was done under which key: as a page, and as a document."""
    await break_everything(estate)

    async with estate.worker() as worker:
        asked = (RECEIPT_HAS_ORDER.name, ENDED_IS_NOT_CHARGED.name)
        report = await estate.reconcile(worker, invariants=asked)

    page, document = markdown(report), json.loads(report.model_dump_json())
    assert "## sub_ended: a subscription that has ended here is not charged" in page
    assert "subscription 'sub_ended' has ended here, and is active at the billing provider *repaired*" in page
    assert "- left: canceled (account_id ended, number 1)" in page
    assert "- right: active (account_id ended, plan starter, subscription_id sub_ended)" in page
    assert "- repair: billing.cancel_subscription under `cancel-subscription:sub_ended:1`: done" in page
    assert "`receipt:SENT` is done, by run `checkout-SENT`, which is unknown" in page
    assert {finding["key"] for finding in document["findings"]} == {finding.key for finding in report.findings}
    assert all(finding["seen_at"] and finding["pair"] for finding in document["findings"])
