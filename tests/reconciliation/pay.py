"""A workflow that takes money for an order which comes later."""

from __future__ import annotations

from temporalio import workflow

from activities.payments import contract as payments
from activities.payments.contract import AuthorizePayment, CapturePayment
from kit import SagaWorkflow


@workflow.defn
class Pay(SagaWorkflow, owner="tests"):
    """Authorize, capture, and wait for a person."""

    @workflow.run
    async def run(self, request: AuthorizePayment) -> None:
        """Take the money."""
        held = await self.step(payments.authorize, request)
        await self.pivot(
            payments.capture,
            CapturePayment(order_id=request.order_id, payment_intent=held.payment_intent, amount=request.amount),
        )
        await self.ask("May the order be made?")
