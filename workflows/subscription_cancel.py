"""Subscription cancel: from a customer's wish to a subscription that has ended everywhere, or is active as before."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.audit import contract as audit
from activities.billing import contract as billing
from activities.email import contract as email
from activities.entitlements import contract as entitlements
from activities.payments import contract as payments
from activities.subscriptions import contract as subscriptions
from kit import Model, SagaWorkflow
from kit.workflow import EXPIRED, REJECTED

APPROVE_ABOVE: Final = 5_000
"""A refund of more than this (minor units) needs an approval."""

APPROVE_WITHIN: Final = timedelta(days=3)
"""How long an approval may take. Without one in time nothing is refunded."""


class CancelRequest(Model):
    """A customer wants a subscription to end.

    Attributes:
        subscription_id: Which; the billing provider uses the same id.
        number: Which cancellation of it this is, as `activities.subscriptions.tables.cancellation_number` says. Whoever
            asks twice says the same number.
    """

    subscription_id: payments.Id
    number: subscriptions.Number = 1

    @property
    def workflow_id(self) -> str:
        """The id to start the run under, once: the business event's own."""
        return f"cancel-{self.subscription_id}-{self.number}"


class SubscriptionCanceled(Model):
    """A subscription that has ended.

    Attributes:
        subscription_id: Which.
        refund: What was given back, in minor units; 0 for nothing.
        refund_id: The provider's id of the refund, if there is one.
    """

    subscription_id: str
    refund: int = 0
    refund_id: str | None = None


@workflow.defn
class SubscriptionCancel(
    SagaWorkflow,
    owner="billing-team",
    deadline=timedelta(hours=1),
    runbook="docs/explanation/failure-model.md#for-operators",
):
    """Mark the subscription, cancel it at the provider, finish; then refund, and tell the customer.

    The cancellation at the provider is the pivot. It cannot be taken back: a subscription that has ended there is never
    active again. Before it only a row of our own has changed, which goes back to ``active`` when the provider refuses;
    after it the customer is right whatever else fails, and the rest is made to follow: the row, the entitlement, the
    refund. The e-mail and the audit record say what has become true, so they leave only when it has.

    The refund comes after the pivot, and so does the question whether it may be made: the customer's wish does not wait
    for our approval of an amount. A refund that is rejected, or not approved in time, is not made, and the subscription
    has ended all the same.

    Every key is made of the subscription and the number of the cancellation, and no request carries a time: runs for
    the same cancellation, under whatever ids they were started, share every effect.
    """

    @workflow.run
    async def run(self, request: CancelRequest) -> SubscriptionCanceled:
        """Cancel one subscription."""
        subscription_id, number = request.subscription_id, request.number
        begun = await self.step(
            subscriptions.begin_cancellation,
            subscriptions.BeginCancellation(subscription_id=subscription_id, number=number),
        )
        # What was paid is looked up while the run can still turn round: afterwards it would have to wait for it.
        subscription = await self.step(
            billing.read_subscription, billing.ReadSubscription(subscription_id=subscription_id)
        )
        await self.pivot(
            billing.cancel_subscription, billing.CancelSubscription(subscription_id=subscription_id, number=number)
        )
        await self.step(
            subscriptions.finish_cancellation,
            subscriptions.FinishCancellation(subscription_id=subscription_id, number=number),
        )
        # Not read and changed: a second run would read what the first has left, and share no effect with it.
        await self.step(
            entitlements.revoke,
            entitlements.RevokeEntitlement(account_id=begun.account_id, change_id=request.workflow_id),
        )
        refund = await self._refund(subscription, subscription.unused(begun.on))
        self.after_commit(
            email.send_notice,
            email.SendNotice(
                notice_id=request.workflow_id,
                to=begun.email,
                template=email.Notice.SUBSCRIPTION_CANCELED,
                account_id=begun.account_id,
                plan=begun.plan,
            ),
        )
        canceled = SubscriptionCanceled(
            subscription_id=subscription_id,
            refund=refund.amount if refund else 0,
            refund_id=refund.refund_id if refund else None,
        )
        self.after_commit(
            audit.record,
            audit.RecordEvent(
                event_id=request.workflow_id,
                event="subscription.canceled",
                subject=subscription_id,
                facts={"account_id": begun.account_id, "plan": begun.plan, "refund": str(canceled.refund)},
            ),
        )
        return canceled

    async def _refund(self, subscription: billing.Subscription, amount: int) -> billing.Refund | None:
        """Give back what was paid for the unused time, if it may be given back."""
        if amount == 0 or subscription.payment_intent is None:
            return None
        refund = billing.RefundProration(
            subscription_id=subscription.subscription_id,
            payment_intent=subscription.payment_intent,
            amount=amount,
            currency=subscription.currency,
        )
        if amount <= APPROVE_ABOVE:
            return await self.step(billing.refund_proration, refund)
        try:
            approval = await self.approval(
                billing.refund_proration,
                refund,
                question=f"Refund {amount} {refund.currency} for the unused time of {refund.subscription_id}?",
                within=APPROVE_WITHIN,
            )
            return await self.step(billing.refund_proration, refund, approval=approval)
        except ApplicationError as error:
            if error.type not in (REJECTED, EXPIRED):
                raise
            return None
