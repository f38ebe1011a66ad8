"""The world of the CRM sync: one account, of which three sources tell, and the CRM and the enrichment service.

The CRM knows companies and values, and no events: which event a write belongs to it could not say. So the world stamps
each request with the key of the call that makes it, as a proxy between the service and the CRM would, and the CRM's own
record keeps the stamp beside the effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import httpx

from activities.crm.contract import CompanyFields
from activities.crm.hubspot import HubSpotCrm
from activities.enrichment.http import HttpEnrichment
from kit import Entity, EntityEvent
from kit.contract import Role
from kit.testing import sandbox
from kit.testing.runs import Ending, Run, Truth
from kit.testing.sandbox import EffectKind, SandboxApp
from kit.testing.wire import Wire
from kit.testing.world import Invariant, Subject, World
from kit.worker import Call, Connector, http_client
from kit.worker.context import current_call
from workflows.crm_sync import ENRICHED, Account, AccountChanged, CrmSync

ACCOUNT: Final = "ACC-1"

UNDO: Final = ":undo"
"""How the key of an undo ends."""


def _said(id: str, source: str, version: int, **fields: str) -> EntityEvent[AccountChanged]:
    changed = AccountChanged(fields=CompanyFields(**fields))
    return EntityEvent[AccountChanged](id=id, source=source, version=version, data=changed)


REQUEST: Final = Entity[Account](
    state=Account(account_id=ACCOUNT),
    events=(
        _said("c1", "crm", 1, domain="acme.example", plan="enterprise"),
        _said("b1", "billing", 1, plan="pro"),
        _said("b1", "billing", 1, plan="pro"),
    ),
    close_when_idle=timedelta(hours=1),
)
"""From the CRM a domain, and a plan that it does not own; then billing's plan, twice."""

LATE: Final = {"crm": timedelta(seconds=5), "enrichment": timedelta(seconds=0)}
"""How late each system really is, whatever a contract says of it."""

_WRITES: Final = frozenset({EffectKind.CREATED, EffectKind.UPDATED})


class _Stamp(httpx.AsyncBaseTransport):
    """Stamps each request with the key of its call."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = current_call.get()
        if call is not None and call.token.key:
            request.headers["Idempotency-Key"] = call.token.key
        return await self._inner.handle_async_request(request)


class CrmSyncWorld(World):
    """A CRM that has the company, and an enrichment service that knows it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.app = SandboxApp(now=wire.time)

    async def open(self) -> None:
        """Let the CRM know the company, with a plan that somebody has typed."""
        self.app.crm.add(ACCOUNT, name="Acme", domain="acme.example", plan="enterprise")

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        return HubSpotCrm(self._client("crm")), HttpEnrichment(self._client("enrichment"))

    def _client(self, system: str) -> httpx.AsyncClient:
        transport = _Stamp(self.wire.http(self.app, system=system, refused=_refused, late=LATE[system]))
        return http_client(
            f"http://{system}.test", transport=transport, headers={"Authorization": "Bearer pat-sandbox"}
        )

    async def truth(self) -> list[Truth]:
        """See base class. A write stands until its undo: that a later one has written over it takes nothing back."""
        effects = [effect for effect in self.app.exchange.journal.effects() if effect.kind in _WRITES]
        found = []
        for effect in effects:
            key = effect.idempotency_key or ""
            if key.endswith(UNDO):
                continue
            undone = any(e.idempotency_key == key + UNDO and e.sequence > effect.sequence for e in effects)
            told = ", ".join(f"{name} {new}" for name, new in effect.details.items() if not name.startswith("was_"))
            found.append(Truth("crm", "crm.upsert_company", key, not undone, effect.sequence, f"wrote {told}"))
        return found

    async def state(self) -> bytes:
        """See base class."""
        return self.app.state()

    def company(self) -> dict[str, str]:
        """What the CRM has."""
        found = self.app.crm.company(ACCOUNT, by="account_id")
        return {} if found is None else {name: value for name, value in found.properties.items() if value}


def _refused(call: Call, request: httpx.Request) -> httpx.Response:
    if call.operation.name == "crm.upsert_company" and call.role is Role.ACTION:
        body: dict[str, Any] = {"category": "VALIDATION_ERROR", "message": "not wanted"}
        return httpx.Response(400, json=body, request=request)
    return httpx.Response(403, json={"error": "forbidden"}, request=request)


# -- the business's own rules ------------------------------------------------------------------------------------------


def _harmless(world: CrmSyncWorld, run: Run) -> list[str]:
    return [violation.message for violation in sandbox.violations(world.app.exchange.journal.effects())]


def _the_owner_s_word(world: CrmSyncWorld, run: Run) -> list[str]:
    company = world.company()
    if run.ending is not Ending.COMPLETED:
        return []
    held = Account.model_validate_json(run.result or "").value("plan")
    wrong = (
        [] if company.get("plan") == held else [f"billing's plan is {held!r}, and the CRM has {company.get('plan')!r}"]
    )
    if not run.scenario.faults and (held, company.get("enrichment")) != ("pro", ENRICHED):
        wrong.append(f"nothing went wrong, and the account ends with plan {held!r}, {company}")
    return wrong


CRM_SYNC: Final = Subject(
    workflow=CrmSync,
    request=REQUEST,
    world=CrmSyncWorld,
    invariants=(
        Invariant("no account is written twice for one event", _harmless),
        Invariant("the CRM has the plan that billing has told last", _the_owner_s_word),
    ),
)
"""The CRM sync of one account, as a sweep takes it."""
