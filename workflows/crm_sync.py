"""CRM sync: one account as three systems tell of it, kept the same in the CRM."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import Field
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from activities.crm import contract as crm
from activities.enrichment import contract as enrichment
from activities.entitlements.contract import Plan
from activities.payments.contract import Id
from kit import Entity, EntityEvent, EntityWorkflow, Model
from kit.contract import TRANSIENT, Known, Outcome, Ownership, differences
from kit.workflow.outcomes import read_failure
from workflows.plan_upgrade import PlanUpgrade, PlanUpgradeRequest

PENDING: Final = "pending_enrichment"
ENRICHED: Final = "enriched"
REFUSED: Final = "refused"
"""What the CRM's field ``enrichment`` says of a lead: to be looked up with the next event, done, or not to be had."""

LOOKS: Final = 3
"""How often the CRM is read and written anew when somebody changes it in between."""

_CHANGED: Final = "changed_since_read"


class Source(StrEnum):
    """Who tells of an account."""

    CRM = "crm"
    BILLING = "billing"
    SUPPORT = "support"
    ENRICHMENT = "enrichment"


ACCOUNT: Final = Ownership(
    "account",
    {
        "name": Source.CRM,
        "domain": Source.CRM,
        "email": Source.CRM,
        "plan": Source.BILLING,
        "status": Source.BILLING,
        "subscription_id": Source.BILLING,
        "support_tier": Source.SUPPORT,
        "industry": Source.ENRICHMENT,
        "employees": Source.ENRICHMENT,
        "enrichment": Source.ENRICHMENT,
    },
)
"""The one source of truth of each field."""

_TOLD: Final = tuple(
    field
    for field in ACCOUNT.owned_by(Source.BILLING, Source.SUPPORT, Source.ENRICHMENT)
    if field in crm.CompanyFields.model_fields
)
"""What the CRM is told by others."""


class AccountChanged(Model):
    """What one of the sources says of an account.

    Attributes:
        fields: The fields that it names, as the CRM calls them.
        subscription_id: What billing knows the account's subscription by.
        wanted_plan: The plan that sales has agreed on with the customer; only the CRM may say so.
    """

    fields: crm.CompanyFields = crm.CompanyFields()
    subscription_id: Id | None = None
    wanted_plan: Plan | None = None


class Wish(Model):
    """An upgrade that was agreed on, and waits for what billing and the CRM have yet to say of the account."""

    upgrade_id: Id
    plan: Plan


class Account(Model):
    """What is known of one account.

    Attributes:
        account_id: Which.
        known: What its owner said of each field.
        wish: The upgrade to be started as soon as enough is known.
        upgrading: The plan that a running upgrade writes to the CRM, before billing has told of it.
    """

    account_id: Id
    known: dict[str, Known] = Field(default_factory=dict)
    wish: Wish | None = None
    upgrading: Plan | None = None

    def value(self, field: str) -> Any | None:
        """What is known of a field."""
        known = self.known.get(field)
        return None if known is None else known.value


@workflow.defn
class CrmSync(
    EntityWorkflow[Account, AccountChanged],
    owner="sales-team",
    deadline=timedelta(minutes=30),
    runbook="docs/explanation/failure-model.md#crm",
):
    """Take from each source what it owns, enrich, compare with the CRM, and write what differs.

    What another source says of a field is drift: it is recorded, not taken; and where the CRM has it, the owner's value
    is written back. An agreed upgrade is a saga of its own, which is started and not waited for: the account's other
    changes go on meanwhile.
    """

    @workflow.run
    async def run(self, account: Entity[Account]) -> Account:
        """One account's life."""
        return await self.live(account)

    async def apply(self, event: EntityEvent[AccountChanged]) -> None:
        """Bring one change into the account and into the CRM."""
        self._take(event)
        await self._enrich(event)
        await self._write(event)
        await self._upgrade()

    def _take(self, event: EntityEvent[AccountChanged]) -> None:
        account, change = self.state, event.data
        offered = change.fields.model_dump(exclude_none=True)
        if change.subscription_id is not None:
            offered["subscription_id"] = change.subscription_id
        if event.source == Source.CRM and account.upgrading is not None and offered.get("plan") == account.upgrading:
            del offered["plan"]  # the echo of the upgrade's own write
        merged = ACCOUNT.merge(account.known, offered, writer=event.source, version=event.version, at=workflow.now())
        self.record_drift(merged)
        update: dict[str, Any] = {"known": merged.fields}
        if change.wanted_plan is not None and event.source == Source.CRM:
            update["wish"] = Wish(upgrade_id=event.id, plan=change.wanted_plan)
        if event.source == Source.BILLING and "plan" in offered:
            update["upgrading"] = None
        self.state = account.model_copy(update=update)

    async def _enrich(self, event: EntityEvent[AccountChanged]) -> None:
        """Look the account up when its domain is new, or when that was not possible before."""
        account = self.state
        domain = account.value("domain")
        if domain is None or (account.value("enrichment") in (ENRICHED, REFUSED) and event.data.fields.domain is None):
            return
        try:
            found = await self.step(enrichment.look_up, enrichment.LookUp(account_id=account.account_id, domain=domain))
        except ActivityError as error:
            failure = read_failure(enrichment.look_up.name, error)
            passes = failure.outcome is not Outcome.REFUSED or failure.kind in TRANSIENT
            self._hold({"enrichment": PENDING if passes else REFUSED})
            return
        employees = None if found.employees is None else str(found.employees)
        told = {"industry": found.industry, "employees": employees, "enrichment": ENRICHED}
        self._hold({name: value for name, value in told.items() if value is not None})

    def _hold(self, found: Mapping[str, Any]) -> None:
        """Take what the enrichment service says."""
        merged = ACCOUNT.merge(self.state.known, found, writer=Source.ENRICHMENT, version=None, at=workflow.now())
        self.state = self.state.model_copy(update={"known": merged.fields})

    async def _write(self, event: EntityEvent[AccountChanged]) -> None:
        """Compare with the CRM, and write what differs, to the very state that it was compared with."""
        for look in range(1, LOOKS + 1):
            before = await self.step(crm.read_company, crm.ReadCompany(account_id=self.state.account_id))
            fields = self._differing(before)
            if not fields:
                return
            write = crm.UpsertCompany(
                account_id=self.state.account_id,
                change_id=f"{event.key}.{look}",
                fields=crm.CompanyFields(**fields),
                before=before,
            )
            try:
                await self.step(crm.upsert_company, write)
            except ActivityError as error:
                if look == LOOKS or read_failure(crm.upsert_company.name, error).reason != _CHANGED:
                    raise
            else:
                return

    def _differing(self, company: crm.Company) -> dict[str, Any]:
        """What the CRM is to be told: others' fields, and of a company that it does not have everything."""
        new = company.company_id is None
        fields = tuple(crm.CompanyFields.model_fields) if new else _TOLD
        if self.state.upgrading is not None:
            fields = tuple(field for field in fields if field != "plan")  # the upgrade writes it
        return differences(self.state.known, company.fields.model_dump(exclude_none=True), among=fields)

    async def _upgrade(self) -> None:
        """Start an upgrade that was agreed on, once its subscription and its address are known."""
        account = self.state
        wish, subscription, email = account.wish, account.value("subscription_id"), account.value("email")
        if wish is None or subscription is None or email is None:
            return
        upgrading = None if account.value("plan") == wish.plan else wish.plan
        self.state = account.model_copy(update={"wish": None, "upgrading": upgrading})
        if upgrading is None:
            return
        request = PlanUpgradeRequest(
            upgrade_id=wish.upgrade_id,
            account_id=account.account_id,
            subscription_id=subscription,
            plan=wish.plan,
            email=email,
        )
        try:
            started = await workflow.start_child_workflow(
                PlanUpgrade.run,
                request,
                id=upgrade_workflow_id(wish.upgrade_id),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"Upgrade {account.account_id} to {wish.plan.value}",
            )
        except WorkflowAlreadyStartedError:
            return  # this entity, before it was started anew, or somebody else
        # How it ends is its own affair; somebody has looked, so that asyncio does not complain.
        started.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def sync_workflow_id(account_id: str) -> str:
    """The id of an account's entity."""
    return f"crm-sync-{account_id}"


def upgrade_workflow_id(upgrade_id: str) -> str:
    """The id of the saga of one upgrade: an upgrade is carried out once."""
    return f"plan-upgrade-{upgrade_id}"
