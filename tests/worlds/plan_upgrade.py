"""The world of the plan upgrade: CRM, billing, tickets, entitlements and the mail server, in this process.

What is true is the providers' own record. Keys are made from the account, the subscription and the reference that a
provider knows, never from what a connector sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import httpx

from activities.billing.listed import PRICES
from activities.billing.stripe import StripeBilling
from activities.crm.hubspot import HubSpotCrm
from activities.email.contract import Notice, Sent, send_notice
from activities.email.smtp import SmtpEmail
from activities.entitlements.contract import Plan
from activities.entitlements.http import HttpEntitlements
from activities.tickets.zendesk import ZendeskTickets
from kit.contract import Role
from kit.testing import sandbox
from kit.testing.runs import Ending, Run, Truth
from kit.testing.sandbox import EffectKind, EffectRecord, SandboxApp
from kit.testing.wire import Wire
from kit.testing.wire.witness import EPOCH
from kit.testing.world import Invariant, Subject, World
from kit.worker import Call, Connector, http_client
from kit.workflow import Task
from workflows.invariants.subscriptions import CRM_SHOWS_PLAN, PAYING_IS_ENTITLED
from workflows.plan_upgrade import PlanUpgrade, PlanUpgradeRequest

ACCOUNT: Final = "ACC-1"
SUBSCRIPTION: Final = "sub_1"
UPGRADE: Final = "UPG-1"
BEFORE: Final = Plan.STARTER
AFTER: Final = Plan.PRO

REQUEST: Final = PlanUpgradeRequest(
    upgrade_id=UPGRADE,
    account_id=ACCOUNT,
    subscription_id=SUBSCRIPTION,
    plan=AFTER,
    email="customer@example.com",
)

LATE: Final = {
    "crm": timedelta(seconds=5),
    "billing": timedelta(seconds=5),
    "tickets": timedelta(seconds=10),
    "entitlements": timedelta(seconds=2),
    "email": timedelta(minutes=1),
}
"""How late each system really is, whatever a contract says of it. The search for tickets is later still."""

_CREDENTIALS: Final = {
    "crm": "Bearer pat-sandbox",
    "billing": "Bearer sk_test_sandbox",
    "tickets": "Basic c2FuZGJveA==",
    "entitlements": "",
}
_ENDED: Final = frozenset({Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED})


class PlanUpgradeWorld(World):
    """Five systems that know one account, which is on the plan from before."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.app = SandboxApp(now=wire.time)
        # Nothing here asks the CRM's search; how far it is behind would only make like states look different.
        self.app.crm.index.lag = timedelta(0)

    async def open(self) -> None:
        """Let every system know the account."""
        self.app.crm.add(ACCOUNT, name="Acme", plan=BEFORE)
        self.app.billing.subscribe(SUBSCRIPTION, account_id=ACCOUNT, price=PRICES[BEFORE], since=EPOCH)
        self.app.entitlements.add(ACCOUNT, plan=BEFORE)

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        return (
            HubSpotCrm(self._client("crm")),
            StripeBilling(self._client("billing")),
            ZendeskTickets(self._client("tickets")),
            HttpEntitlements(self._client("entitlements")),
            SmtpEmail("mail.test", 25, client=self.wire.smtp(self.app.mailbox, system="email", late=LATE["email"])),
        )

    def _client(self, system: str) -> httpx.AsyncClient:
        transport = self.wire.http(self.app, system=system, refused=refused, late=LATE[system])
        headers = {"Authorization": _CREDENTIALS[system]}
        return http_client(f"http://{system}.test", transport=transport, headers=headers)

    async def truth(self) -> list[Truth]:
        """See base class."""
        return [found for effect in self.app.exchange.journal.effects() if (found := _effect(effect))]

    async def found(self, task: Task, key: str) -> Sent | None:
        """The notice in the customer's mailbox."""
        sent = self.sent()
        return Sent(message_id=sent[0].object_id) if sent and task.operation == send_notice.name else None

    async def state(self) -> bytes:
        """See base class."""
        return self.app.state()

    def plans(self) -> dict[str, str]:
        """The account's plan, as each system has it."""
        company = self.app.crm.company(ACCOUNT, by="account_id")
        prices = {price: plan for plan, price in PRICES.items()}
        return {
            "crm": company.properties["plan"] if company else "",
            "billing": prices[self.app.billing.subscriptions[SUBSCRIPTION].price],
            "entitlements": self.app.entitlements.plan(ACCOUNT),
        }

    def open_tickets(self) -> int:
        """How many tickets wait for somebody."""
        return sum(effect.live and effect.kind is EffectKind.OPENED for effect in self.app.exchange.journal.effects())

    def sent(self) -> list[EffectRecord]:
        """The messages in the customer's mailbox."""
        return [effect for effect in self.app.exchange.journal.effects() if effect.kind is EffectKind.SENT]


def _effect(effect: EffectRecord) -> Truth | None:
    details = effect.details
    match effect.kind:
        case EffectKind.UPDATED if details.get("plan") == AFTER:
            operation, key = "crm.upsert_company", f"crm-upsert:{effect.reference}:{UPGRADE}"
        case EffectKind.PLAN_CHANGED if details.get("to") == PRICES[AFTER]:
            operation, key = "billing.change_plan", f"change-plan:{effect.reference}:{UPGRADE}"
        case EffectKind.OPENED:
            operation, key = "tickets.open", f"ticket:{effect.reference}"
        case EffectKind.ENTITLED if details.get("plan") == AFTER:
            operation, key = "entitlements.change", f"entitlement:{effect.reference}:{UPGRADE}"
        case EffectKind.SENT:
            operation, key = "email.send_notice", f"notice:{Notice.PLAN_UPGRADED.value}:{effect.reference}"
        case _:
            return None  # the end of another effect, or how things were put back
    told = f"{effect.kind.value} for {effect.reference}" + ("" if effect.live else ", taken back since")
    return Truth(operation.partition(".")[0], operation, key, effect.live, effect.sequence, told)


def refused(call: Call, request: httpx.Request) -> httpx.Response:
    """How each provider says no, in its own words."""
    status, body = _REFUSALS.get((call.operation.name, call.role), (403, {"error": "forbidden"}))
    return httpx.Response(status, json=body, request=request)


_REFUSALS: Final[dict[tuple[str, Role], tuple[int, Any]]] = {
    ("crm.upsert_company", Role.ACTION): (400, {"category": "VALIDATION_ERROR", "message": "not wanted"}),
    ("billing.change_plan", Role.ACTION): (402, {"error": {"type": "card_error", "code": "card_declined"}}),
    ("tickets.open", Role.ACTION): (422, {"error": "RecordInvalid"}),
}


# -- the business's own rules ------------------------------------------------------------------------------------------


def _harmless(world: PlanUpgradeWorld, run: Run) -> list[str]:
    return [violation.message for violation in sandbox.violations(world.app.exchange.journal.effects())]


def _one_plan(world: PlanUpgradeWorld, run: Run) -> list[str]:
    if run.ending is not Ending.COMPLETED and run.ending not in _ENDED:
        return []
    wanted, plans = AFTER if run.ending is Ending.COMPLETED else BEFORE, world.plans()
    if set(plans.values()) == {wanted}:
        return []
    return [f"the upgrade ended {run.ending.value}, so {ACCOUNT!r} is on {wanted.value!r}, and the systems say {plans}"]


def _ticket(world: PlanUpgradeWorld, run: Run) -> list[str]:
    number = world.open_tickets()
    if run.ending is Ending.COMPLETED and number != 1:
        return [f"{UPGRADE!r} is done, and has {number} open tickets"]
    if run.ending in _ENDED and number:
        return [f"{UPGRADE!r} was not done ({run.ending.value}), and has {number} open tickets"]
    return []


def _told_the_truth(world: PlanUpgradeWorld, run: Run) -> list[str]:
    if run.ending is Ending.TERMINATED:
        return []  # what was sent before the end cannot be taken back with the rest: a person decides about it
    sent = [message.details["subject"] for message in world.sent()]
    if sent and set(world.plans().values()) != {AFTER}:
        return [f"the customer was told {sent}, and the systems say {world.plans()}"]
    return []


PLAN_UPGRADE: Final = Subject(
    workflow=PlanUpgrade,
    request=REQUEST,
    world=PlanUpgradeWorld,
    invariants=(
        Invariant("no upgrade has an effect twice", _harmless),
        Invariant("CRM, billing and entitlement name the plan that the upgrade ended with", _one_plan),
        Invariant("an upgrade has one open ticket, an undone one has none", _ticket),
        Invariant("nobody is told of an upgrade that is not everywhere", _told_the_truth),
        PAYING_IS_ENTITLED,
        CRM_SHOWS_PLAN,
    ),
)
"""The plan upgrade, as a sweep takes it."""
