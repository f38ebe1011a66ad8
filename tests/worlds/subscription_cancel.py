"""The world of the reference cancellation: billing, entitlements and mail of the sandbox, and the shop's own database.

The shop's database writes down by triggers what happened to its subscriptions, so that what is true is the database's
own word. Keys are made of what a provider knows, never of what a connector sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.audit import tables as audit_tables
from activities.audit.sql import SqlAudit
from activities.billing.stripe import StripeBilling
from activities.email.contract import Sent, send_notice
from activities.email.smtp import SmtpEmail
from activities.entitlements.contract import Plan
from activities.entitlements.http import HttpEntitlements
from activities.subscriptions import tables
from activities.subscriptions.contract import SubscriptionStatus
from activities.subscriptions.sql import SqlSubscriptions
from kit.contract import Role
from kit.ledger import TransactionalLedger
from kit.testing.runs import Ending, Run, Truth
from kit.testing.sandbox import EffectKind, EffectRecord, SandboxApp
from kit.testing.wire import Wire
from kit.testing.wire.sql import SqlTemplate
from kit.testing.world import Invariant, Subject, World
from kit.worker import Call, Connector, http_client
from kit.workflow import Choice, Task, TaskKind
from workflows.invariants.subscriptions import ENDED_IS_NOT_CHARGED, PAYING_IS_ENTITLED
from workflows.subscription_cancel import APPROVE_ABOVE, CancelRequest, SubscriptionCancel

SUBSCRIPTION: Final = "sub_1"
ACCOUNT: Final = "ACC-1"
REQUEST: Final = CancelRequest(subscription_id=SUBSCRIPTION)

PERIOD_BEGAN: Final = datetime(2025, 12, 22, tzinfo=UTC)
"""Ten days of the period are over when the customer asks: two thirds of what was paid were not used."""

LATE: Final = {
    "billing": timedelta(seconds=5),
    "entitlements": timedelta(seconds=2),
    "email": timedelta(minutes=1),
}
"""How late each system really is, whatever a contract says of it."""

_STEP: Final = 1000
"""Between two effects of the sandbox there is room for as many changes of the shop's database."""

_RECORD: Final = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, status TEXT, number INTEGER, after INTEGER)",
    "CREATE TRIGGER subscription_changed AFTER UPDATE OF status ON subscriptions BEGIN INSERT INTO record "
    "(status, number, after) VALUES (NEW.status, NEW.cancellations, effects_so_far()); END",
    "CREATE TRIGGER event_recorded AFTER INSERT ON audit BEGIN INSERT INTO record (status, number, after) "
    "VALUES ('recorded ' || NEW.id, 0, effects_so_far()); END",
)


async def _build(engine: AsyncEngine) -> None:
    await tables.create_tables(engine)
    await audit_tables.create_tables(engine)
    await TransactionalLedger(engine).create_schema()
    async with engine.begin() as tx:
        for statement in _RECORD:
            await tx.exec_driver_sql(statement)
    await tables.add_subscription(engine, SUBSCRIPTION, account_id=ACCOUNT, email="customer@example.com")


SHOP: Final = SqlTemplate(_build)
"""The shop's database with one active subscription."""


class CancelWorld(World):
    """Billing, entitlements and mail server of one shop with one subscription, and its own database.

    Args:
        wire: The scenario's.
        price: What the customer pays for.
    """

    def __init__(self, wire: Wire, *, price: str = "price_starter") -> None:
        super().__init__(wire)
        self.price = price
        self.app = SandboxApp(now=wire.time)
        self.engine = wire.sql(
            system="shop", functions={"effects_so_far": lambda: len(self.app.exchange.journal.effects())}
        )

    async def open(self) -> None:
        """Take the subscription out."""
        await SHOP.copy_to(self.engine)
        self.app.billing.subscribe(SUBSCRIPTION, account_id=ACCOUNT, price=self.price, since=PERIOD_BEGAN)
        self.app.entitlements.add(ACCOUNT, plan=Plan.STARTER)

    def connect(self) -> Sequence[Connector]:
        """The connectors of the service, on the wire."""
        database = TransactionalLedger(self.engine)
        return (
            StripeBilling(self.client("billing", Authorization="Bearer sk_test_sandbox")),
            HttpEntitlements(self.client("entitlements")),
            SqlSubscriptions(database),
            SqlAudit(database),
            SmtpEmail("mail.test", 25, client=self.wire.smtp(self.app.mailbox, system="email", late=LATE["email"])),
        )

    def client(self, system: str, **headers: str) -> httpx.AsyncClient:
        """An HTTP client to one of the sandbox's providers."""
        transport = self.wire.http(self.app, system=system, refused=refused, late=LATE[system])
        return http_client(f"http://{system}.test", transport=transport, headers=headers)

    async def truth(self) -> list[Truth]:
        """See base class."""
        effects = [found for effect in self.app.exchange.journal.effects() if (found := self._effect(effect))]
        return sorted([*effects, *self._changes()], key=lambda effect: effect.order)

    async def found(self, task: Task, key: str) -> Sent | None:
        """The notice in the customer's mailbox."""
        sent = [e.object_id for e in self.app.exchange.journal.effects() if _notice_of(e) == key]
        return Sent(message_id=sent[0]) if sent and task.operation == send_notice.name else None

    async def state(self) -> bytes:
        """See base class."""
        return self.app.state() + self.engine.dump()

    # -- how everybody stands --------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """How the subscription stands in the shop's database."""
        return str(self.engine.rows("SELECT status FROM subscriptions")[0][0])

    @property
    def billed(self) -> str:
        """How it stands at the billing provider."""
        return self.app.billing.subscriptions[SUBSCRIPTION].status

    @property
    def entitled(self) -> str:
        """What the account may use."""
        return self.app.entitlements.plan(ACCOUNT)

    @property
    def refunds(self) -> list[int]:
        """What was given back, in minor units."""
        return [refund["amount"] for refund in self.app.payments.refunds]

    @property
    def told(self) -> int:
        """How many notices the customer got."""
        return sum(effect.kind is EffectKind.SENT for effect in self.app.exchange.journal.effects())

    @property
    def recorded(self) -> int:
        """How many events the audit trail has."""
        return len(self.engine.rows("SELECT id FROM audit"))

    # -- truth -----------------------------------------------------------------------------------------------------

    def _effect(self, effect: EffectRecord) -> Truth | None:
        key = f"{REQUEST.subscription_id}:{REQUEST.number}"
        match effect.kind:
            case EffectKind.CANCELED:
                operation, key = "billing.cancel_subscription", f"cancel-subscription:{key}"
            case EffectKind.REFUNDED:
                operation, key = "billing.refund_proration", f"refund-proration:{effect.reference}"
            case EffectKind.ENTITLED if effect.details["plan"] == Plan.NONE:
                operation = "entitlements.revoke"
                key = f"entitlement:{effect.reference}:revoke:{REQUEST.workflow_id}"
            case EffectKind.SENT:
                operation, key = "email.send_notice", _notice_of(effect) or ""
            case _:
                return None  # the end of another effect
        # A refund is written down as the end of a charge; as an effect of its own it stands for good.
        live = effect.live or effect.kind is EffectKind.REFUNDED
        system = operation.partition(".")[0]
        return Truth(system, operation, key, live, effect.sequence * _STEP, _told(effect, live=live))

    def _changes(self) -> list[Truth]:
        found = []
        for seq, status, number, after in self.engine.rows("SELECT seq, status, number, after FROM record"):
            key, order = f"{SUBSCRIPTION}:{number}", after * _STEP + seq
            if status == SubscriptionStatus.CANCEL_PENDING:
                live = self.status != SubscriptionStatus.ACTIVE
                operation, key = "subscriptions.begin_cancellation", f"begin-cancellation:{key}"
            elif status == SubscriptionStatus.CANCELED:
                live, operation, key = True, "subscriptions.finish_cancellation", f"finish-cancellation:{key}"
            elif status.startswith("recorded "):
                live, operation, key = True, "audit.record", f"audit:{status.removeprefix('recorded ')}"
            else:
                continue  # the end of another effect
            found.append(Truth("shop", operation, key, live, order, f"{status} of {SUBSCRIPTION}"))
        return found


class DearCancelWorld(CancelWorld):
    """A subscription so dear that its refund needs an approval."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire, price="price_pro")


def refused(call: Call, request: httpx.Request) -> httpx.Response:
    """How each provider says no, in its own words."""
    asked = (call.operation.name, call.role)
    status, body = _REFUSALS.get(asked, (403, _stripe("invalid_request_error", "no_permission")))
    return httpx.Response(status, json=body, request=request)


def _stripe(kind: str, code: str) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": f"refused: {code}"}}


_REFUSALS: Final = {
    ("billing.refund_proration", Role.ACTION): (400, _stripe("invalid_request_error", "charge_disputed")),
    ("entitlements.revoke", Role.ACTION): (403, {"error": "forbidden"}),
}


def _notice_of(effect: EffectRecord) -> str | None:
    if effect.kind is not EffectKind.SENT:
        return None
    return f"notice:subscription_canceled:{effect.reference}"


def _told(effect: EffectRecord, *, live: bool) -> str:
    amount = "" if effect.amount is None else f" {effect.amount / 100:.2f} {effect.currency}"
    return f"{effect.kind.value}{amount} for {effect.reference}" + ("" if live else ", taken back since")


# -- the shop's own rules ----------------------------------------------------------------------------------------------

_OVER: Final = frozenset({Ending.COMPLETED, Ending.COMPENSATED, Ending.CANCELLED, Ending.FAILED})


def _one_truth(world: CancelWorld, run: Run) -> list[str]:
    """The local state, the provider's and the entitlement say the same at every end."""
    if run.ending not in _OVER:
        return []
    stands = (world.status, world.billed, world.entitled)
    gone = (SubscriptionStatus.CANCELED, "canceled", Plan.NONE)
    as_before = (SubscriptionStatus.ACTIVE, "active", Plan.STARTER)
    wanted = gone if run.ending is Ending.COMPLETED else as_before
    if stands != wanted:
        return [f"the run ended {run.ending.value}, and the subscription is {stands}, not {wanted}"]
    return []


def _told_what_is_true(world: CancelWorld, run: Run) -> list[str]:
    """Nobody is told, and nothing is recorded, of a cancellation that is none."""
    said = (world.told, world.recorded)
    if world.billed != "canceled" and said != (0, 0):
        return [f"the subscription is {world.billed}, and there are {said} notices and audit records"]
    if max(said) > 1:
        return [f"there are {said} notices and audit records of one cancellation"]
    return []


def _refunded_as_allowed(world: CancelWorld, run: Run) -> list[str]:
    """At most one refund, of what was not used, after the end, and approved where it is large."""
    found = []
    refunds = world.refunds
    if len(refunds) > 1:
        found.append(f"one cancellation was refunded {len(refunds)} times: {refunds}")
    if refunds and world.billed != "canceled":
        found.append(f"the subscription is {world.billed}, and {refunds} was refunded")
    large = [amount for amount in refunds if amount > APPROVE_ABOVE]
    if large and not _approved(run):
        found.append(f"{large} was refunded, more than {APPROVE_ABOVE}, and nobody has approved it")
    return found


def _approved(run: Run) -> bool:
    tasks = run.summary.tasks if run.summary else run.tasks
    return any(
        task.kind is TaskKind.APPROVAL and task.decision is not None and task.decision.choice is Choice.APPROVE
        for task in tasks
    )


INVARIANTS: Final = (
    Invariant("shop, billing and entitlements agree on whether the subscription has ended", _one_truth),
    Invariant("nobody is told of an end that is none", _told_what_is_true),
    Invariant("what was not used is refunded once, and with an approval where it is much", _refunded_as_allowed),
    ENDED_IS_NOT_CHARGED,
    PAYING_IS_ENTITLED,
)

SUBSCRIPTION_CANCEL: Final = Subject(
    workflow=SubscriptionCancel, request=REQUEST, world=CancelWorld, invariants=INVARIANTS
)
"""The reference cancellation, with a refund that nobody needs to approve."""

DEAR_SUBSCRIPTION_CANCEL: Final = Subject(
    workflow=SubscriptionCancel, request=REQUEST, world=DearCancelWorld, invariants=INVARIANTS
)
"""The same with a refund that needs an approval."""
