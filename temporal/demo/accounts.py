"""One account as CRM and billing tell of it, by webhook: kept the same in both, and upgraded in five systems.

The CRM tells of the account and of an upgrade that sales has agreed on, twice. Its answer to the first write is "slow
down", its reply to the second is lost. Billing tells which subscription it is: the upgrade runs. In the end a colleague
types another plan into the CRM, which is not theirs to say. What came of it is read from the systems' own records.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from standardwebhooks import Webhook
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities.billing.listed import PRICES
from activities.entitlements.contract import Plan
from kit import Entity
from kit.testing.sandbox import EffectKind, EffectRecord, FaultKind, Operation, Provider, violations
from kit.workflow import ENTITY_QUERY
from temporal.demo.evidence import Seen
from temporal.demo.stage import BILLING_SECRET, CRM_SECRET, Stage
from temporal.intake import PATHS
from workflows.crm_sync import Account, Source, sync_workflow_id, upgrade_workflow_id

SYSTEMS: Final = {
    Provider.CRM: "crm",
    Provider.ENRICHMENT: "enrichment",
    Provider.BILLING: "billing",
    Provider.TICKETS: "tickets",
    Provider.ENTITLEMENTS: "entitlements",
    Provider.SMTP: "e-mail",
}
"""The systems that know an account, as they are called here."""

_TITLE: Final = "Told twice of an agreed upgrade; slow down, a lost reply; a plan typed over"
_DOMAIN: Final = "acme.example"
_TYPED: Final = Plan.ENTERPRISE
_FAULTS: Final = (FaultKind.RATE_LIMIT, FaultKind.DROP_REPLY)
_SECRETS: Final = {Source.CRM: CRM_SECRET, Source.BILLING: BILLING_SECRET}
_POLL: Final = 0.1  # seconds between two looks at the entity: a workflow tells nobody that it has applied an event

_ANSWERED: Final = ("200 accepted", "200 accepted", "401 bad_signature", "200 accepted", "200 accepted", "200 accepted")
_PLANS: Final = (Plan.STARTER, Plan.PRO, _TYPED, Plan.PRO)
"""What the CRM says of the plan, one after the other: as billing told, the upgrade, the colleague, as billing told."""

_UPGRADE: Final = (
    (EffectKind.UPDATED, "the CRM says so"),
    (EffectKind.PLAN_CHANGED, "billing charges it"),
    (EffectKind.OPENED, "a ticket is open"),
    (EffectKind.ENTITLED, "the customer may use it"),
    (EffectKind.SENT, "the customer is told"),
)
"""What an upgrade does, once each, in this order."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What the entity remembers of the events.

    Attributes:
        runs: How many runs of it there were.
        counts: How many events were applied, came again, came too late.
        drift: The writes that were dropped, as (field, who offered, what, what is held).
    """

    runs: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    drift: tuple[tuple[str, str, Any, Any], ...] = ()

    def __str__(self) -> str:
        told = [f"{self.counts.get('applied', 0)} events applied", f"{self.counts.get('duplicate', 0)} came again"]
        told += [f"{what} {offered!r} of {who} dropped, kept {held!r}" for what, who, offered, held in self.drift]
        return ", ".join((f"{self.runs} run", *told))


@dataclass(slots=True)
class Accounts:
    """What came of the account.

    Attributes:
        account_id: Which.
        answers: What the intake has answered, delivery by delivery.
        seen: What the systems recorded of it.
        company: What the CRM has of it in the end.
        sync: What its entity remembers.
        problems: What is wrong; ``None`` as long as nothing is known.
    """

    account_id: str = ""
    answers: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    company: dict[str, str] = field(default_factory=dict)
    sync: Sync = field(default_factory=Sync)
    problems: list[str] | None = None

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return self.problems == []

    @property
    def block(self) -> list[str]:
        """What every system saw, as the orders are told."""
        state = "not known" if self.problems is None else f"plan {self.company.get('plan', 'none')}"
        intake = ", ".join(f"{number}x {answer}" for answer, number in Counter(self.answers).items())
        cells = [("intake", intake), *((name, self.seen.cell(system)) for system, name in SYSTEMS.items())]
        return [
            "",
            f"{'✓' if self.ok else '✗'} {self.account_id}: {state}",
            f"    {_TITLE}",
            *(f"    {name:<13} {cell or '-'}" for name, cell in [*cells, ("sync", str(self.sync))]),
            *(f"    {'WRONG':<13} {problem}" for problem in self.problems or ()),
        ]

    @property
    def lines(self) -> list[tuple[bool, str]]:
        """What the records say, with whether it is well."""
        if self.problems is None:
            return [(False, "the account's events were not applied in time")]
        done = Counter((effect.provider, effect.kind) for effect in self.seen.effects)
        text = (
            f"an account told of by {len(self.answers)} webhooks: {done[Provider.CRM, EffectKind.UPDATED]} CRM writes; "
            f"its upgrade: {done[Provider.BILLING, EffectKind.PLAN_CHANGED]} plan change billed, "
            f"{done[Provider.TICKETS, EffectKind.OPENED]} ticket, "
            f"{done[Provider.ENTITLEMENTS, EffectKind.ENTITLED]} entitlement, "
            f"{done[Provider.SMTP, EffectKind.SENT]} e-mail"
        )
        return [(self.ok, text), *((False, problem) for problem in self.problems)]

    @property
    def document(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "account_id": self.account_id,
            "ok": self.ok,
            "answers": self.answers,
            "company": self.company,
            "sync": {
                "runs": self.sync.runs,
                "counts": self.sync.counts,
                "drift": [list(one) for one in self.sync.drift],
            },
            "effects": [
                effect.model_dump(mode="json", include={"sequence", "provider", "kind", "live", "details"})
                for effect in self.seen.effects
            ],
            "calls": [
                call.model_dump(mode="json", include={"provider", "operation", "status", "fault"})
                for call in self.seen.calls
            ],
            "problems": self.problems,
        }


async def play(stage: Stage, found: Accounts) -> None:
    """Play it; what came of it is in ``found``."""
    account = found.account_id = f"account-acme{stage.suffix}"
    subscription, agreed = f"sub-acme{stage.suffix}", f"evt-agreed{stage.suffix}"
    sandbox = stage.sandbox
    sandbox.app.crm.add(account, name="Acme")
    sandbox.app.entitlements.add(account, plan=Plan.STARTER)
    await sandbox.control.subscribe(subscription, account_id=account, price=PRICES[Plan.STARTER])
    await sandbox.control.fault(Operation.WRITE_COMPANY, FaultKind.RATE_LIMIT, match=account, retry_after=1)
    await sandbox.control.fault(Operation.WRITE_COMPANY, FaultKind.DROP_REPLY, match=account)
    handle = stage.client.get_workflow_handle(sync_workflow_id(account))
    async with stage.intake() as url, httpx.AsyncClient(base_url=url, trust_env=False) as sender:
        told = _Told(sender, account, found.answers)
        won = {"fields": {"domain": _DOMAIN, "email": "acme@customer.example"}, "wanted_plan": Plan.PRO}
        for secret in (CRM_SECRET, CRM_SECRET, BILLING_SECRET):  # it comes again; and somebody else says the same
            await told.by(Source.CRM, agreed, 1, won, secret=secret)
        began = (await handle.describe()).run_id
        bought = {"fields": {"plan": Plan.STARTER, "status": "active"}, "subscription_id": subscription}
        await told.by(Source.BILLING, f"evt-bought{stage.suffix}", 1, bought)
        await _until_applied(stage, account, 2)
        upgrade = stage.client.get_workflow_handle(upgrade_workflow_id(agreed))
        try:
            await upgrade.result()
        except WorkflowFailureError as error:  # what is missing is said by the records; this says why
            found.problems = [f"the upgrade ended with: {error.cause}"]
        await told.by(Source.BILLING, f"evt-upgraded{stage.suffix}", 2, {"fields": {"plan": Plan.PRO}})
        await _until_applied(stage, account, 3)
        await _type_over(stage, account)
        await told.by(Source.CRM, f"evt-typed{stage.suffix}", 2, {"fields": {"plan": _TYPED}})
        entity = await _until_applied(stage, account, 4)
    same_run = (await handle.describe()).run_id == began
    drift = tuple((one.field, one.writer, one.offered, one.kept) for one in entity.memory.drift)
    found.sync = Sync(runs=1 if same_run else 2, counts=dict(entity.memory.counts), drift=drift)
    found.seen = await _look(stage, (account, subscription, agreed, _DOMAIN))
    company = sandbox.app.crm.company(account, by="account_id")
    found.company = dict(company.properties) if company else {}
    found.problems = [*(found.problems or ()), *judge(found)]
    await handle.cancel()  # nobody will tell of it any more


@dataclass(frozen=True, slots=True)
class _Told:
    """Sends what the systems tell, and writes the answers down."""

    sender: httpx.AsyncClient
    account_id: str
    answers: list[str]

    async def by(
        self, source: Source, event: str, version: int, changes: dict[str, Any], *, secret: str | None = None
    ) -> None:
        content = json.dumps({"account_id": self.account_id, "version": version, "changes": changes})
        now = datetime.now(UTC)
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret or _SECRETS[source]).sign(event, now, content),
        }
        reply = await self.sender.post(PATHS[source], content=content, headers=headers)
        self.answers.append(f"{reply.status_code} {reply.json()['status']}")


async def _type_over(stage: Stage, account: str) -> None:
    """As a colleague does in the CRM's own pages."""
    token = {"Authorization": f"Bearer {stage.settings.crm_token.get_secret_value()}"}
    async with httpx.AsyncClient(base_url=stage.sandbox.url, headers=token, trust_env=False) as crm:
        reply = await crm.patch(
            f"/crm/v3/objects/companies/{account}",
            params={"idProperty": "account_id"},
            json={"properties": {"plan": _TYPED}},
        )
        reply.raise_for_status()


async def _until_applied(stage: Stage, account: str, number: int) -> Entity[Account]:
    """Wait until the entity has applied so many events."""
    handle = stage.client.get_workflow_handle(sync_workflow_id(account))
    while True:
        try:
            entity: Entity[Account] = await handle.query(ENTITY_QUERY, result_type=Entity[Account])
        except RPCError as error:
            if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE):
                raise
        else:
            if entity.memory.counts.get("applied", 0) >= number:
                return entity
        await asyncio.sleep(_POLL)


async def _look(stage: Stage, references: Sequence[str]) -> Seen:
    effects, calls = await stage.sandbox.control.effects(), await stage.sandbox.control.calls()
    return Seen(
        tuple(effect for effect in effects if effect.reference in references),
        tuple(call for call in calls if call.reference in references),
    )


def judge(found: Accounts) -> list[str]:
    """What is wrong with the account by the systems' records; empty when all is well."""
    effects, company = found.seen.effects, found.company
    written = [effect.details["plan"] for effect in _of(effects, EffectKind.UPDATED) if "plan" in effect.details]
    enriched = [effect for effect in _of(effects, EffectKind.UPDATED) if "industry" in effect.details]
    faults = [call.fault for call in found.seen.calls if call.fault is not None]
    upgraded = [
        _first(effects, kind, lambda effect: effect.details.get("plan", Plan.PRO) == Plan.PRO) for kind, _ in _UPGRADE
    ]
    applied = found.sync.counts.get("applied", 0), found.sync.counts.get("duplicate", 0)
    checks = (
        (tuple(found.answers) == _ANSWERED, f"the intake answered {found.answers!r}"),
        (found.sync.runs == 1 and applied == (4, 1), f"the entity remembers: {found.sync}"),
        (found.sync.drift == (("plan", "crm", _TYPED, Plan.PRO),), f"what was dropped as drift: {found.sync.drift!r}"),
        (tuple(faults) == _FAULTS, f"the CRM's troubles were {[*map(str, faults)]!r}, not {[*map(str, _FAULTS)]!r}"),
        (len(enriched) == 1, f"what enrichment knows was written {len(enriched)} times"),
        (tuple(written) == _PLANS, f"the CRM's plan was {written!r} one after the other, not {[*map(str, _PLANS)]!r}"),
        ((company.get("plan"), company.get("status")) == (Plan.PRO, "active"), f"the CRM has {company!r} in the end"),
        (upgraded == sorted(upgraded) and 0 not in upgraded, f"the upgrade's effects stand at {upgraded!r}"),
    )
    problems = [problem for well, problem in checks if not well]
    for kind, what in _UPGRADE[1:]:
        number = len(_of(effects, kind))
        problems += [] if number == 1 else [f"that {what} was made true {number} times"]
    return [*problems, *(violation.message for violation in violations(effects))]


def _of(effects: Sequence[EffectRecord], kind: EffectKind) -> list[EffectRecord]:
    return [effect for effect in effects if effect.kind is kind]


def _first(effects: Sequence[EffectRecord], kind: EffectKind, fits: Callable[[EffectRecord], bool]) -> int:
    """Where in the order of all effects the first of a kind stands; 0 when there is none."""
    return next((effect.sequence for effect in _of(effects, kind) if fits(effect)), 0)
