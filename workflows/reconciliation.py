"""The workflow that compares the systems of this service, and makes true again what must be."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from kit.contract import Invariant
from kit.workflow import ReconciliationReport, ReconciliationRequest, ReconciliationWorkflow
from workflows.invariants.checkout import CAPTURED_HAS_ORDER, ORDER_IS_PAID, RECEIPT_HAS_ORDER
from workflows.invariants.subscriptions import CRM_SHOWS_PLAN, ENDED_IS_NOT_CHARGED, PAYING_IS_ENTITLED

INVARIANTS: Final[tuple[Invariant, ...]] = (
    CAPTURED_HAS_ORDER,
    ORDER_IS_PAID,
    RECEIPT_HAS_ORDER,
    ENDED_IS_NOT_CHARGED,
    PAYING_IS_ENTITLED,
    CRM_SHOWS_PLAN,
)
"""What `Reconcile` checks, in this order."""


@workflow.defn
class Reconcile(ReconciliationWorkflow, invariants=INVARIANTS):
    """Compare the shop's systems."""

    @workflow.run
    async def run(self, request: ReconciliationRequest) -> ReconciliationReport:
        """Check every invariant, or those that are asked for."""
        return await self.reconcile(request)
