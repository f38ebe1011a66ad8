"""Companies against a CRM without idempotency keys and without conditional writes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from activities.crm import contract as crm
from activities.crm.contract import Company, CompanyFields, PageCompanies, ReadCompany, UpsertCompany
from activities.crm.hubspot import HubSpotCrm
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.errors import Refused
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import client_of

TOKEN = Token(key="crm-upsert:ACC-1:UPG-1", correlation_id="corr-1", workflow_id="upgrade-1")
BEFORE = CompanyFields(name="Acme", plan="starter")


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the CRM's credentials."""
    async with client_of(sandbox, Authorization="Bearer pat-sandbox") as client:
        yield client


@pytest.fixture
async def connector(http: httpx.AsyncClient) -> HubSpotCrm:
    """The connector to the sandbox's CRM."""
    return HubSpotCrm(http)


async def _company(connector: HubSpotCrm, account_id: str, fields: CompanyFields = BEFORE) -> Company:
    """A company that has been in the CRM all along, as it is read."""
    new = UpsertCompany(account_id=account_id, change_id="OLD", fields=fields, before=Company(account_id=account_id))
    await connector.upsert_company(new, TOKEN)
    return await connector.read_company(ReadCompany(account_id=account_id), TOKEN)


def _upgrade(before: Company) -> UpsertCompany:
    return UpsertCompany(
        account_id=before.account_id, change_id="UPG-1", fields=CompanyFields(plan="pro"), before=before
    )


def _plans(sandbox: Sandbox) -> dict[str, str]:
    """The plans, by account, as the CRM itself has them."""
    companies = sandbox.app.crm.companies.values()
    return {one.properties["account_id"]: one.properties.get("plan", "") for one in companies}


@pytest.mark.slow
async def test_a_write_keeps_its_promises(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """Writing conforms: a lost reply is looked up, and the undo puts the snapshot back."""
    known = {number: await _company(connector, f"ACC-{number}") for number in range(1, 8)}

    def fault(kind: FaultKind, number: int, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.WRITE_COMPANY, kind)

        return Fault(inject, _upgrade(known[number]), expected, outcome)

    async def upgraded() -> int:
        return list(_plans(sandbox).values()).count("pro")

    report = await check_connector(
        connector,
        crm.upsert_company,
        _upgrade(known[1]),
        oracle=upgraded,
        faults=[
            fault(FaultKind.REFUSE, 2, FailureKind.INVALID, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, 3, FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, 4, FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, 5, FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, 6, FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, 7, FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert {Promise.RESOLVED, Promise.PROBE_UNDONE, Promise.UNDO_FORGOTTEN} <= set(report.kept)
    assert set(_plans(sandbox).values()) == {"starter"}


async def test_a_company_that_was_created_is_archived_by_the_undo(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """Creating conforms, too: one company, and none after the undo."""

    async def companies() -> int:
        return sum(effect.live and effect.kind is EffectKind.CREATED for effect in await sandbox.control.effects())

    report = await check_connector(
        connector, crm.upsert_company, _upgrade(Company(account_id="ACC-1")), oracle=companies
    )

    assert Promise.UNDO_AFTER in report.kept
    assert sandbox.app.crm.companies == {}


async def test_a_company_that_changed_since_the_snapshot_is_not_written(
    sandbox: Sandbox, connector: HubSpotCrm
) -> None:
    """What a salesperson has written meanwhile is not written over: the write is refused, for good."""
    before = await _company(connector, "ACC-1")
    await _company(connector, "ACC-2")
    (sales,) = (one for one in sandbox.app.crm.companies.values() if one.properties["account_id"] == "ACC-1")
    sales.properties["plan"] = "enterprise"

    with pytest.raises(Refused) as raised:
        await connector.upsert_company(_upgrade(before), TOKEN)

    assert (raised.value.kind, raised.value.reason) == (FailureKind.CONFLICT, "changed_since_read")
    assert crm.CRM.retry[FailureKind.CONFLICT].attempts == 1
    assert _plans(sandbox) == {"ACC-1": "enterprise", "ACC-2": "starter"}


async def test_the_undo_restores_only_what_nobody_has_changed_since(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """Fields that were not written are left alone, and so is a field that somebody has written since."""
    before = await _company(connector, "ACC-1")
    request = UpsertCompany(
        account_id="ACC-1",
        change_id="UPG-1",
        fields=CompanyFields(plan="pro", support_tier="gold", status="active"),
        before=before,
    )
    written = await connector.upsert_company(request, TOKEN)
    (company,) = sandbox.app.crm.companies.values()
    company.properties |= {"name": "Acme Ltd", "status": "churning"}

    await connector.restore(Undo(request, written), TOKEN)

    left = await connector.read_company(ReadCompany(account_id="ACC-1"), TOKEN)
    assert left.fields == CompanyFields(name="Acme Ltd", plan="starter", status="churning")


async def test_the_undo_of_a_company_that_is_gone_does_nothing(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """A company that was archived by hand is not brought back, and one that was made again is not archived."""
    created = _upgrade(Company(account_id="ACC-1"))
    written = await connector.upsert_company(created, TOKEN)
    sandbox.app.crm.clear()
    await connector.restore(Undo(created, written), TOKEN)
    again = await _company(connector, "ACC-1")

    await connector.restore(Undo(created, written), TOKEN)

    assert again.company_id != written.company_id
    assert _plans(sandbox) == {"ACC-1": "starter"}


async def test_the_look_up_sees_what_the_search_does_not_know_yet(
    sandbox: Sandbox, http: httpx.AsyncClient, connector: HubSpotCrm
) -> None:
    """The probe reads by id: by search it would find nothing, and the write would be made again."""
    request = _upgrade(Company(account_id="ACC-1"))
    await connector.upsert_company(request, TOKEN)

    filters = [{"propertyName": "account_id", "operator": "EQ", "value": "ACC-1"}]
    searched = await http.post("/crm/v3/objects/companies/search", json={"filterGroups": [{"filters": filters}]})
    probed = await connector.find(request, TOKEN)

    assert searched.json() == {"total": 0, "results": []}
    assert probed is not None
    assert probed.fields.plan == "pro"


async def test_companies_are_listed_page_by_page(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """The pages together have every company with an account id, in order, and the last one says so."""
    for number in range(1, 6):
        await _company(connector, f"ACC-{number}")
    pages: list[list[str]] = []
    after = None

    while not pages or after is not None:
        page = await connector.page_companies(PageCompanies(after=after, limit=2), TOKEN)
        pages.append([company.account_id for company in page.companies])
        after = page.after

    assert pages == [["ACC-1", "ACC-2"], ["ACC-3", "ACC-4"], ["ACC-5"]]


async def test_a_company_nobody_knows_is_an_answer(connector: HubSpotCrm) -> None:
    """Reading what is not there is no failure."""
    found = await connector.read_company(ReadCompany(account_id="ACC/9"), TOKEN)

    assert found == Company(account_id="ACC/9")


async def test_a_batch_that_was_taken_with_errors_is_refused(sandbox: Sandbox, connector: HubSpotCrm) -> None:
    """A 207 is no success: the one input of the batch says why it was not written."""
    sandbox.app.crm.defined.remove("support_tier")
    before = await _company(connector, "ACC-1")
    request = _upgrade(before).model_copy(update={"fields": CompanyFields(support_tier="gold")})

    with pytest.raises(Refused) as raised:
        await connector.upsert_company(request, TOKEN)

    assert (raised.value.kind, raised.value.reason) == (FailureKind.INVALID, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (400, FailureKind.INVALID, Outcome.REFUSED),
        (401, FailureKind.UNAUTHENTICATED, Outcome.REFUSED),
        (423, FailureKind.UNAVAILABLE, Outcome.NOT_STARTED),
        (429, FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
        (502, FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
    ],
)
async def test_statuses_mean_what_hubspot_says(status: int, kind: FailureKind, outcome: Outcome) -> None:
    """A record that is locked was not written; a proxy's error says nothing."""
    request = httpx.Request("POST", "https://crm.test")
    response = httpx.Response(status, json={"category": "X", "message": "no"}, request=request)
    error = httpx.HTTPStatusError("no", request=request, response=response)

    failure = classify(HubSpotCrm(httpx.AsyncClient()), crm.upsert_company, error)

    assert (failure.kind, failure.outcome) == (kind, outcome)
