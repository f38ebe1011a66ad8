"""What may be asked of the CRM about companies."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from activities.payments.contract import Id
from kit.contract import (
    HTTP_FAILURES,
    Dependency,
    Effect,
    FailureKind,
    Keys,
    Listing,
    Model,
    Once,
    Operation,
    Page,
    Retry,
    Scan,
    not_started,
)

Text = Annotated[str, Field(min_length=1, max_length=65_536)]
"""The value of a field; HubSpot takes as much. It cannot tell an empty one from none: none it is."""

CRM: Final = Dependency(
    name="crm",
    owner="sales-team",
    # How late a request may still be taken into effect. A record is read by its id, which sees every write at once;
    # only the search is behind, and nothing here trusts it.
    settle=timedelta(seconds=5),
    # HubSpot says 423 while it is busy with the record: nothing was done, and later it will be.
    failures=HTTP_FAILURES.extended(statuses={423: not_started(FailureKind.UNAVAILABLE)}),
    # A record that somebody has changed since the snapshot stays changed.
    retry={FailureKind.CONFLICT: Retry(attempts=1)},
    # No limit of our own: HubSpot counts what the whole account asks for, all workers and everybody else together, and
    # says with 429 and Retry-After when to come back.
    runbook="docs/explanation/failure-model.md#crm",
)


class CompanyFields(Model):
    """The fields of a company that this service knows. ``None``: not set, or, in what is written, left as it is."""

    name: Text | None = None
    domain: Text | None = None
    email: Text | None = None
    plan: Text | None = None
    status: Text | None = None
    support_tier: Text | None = None
    industry: Text | None = None
    employees: Text | None = None
    enrichment: Text | None = None


class ReadCompany(Model):
    """Ask for one company."""

    account_id: Id


class Company(Model):
    """A company as the CRM has it.

    Attributes:
        account_id: The unique property by which every system knows it.
        company_id: The CRM's own id; ``None`` when it has no such company.
        fields: What it knows of it.
    """

    account_id: Id
    company_id: Id | None = None
    fields: CompanyFields = CompanyFields()


class UpsertCompany(Model):
    """Write fields of a company, and create it where there is none.

    Attributes:
        account_id: Which.
        change_id: The business id of the change: an upgrade, an event.
        fields: What to write.
        before: What `read_company` has returned: the write is made to this state and to no other, and its undo puts
            this back.
    """

    account_id: Id
    change_id: Id
    fields: CompanyFields
    before: Company


class PageCompanies(Model):
    """Ask for the next page of all companies, in the order of the CRM's ids.

    Attributes:
        after: Where the page before ended; ``None`` for the first.
        limit: The most companies on it.
    """

    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 100


class CompanyPage(Model):
    """One page of companies.

    Attributes:
        companies: Those that have an account id.
        after: What to ask for next; ``None`` on the last page.
    """

    companies: tuple[Company, ...]
    after: str | None = None


read_company = Operation(
    "crm.read_company",
    ReadCompany,
    Company,
    dependency=CRM,
    effect=Effect.READ,
    timeout=timedelta(seconds=10),
    summary="Read company {account_id} in the CRM",
)
"""Read a company. Its result belongs into the write: then the snapshot is durable before anything is written."""

upsert_company = Operation(
    "crm.upsert_company",
    UpsertCompany,
    Company,
    dependency=CRM,
    effect=Effect.COMPENSATABLE,
    # Not by state, although writing twice changes nothing: the CRM has no conditional write, so that a late request
    # would bring a value back after its undo. One request is in flight at a time, and the next waits for its fate.
    once=Once.by_probe(),
    key="crm-upsert:{account_id}:{change_id}",
    timeout=timedelta(seconds=10),
    summary="Write company {account_id} in the CRM",
)
"""Write fields of a company. Its undo restores those that nobody has changed since, and archives what it created."""

page_companies = Operation(
    "crm.page_companies",
    PageCompanies,
    CompanyPage,
    dependency=CRM,
    effect=Effect.READ,
    timeout=timedelta(seconds=10),
    summary="List companies of the CRM",
)
"""List companies, page by page, for whoever compares systems."""

list_plans = Operation(
    "crm.list_plans",
    Scan,
    Page,
    dependency=CRM,
    effect=Effect.READ,
    timeout=timedelta(seconds=10),
    summary="Read a page of the CRM's plans",
)
"""The plans of all companies that have an account, page by page, by the CRM's ids."""

find_plans = Operation(
    "crm.find_plans",
    Keys,
    Page,
    dependency=CRM,
    effect=Effect.READ,
    timeout=timedelta(seconds=30),
    summary="Find the CRM's plans of {keys}",
)
"""The plans of some accounts' companies."""

CRM_PLANS: Final = Listing(name="plans in the CRM", pages=list_plans, again=find_plans)
"""State: the plan that the CRM shows, empty where it shows none. Facts: ``company_id``."""
