"""Plan upgrade: one decision of a customer in five systems, or in none."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.billing import contract as billing
from activities.crm import contract as crm
from activities.email import contract as email
from activities.entitlements import contract as entitlements
from activities.entitlements.contract import Plan
from activities.payments.contract import Id
from activities.tickets import contract as tickets
from kit import Model, SagaWorkflow

NO_UPGRADE: Final = "NoUpgrade"
"""The failure type of an upgrade that is none: refused before the first effect."""

_UPWARDS: Final = (Plan.NONE, Plan.STARTER, Plan.PRO, Plan.ENTERPRISE)
_PAYING: Final = frozenset({billing.BillingStatus.ACTIVE, billing.BillingStatus.TRIALING})


class PlanUpgradeRequest(Model):
    """What the customer has asked for."""

    upgrade_id: Id
    account_id: Id
    subscription_id: Id
    plan: Plan
    email: email.Address


class PlanUpgraded(Model):
    """An account on its new plan."""

    upgrade_id: str
    account_id: str
    plan: Plan
    ticket_id: str


@workflow.defn
class PlanUpgrade(
    SagaWorkflow,
    owner="growth-team",
    deadline=timedelta(hours=1),
    runbook="docs/explanation/failure-model.md#for-operators",
):
    """Read how the account stands; then CRM, billing, ticket and entitlement; then tell the customer.

    What is read first is the snapshot that the undo restores. It travels in the request of each write, so it is in the
    history before anything is written.

    The entitlement is the pivot, and comes last: from it on the customer uses the new plan, and only then is there
    something to take away from them. Everything before it is seen by colleagues only, and can be put back: the charge
    is a proration on the next invoice. The other way round, with billing as the pivot, a refused entitlement would
    leave a customer who pays for what they may not use. The e-mail cannot be taken back, so it leaves last.
    """

    @workflow.run
    async def run(self, upgrade: PlanUpgradeRequest) -> PlanUpgraded:
        """Upgrade one account."""
        company, subscription, entitlement = await self.parallel(
            (crm.read_company, crm.ReadCompany(account_id=upgrade.account_id)),
            (billing.read_subscription, billing.ReadSubscription(subscription_id=upgrade.subscription_id)),
            (entitlements.read, entitlements.ReadEntitlement(account_id=upgrade.account_id)),
        )
        _check(upgrade, subscription)
        await self.step(
            crm.upsert_company,
            crm.UpsertCompany(
                account_id=upgrade.account_id,
                change_id=upgrade.upgrade_id,
                fields=crm.CompanyFields(plan=upgrade.plan.value),
                before=company,
            ),
        )
        await self.step(
            billing.change_plan,
            billing.ChangePlan(
                subscription_id=upgrade.subscription_id,
                change_id=upgrade.upgrade_id,
                plan=upgrade.plan,
                before=subscription.plan,
            ),
        )
        ticket = await self.step(
            tickets.open_ticket,
            tickets.OpenTicket(
                reference=upgrade.upgrade_id,
                account_id=upgrade.account_id,
                subject=f"Welcome {upgrade.account_id} to plan {upgrade.plan.value}",
                text=f"Upgraded from {subscription.plan.value}: call them, and show them what is new.",
            ),
        )
        await self.pivot(
            entitlements.change,
            entitlements.ChangeEntitlement(
                account_id=upgrade.account_id,
                change_id=upgrade.upgrade_id,
                plan=upgrade.plan,
                before=entitlement,
            ),
        )
        self.after_commit(
            email.send_notice,
            email.SendNotice(
                notice_id=upgrade.upgrade_id,
                to=upgrade.email,
                template=email.Notice.PLAN_UPGRADED,
                account_id=upgrade.account_id,
                plan=upgrade.plan.value,
            ),
        )
        return PlanUpgraded(
            upgrade_id=upgrade.upgrade_id,
            account_id=upgrade.account_id,
            plan=upgrade.plan,
            ticket_id=ticket.ticket_id,
        )


def _check(upgrade: PlanUpgradeRequest, subscription: billing.Subscription) -> None:
    """Refuse what is no upgrade, as long as nothing has happened.

    Raises:
        ApplicationError: ``NoUpgrade``, with what is wrong.
    """
    wrong = None
    if subscription.account_id != upgrade.account_id:
        wrong = f"it belongs to account {subscription.account_id!r}, not to {upgrade.account_id!r}"
    elif subscription.status not in _PAYING:
        wrong = f"it is {subscription.status.value!r}"
    elif _UPWARDS.index(upgrade.plan) <= _UPWARDS.index(subscription.plan):
        wrong = f"its plan is {subscription.plan.value!r}, from which {upgrade.plan.value!r} is no upgrade"
    if wrong is not None:
        text = f"subscription {upgrade.subscription_id!r} cannot be upgraded: {wrong}"
        raise ApplicationError(text, type=NO_UPGRADE, non_retryable=True)
