"""Subscriptions, what is charged for them, what accounts may use, and what the CRM shows: what must be true between."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from activities.billing import contract as billing
from activities.billing.contract import BillingStatus, CancelSubscription
from activities.crm import contract as crm
from activities.crm.contract import Company, CompanyFields, UpsertCompany
from activities.entitlements import contract as entitlements
from activities.entitlements.contract import ChangeEntitlement, Entitlement, Plan
from activities.subscriptions import contract as subscriptions
from activities.subscriptions.contract import SubscriptionStatus
from kit.contract import Invariant, Pair, Record, Repair, Severity

RUNBOOK: Final = "docs/how-to/reconcile.md"

CHARGES: Final = frozenset(
    {BillingStatus.TRIALING, BillingStatus.ACTIVE, BillingStatus.PAST_DUE, BillingStatus.UNPAID, BillingStatus.PAUSED}
)
"""Subscriptions that are charged, or will be."""

PAID: Final = frozenset({BillingStatus.TRIALING, BillingStatus.ACTIVE})
"""Subscriptions for which the customer may use something."""


# -- an ended subscription is not charged ------------------------------------------------------------------------------


def _charged_after_its_end(pair: Pair) -> str | None:
    ended = [record for record in pair.left if record.state == SubscriptionStatus.CANCELED]
    charged = [record for record in pair.right if record.state in CHARGES]
    if not ended or not charged:
        return None
    return f"subscription {pair.key!r} has ended here, and is {charged[0].state} at the billing provider"


def _cancel(pair: Pair) -> CancelSubscription | None:
    """End it there, too: the same cancellation, under the same key, that the customer has asked for."""
    number = int(pair.left[0].facts["number"])
    return CancelSubscription(subscription_id=pair.key, number=number) if number else None


ENDED_IS_NOT_CHARGED: Final = Invariant(
    name="a subscription that has ended here is not charged",
    severity=Severity.CRITICAL,
    owner="billing-team",
    left=subscriptions.ALL_SUBSCRIPTIONS,
    right=billing.CHARGED_SUBSCRIPTIONS,
    check=_charged_after_its_end,
    effects=("begin-cancellation:{key}:*",),
    repair=Repair(operation=billing.cancel_subscription, request=_cancel),
    runbook=RUNBOOK,
)


# -- who pays may use --------------------------------------------------------------------------------------------------


def _paying(records: tuple[Record, ...]) -> list[Record]:
    return [record for record in records if record.state in PAID]


def _pays_for_nothing(pair: Pair) -> str | None:
    paying = _paying(pair.left)
    if not paying or any(entitled.state != Plan.NONE for entitled in pair.right):
        return None
    return f"account {pair.key!r} pays for {paying[0].facts['plan']}, and may use nothing"


def _entitle(pair: Pair) -> ChangeEntitlement | None:
    """Give what is paid for, over the version that was seen: a revocation that comes meanwhile wins."""
    paying = _paying(pair.left)
    if len(paying) != 1 or len(pair.right) != 1 or paying[0].facts["plan"] not in tuple(Plan):
        return None
    version = int(pair.right[0].facts["version"])
    return ChangeEntitlement(
        account_id=pair.key,
        change_id=f"reconcile-{version}",
        plan=Plan(paying[0].facts["plan"]),
        before=Entitlement(account_id=pair.key, plan=Plan.NONE, version=version),
    )


PAYING_IS_ENTITLED: Final = Invariant(
    name="an account that pays may use what it pays for",
    severity=Severity.CRITICAL,
    owner="platform-team",
    left=billing.CHARGED_ACCOUNTS,
    right=entitlements.ALL_ENTITLEMENTS,
    check=_pays_for_nothing,
    effects=("entitlement:{key}:*",),
    # A customer who has just subscribed pays before the entitlement is written.
    patience=timedelta(minutes=5),
    repair=Repair(operation=entitlements.change, request=_entitle),
    runbook=RUNBOOK,
)


# -- the CRM shows the plan --------------------------------------------------------------------------------------------


def _charged_plan(pair: Pair) -> str:
    """The one plan that an account is charged for; several are told as such, and never written anywhere."""
    plans = sorted({record.facts["plan"] for record in _paying(pair.right)})
    return " and ".join(plans) if plans else Plan.NONE.value


def _shows_another_plan(pair: Pair) -> str | None:
    if not pair.left:
        return None  # whom the CRM does not know, it shows nothing wrong about
    shown = pair.left[0].state or Plan.NONE.value
    charged = _charged_plan(pair)
    if shown == charged:
        return None
    return f"the CRM shows plan {shown} for account {pair.key!r}, which is charged for {charged}"


def _show(pair: Pair) -> UpsertCompany | None:
    """Write the plan that is charged for: billing owns it. The CRM refuses where somebody has changed it meanwhile."""
    if len(pair.left) != 1 or _charged_plan(pair) not in tuple(Plan):
        return None
    (shown,) = pair.left
    before = CompanyFields(plan=shown.state or None)
    return UpsertCompany(
        account_id=pair.key,
        change_id=f"reconcile-{shown.state or Plan.NONE.value}-{_charged_plan(pair)}",
        fields=CompanyFields(plan=_charged_plan(pair)),
        before=Company(account_id=pair.key, company_id=shown.facts["company_id"], fields=before),
    )


CRM_SHOWS_PLAN: Final = Invariant(
    name="the CRM shows the plan that is charged",
    severity=Severity.WARNING,
    owner="sales-team",
    left=crm.CRM_PLANS,
    right=billing.CHARGED_ACCOUNTS,
    check=_shows_another_plan,
    effects=("crm-upsert:{key}:*",),
    repair=Repair(operation=crm.upsert_company, request=_show),
    runbook=RUNBOOK,
)
