"""A CRM that speaks HubSpot's wire format for companies (https://developers.hubspot.com/docs/api-reference).

No idempotency keys and no conditional writes: whatever comes last wins, also when it comes late. A company is known by
a unique property, `account_id`; upserts by it make one company however often they are sent. Reads by id see every
write at once, the search is behind.

    POST   /crm/v3/objects/companies/batch/upsert   {inputs: [{idProperty, id, properties}]} -> 200; 207 with errors
    GET    /crm/v3/objects/companies/{id}           ?idProperty=account_id&properties=plan,name -> 200; 404
    PATCH  /crm/v3/objects/companies/{id}           {properties}; 404 when there is none
    DELETE /crm/v3/objects/companies/{id}           204, also when it is gone already
    GET    /crm/v3/objects/companies                ?limit=&after=&properties= -> a page, in the order of their ids
    POST   /crm/v3/objects/companies/search         {filterGroups} -> what the index knows

The reference of every effect is the company's `account_id`. A write that changes nothing is no effect. What was written
stands until other values are written over it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Final

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Provider
from kit.testing.sandbox.index import SearchIndex
from kit.testing.sandbox.records import NOBODY, Caller, EffectKind

UNIQUE: Final = "account_id"
"""The property by which a company is known outside of the CRM."""

PROPERTIES: Final = frozenset(
    {UNIQUE, "name", "domain", "email", "plan", "status", "support_tier", "industry", "employees", "enrichment"}
)
"""What is defined in an account at first. HubSpot refuses values of other properties."""

SEARCH_LAG: Final = timedelta(seconds=30)
"""How far the search is behind. HubSpot speaks of moments, and promises nothing."""


@dataclass(slots=True)
class Company:
    """One company. An empty text is no value, as HubSpot has it."""

    id: str
    created_at: str
    properties: dict[str, str]
    written_by: dict[str, str] = field(default_factory=dict)
    """The effect that wrote each property last."""

    def wire(self, wanted: tuple[str, ...] = ()) -> dict[str, Any]:
        """The object as it is sent: of the properties those that are asked for, ``null`` where there is no value."""
        shown = {name: self.properties.get(name) or None for name in wanted}
        return {
            "id": self.id,
            "properties": {"hs_object_id": self.id, **(shown if wanted else self.properties)},
            "createdAt": self.created_at,
            "archived": False,
        }


class Crm:
    """The CRM: its companies, and what each call does to them."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.companies: dict[str, Company] = {}
        self.defined = set(PROPERTIES)
        self.index = SearchIndex(exchange.journal.now, lag=SEARCH_LAG)
        # Never restarted, so that an id from before a reset means nothing after it.
        self._ids = count(1)
        self._writes = count(1)

    def clear(self) -> None:
        """Forget every company."""
        self.companies.clear()
        self.defined = set(PROPERTIES)
        self.index.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        companies = [(one.id, one.properties, one.written_by) for one in self.companies.values()]
        return (companies, sorted(self.defined), self.index.state(), repr(self._ids), repr(self._writes))

    def add(self, account_id: str, **properties: str) -> Company:
        """Make a company as if it had been there all along.

        Raises:
            ValueError: There is one of this account.
        """
        if self.company(account_id, by=UNIQUE) is not None:
            raise ValueError(f"there is a company of account {account_id!r}; use another id")
        company = self._make(account_id)
        self._write(company, properties, effect=False)
        return company

    def company(self, company_id: str, *, by: str = "hs_object_id") -> Company | None:
        """The company of an id, or of a value of the unique property."""
        if by == UNIQUE:
            return next((one for one in self.companies.values() if one.properties[UNIQUE] == company_id), None)
        return self.companies.get(company_id)

    async def serve(self, request: Request, execute: Callable[[], Reply]) -> Reply:
        """Serve one call."""
        return await self.exchange.serve(Provider.CRM, request, execute=execute, fault_reply=fault_reply)

    # Each of the following returns the execution, which runs only when the exchange says so.

    def read(self, company_id: str, by: str, wanted: tuple[str, ...]) -> Callable[[], Reply]:
        """`GET /crm/v3/objects/companies/{id}`."""

        def execute() -> Reply:
            found = self.company(company_id, by=by)
            return not_found() if found is None else Reply(200, found.wire(wanted))

        return execute

    def upsert(self, inputs: list[dict[str, Any]], caller: Caller) -> Callable[[], Reply]:
        """`POST /crm/v3/objects/companies/batch/upsert`."""

        def execute() -> Reply:
            results, errors = [], []
            for one in inputs:
                unknown = sorted(one["properties"].keys() - self.defined)
                if unknown:
                    errors.append(error_body("VALIDATION_ERROR", f"Property {unknown[0]!r} does not exist"))
                    continue
                found = self.company(one["id"], by=UNIQUE)
                company = found or self._create(one["id"], caller)
                self._write(company, one["properties"], caller, effect=found is not None)
                results.append({**company.wire(), "new": found is None})
            body = {"status": "COMPLETE", "results": results}
            return Reply(207, {**body, "numErrors": len(errors), "errors": errors}) if errors else Reply(200, body)

        return execute

    def update(self, company_id: str, by: str, properties: Mapping[str, str], caller: Caller) -> Callable[[], Reply]:
        """`PATCH /crm/v3/objects/companies/{id}`."""

        def execute() -> Reply:
            unknown = sorted(properties.keys() - self.defined)
            if unknown:
                return Reply(400, error_body("VALIDATION_ERROR", f"Property {unknown[0]!r} does not exist"))
            found = self.company(company_id, by=by)
            if found is None:
                return not_found()
            self._write(found, properties, caller)
            return Reply(200, found.wire())

        return execute

    def archive(self, company_id: str, caller: Caller) -> Callable[[], Reply]:
        """`DELETE /crm/v3/objects/companies/{id}`."""

        def execute() -> Reply:
            gone = self.companies.pop(company_id, None)
            if gone is not None:
                for effect in {gone.id, *gone.written_by.values()}:
                    self.exchange.journal.ended(Provider.CRM, EffectKind.UPDATED, effect)
                self.exchange.journal.ended(Provider.CRM, EffectKind.CREATED, gone.id)
                self._did(EffectKind.ARCHIVED, gone, gone.id, caller, {}, live=False)
                self.index.remove(gone.id)
            return Reply(204)

        return execute

    def page(self, after: int, limit: int, wanted: tuple[str, ...]) -> Callable[[], Reply]:
        """`GET /crm/v3/objects/companies`; ``after`` is the id behind which it begins."""

        def execute() -> Reply:
            rest = sorted((one for one in self.companies.values() if int(one.id) > after), key=lambda one: int(one.id))
            body: dict[str, Any] = {"results": [one.wire(wanted) for one in rest[:limit]]}
            if len(rest) > limit:
                body["paging"] = {"next": {"after": rest[limit - 1].id}}
            return Reply(200, body)

        return execute

    def search(self, wanted: Mapping[str, str], limit: int) -> Callable[[], Reply]:
        """`POST /crm/v3/objects/companies/search`, of filters that must all be equal, on one page."""

        def execute() -> Reply:
            found = self.index.find(lambda one: all(one["properties"].get(name) == wanted[name] for name in wanted))
            return Reply(200, {"total": len(found), "results": found[:limit]})

        return execute

    def _create(self, account_id: str, caller: Caller) -> Company:
        company = self._make(account_id)
        self._did(EffectKind.CREATED, company, company.id, caller, {})
        return company

    def _make(self, account_id: str) -> Company:
        company = Company(str(next(self._ids)), self.exchange.journal.now().isoformat(), {UNIQUE: account_id})
        self.companies[company.id] = company
        return company

    def _write(
        self, company: Company, properties: Mapping[str, str], caller: Caller = NOBODY, *, effect: bool = True
    ) -> None:
        changed = {name: new for name, new in properties.items() if company.properties.get(name, "") != new}
        if changed and effect:
            written = f"{company.id}@{next(self._writes)}"
            told = {f"was_{name}": company.properties.get(name, "") for name in changed} | changed
            for name in changed:
                if name in company.written_by:
                    self.exchange.journal.ended(Provider.CRM, EffectKind.UPDATED, company.written_by[name])
                company.written_by[name] = written
            self._did(EffectKind.UPDATED, company, written, caller, told)
        company.properties.update(changed)
        self.index.put(company.id, {"id": company.id, "properties": dict(company.properties), "archived": False})

    def _did(
        self,
        kind: EffectKind,
        company: Company,
        object_id: str,
        caller: Caller,
        details: Mapping[str, str],
        *,
        live: bool = True,
    ) -> None:
        self.exchange.journal.did(
            Provider.CRM,
            kind,
            reference=company.properties[UNIQUE],
            object_id=object_id,
            caller=caller,
            details=details,
            live=live,
        )


def error_body(category: str, message: str) -> dict[str, Any]:
    """HubSpot's error object (https://developers.hubspot.com/docs/api-reference/error-handling)."""
    return {"status": "error", "category": category, "message": message, "correlationId": "sandbox"}


def not_found() -> Reply:
    """There is no such company."""
    return Reply(404, error_body("OBJECT_NOT_FOUND", "resource not found"))


def fault_reply(fault: Fault, request: Request) -> Reply:
    """The reply to a scripted fault, in HubSpot's words."""
    headers = fault.retry_after_header()
    match fault.fault:
        case FaultKind.RATE_LIMIT:
            body = error_body("RATE_LIMITS", "You have reached your ten_secondly_rolling limit.")
            return Reply(429, {**body, "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}, headers)
        case FaultKind.UNAVAILABLE:
            return Reply(fault.status or 503, error_body("SERVICE_UNAVAILABLE", "Try again later."), headers)
        case FaultKind.REFUSE:
            return Reply(fault.status or 400, error_body("VALIDATION_ERROR", "Property values were not valid"), headers)
        case _:
            return Reply(fault.status or 500, error_body("INTERNAL_ERROR", "internal error"), headers)
