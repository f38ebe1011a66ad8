"""Companies by HubSpot's CRM objects (https://developers.hubspot.com/docs/api-reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from activities.crm import contract as crm
from activities.crm.contract import Company, CompanyFields, CompanyPage, PageCompanies, ReadCompany, UpsertCompany
from kit.contract import FailureKind, Keys, Page, Record, Scan, Token, Undo
from kit.errors import OperationFailure, Refused
from kit.worker.connector import Connector

UNIQUE: Final = "account_id"
"""A property of the CRM that is defined as unique: by it every other system knows the company."""

_COMPANIES: Final = "/crm/v3/objects/companies"
_PAGE: Final = 100
"""The most objects HubSpot puts on one page."""
_READ: Final = ",".join((UNIQUE, *CompanyFields.model_fields))


class HubSpotCrm(Connector):
    """Reads, writes and lists companies.

    The CRM has no idempotency keys and no conditional writes. So it is looked at before it is written, by its id,
    which sees every write at once; nothing here asks the search, which is behind.

    Args:
        http: A client for ``https://api.hubapi.com`` that sends ``Authorization: Bearer <access token>``; made by
            `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    # -- read ------------------------------------------------------------------------------------------------------

    @crm.read_company.action
    async def read_company(self, request: ReadCompany, token: Token) -> Company:
        """The company as it is now."""
        return await self._read(request.account_id)

    @crm.page_companies.action
    async def page_companies(self, request: PageCompanies, token: Token) -> CompanyPage:
        """The next page of companies."""
        query = {"limit": str(request.limit), "properties": _READ}
        if request.after is not None:
            query["after"] = request.after
        reply = await self._http.get(_COMPANIES, params=query)
        page = reply.raise_for_status().json()
        known = [found for found in page["results"] if found["properties"].get(UNIQUE)]
        return CompanyPage(
            companies=tuple(_company(found["properties"][UNIQUE], found) for found in known),
            after=page.get("paging", {}).get("next", {}).get("after"),
        )

    @crm.list_plans.action
    async def list_plans(self, request: Scan, token: Token) -> Page:
        """One page of the companies' plans."""
        asked = PageCompanies(after=request.after, limit=min(request.limit, _PAGE))
        page = await self.page_companies(asked, token)
        return Page(records=tuple(map(_record, page.companies)), next=page.after)

    @crm.find_plans.action
    async def find_plans(self, request: Keys, token: Token) -> Page:
        """The plans of some accounts' companies, read by their ids."""
        found = [await self._read(account_id) for account_id in request.keys]
        return Page(records=tuple(_record(company) for company in found if company.company_id is not None))

    # -- write -----------------------------------------------------------------------------------------------------

    @crm.upsert_company.action
    async def upsert_company(self, request: UpsertCompany, token: Token) -> Company:
        """Write the fields, if the company still is as the snapshot has it."""
        now = await self._read(request.account_id)
        if not _same(now, request.before, request.fields):
            raise Refused(
                FailureKind.CONFLICT,
                f"company {request.account_id!r} has changed since it was read",
                reason="changed_since_read",
            )
        one = {"idProperty": UNIQUE, "id": request.account_id, "properties": _written(request.fields)}
        reply = await self._http.post(f"{_COMPANIES}/batch/upsert", json={"inputs": [one]})
        done = reply.raise_for_status().json()
        if done.get("errors"):  # 207: the batch was taken, its one input was not
            raise Refused(FailureKind.INVALID, done["errors"][0]["message"], reason=done["errors"][0].get("category"))
        return _company(request.account_id, done["results"][0])

    @crm.upsert_company.compensation
    async def restore(self, undo: Undo[UpsertCompany, Company], token: Token) -> None:
        """Put back what was there, where still is what was written; archive a company that there was not."""
        request = undo.request
        now = await self._read(request.account_id)
        if now.company_id is None:
            return
        if request.before.company_id is None:
            # Another one of the same account is not the one that was created.
            if now.company_id == undo.result.company_id:
                (await self._http.delete(f"{_COMPANIES}/{now.company_id}")).raise_for_status()
            return
        properties = _restored(now, request)
        if properties:
            reply = await self._http.patch(f"{_COMPANIES}/{now.company_id}", json={"properties": properties})
            if reply.status_code != httpx.codes.NOT_FOUND:  # somebody has archived it meanwhile
                reply.raise_for_status()

    @crm.upsert_company.probe
    async def find(self, request: UpsertCompany, token: Token) -> Company | None:
        """The company, if it has what was to be written and did not have it before."""
        now = await self._read(request.account_id)
        wanted = request.fields.model_dump(exclude_none=True)
        there = now.company_id is not None and wanted.items() <= now.fields.model_dump().items()
        return now if there and not _same(now, request.before, request.fields) else None

    # -- failures --------------------------------------------------------------------------------------------------

    def classify(self, error: Exception) -> OperationFailure | None:
        """Read HubSpot's error body (https://developers.hubspot.com/docs/api-reference/error-handling)."""
        if not isinstance(error, httpx.HTTPStatusError) or error.response.status_code != httpx.codes.BAD_REQUEST:
            return None
        body = _error_of(error)
        return Refused(FailureKind.INVALID, str(body.get("message") or error), reason=body.get("category"))

    # -- wire ------------------------------------------------------------------------------------------------------

    async def _read(self, account_id: str) -> Company:
        reply = await self._http.get(
            f"{_COMPANIES}/{quote(account_id, safe='')}", params={"idProperty": UNIQUE, "properties": _READ}
        )
        if reply.status_code == httpx.codes.NOT_FOUND:
            return Company(account_id=account_id)
        return _company(account_id, reply.raise_for_status().json())


def _record(company: Company) -> Record:
    """What the CRM shows of a company's plan."""
    return Record(
        key=company.account_id, state=company.fields.plan or "", facts={"company_id": company.company_id or ""}
    )


def _company(account_id: str, body: Mapping[str, Any]) -> Company:
    properties = body["properties"]
    fields = {name: properties.get(name) or None for name in CompanyFields.model_fields}
    return Company(account_id=account_id, company_id=body["id"], fields=CompanyFields(**fields))


def _written(fields: CompanyFields) -> dict[str, str]:
    """The fields as properties; an empty text takes a value away."""
    return {name: str(value) for name, value in fields.model_dump(exclude_none=True).items()}


def _same(now: Company, before: Company, fields: CompanyFields) -> bool:
    """Whether the company is, in the fields that are to be written, as the snapshot has it."""
    if now.company_id != before.company_id:
        return False
    return all(getattr(now.fields, name) == getattr(before.fields, name) for name in _written(fields))


def _restored(now: Company, request: UpsertCompany) -> dict[str, str]:
    """The properties to put back: those that still have the value that was written."""
    return {
        name: getattr(request.before.fields, name) or ""
        for name, value in _written(request.fields).items()
        if getattr(now.fields, name) == value
    }


def _error_of(error: httpx.HTTPStatusError) -> dict[str, Any]:
    """HubSpot's reply; empty when something else answered, such as a proxy."""
    try:
        body = error.response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
