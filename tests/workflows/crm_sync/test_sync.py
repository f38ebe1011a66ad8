"""Each way in which the sync of an account can go wrong, and what is true afterwards, by the CRM's own record."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from activities.entitlements.contract import Plan
from kit import Choice, Decision
from kit.contract import Known
from kit.testing.sandbox.faults import FaultKind, Operation
from kit.workflow import DECIDE_UPDATE, TASKS_QUERY, Task
from tests.workflows.crm_sync.office import Office, change, office
from workflows.crm_sync import ENRICHED, PENDING, upgrade_workflow_id
from workflows.plan_upgrade import PlanUpgraded

pytestmark = pytest.mark.slow

CUSTOMER = "customer@example.com"


async def the_task(here: Office) -> Task:
    """The question the entity has put, once it has."""
    for _ in range(400):
        tasks: list[Task] = await here.sync.query(TASKS_QUERY, result_type=list[Task])
        if tasks:
            return tasks[-1]
        await asyncio.sleep(0.02)  # a workflow tells nobody that it has parked; a query must ask again
    raise AssertionError("nobody was asked")


async def test_each_source_is_believed_about_what_it_owns(server: WorkflowEnvironment) -> None:
    """CRM, billing and support tell of one account, and the CRM ends with everybody's word, enriched."""
    async with office(server) as here:
        account = await here.applied(
            change("c1", "crm", version=1, name="Acme", domain="acme.example", email=CUSTOMER),
            change("b1", "billing", version=1, plan="starter", status="active", subscription_id="sub_1"),
            change("s1", "support", version=1, support_tier="gold"),
        )
        entity = await here.entity()

    assert here.company() == {
        "name": "Acme",
        "plan": "starter",
        "status": "active",
        "support_tier": "gold",
        "industry": "manufacturing",
        "employees": "250",
        "enrichment": ENRICHED,
    }
    assert account.known["plan"] == Known(value="starter", version=1)
    assert entity.memory.drift == ()


async def test_what_the_crm_has_already_is_not_written(server: WorkflowEnvironment) -> None:
    """An event that changes nothing, a duplicate and a stale one read at most, and write nothing."""
    async with office(server) as here:
        plan = change("b2", "billing", version=2, plan="starter")
        await here.applied(plan)
        written = here.writes()

        await here.tell(plan, change("b1", "billing", version=1, plan="none"))
        await here.applied(change("b3", "billing", version=3, plan="starter"))
        entity = await here.entity()

    assert here.writes() == written == 1
    assert here.company()["plan"] == "starter"
    assert {name: entity.memory.counts[name] for name in ("applied", "stale")} == {"applied": 2, "stale": 1}


async def test_a_stranger_s_word_is_drift_and_the_owner_s_is_put_back(server: WorkflowEnvironment) -> None:
    """A plan that somebody has typed into the CRM is not taken: it is recorded, and billing's plan is written again."""
    async with office(server) as here:
        await here.applied(change("b1", "billing", version=1, plan="starter"))
        here.edit(plan="enterprise")

        account = await here.applied(change("c1", "crm", version=1, plan="enterprise"))
        entity = await here.entity()

    assert here.company()["plan"] == account.value("plan") == "starter"
    (drift,) = entity.memory.drift
    assert (drift.field, drift.owner, drift.writer, drift.kept, drift.offered) == (
        "plan",
        "billing",
        "crm",
        "starter",
        "enterprise",
    )


async def test_account_that_the_crm_does_not_have_is_created(server: WorkflowEnvironment) -> None:
    """What is known of an account without a company makes one, once, although the first reply is lost."""
    async with office(server) as here:
        here.app.crm.companies.clear()
        here.fail(Operation.WRITE_COMPANY, FaultKind.DROP_REPLY)

        await here.applied(change("b1", "billing", version=1, plan="pro"))

    assert here.company() == {"plan": "pro"}
    assert len(here.app.crm.companies) == 1
    assert here.writes() == 1


@pytest.mark.parametrize(
    "fault",
    [
        (FaultKind.RATE_LIMIT, {"retry_after": 7}),
        (FaultKind.UNAVAILABLE, {"times": 3}),
        (FaultKind.DROP_BEFORE, {}),
        (FaultKind.DROP_REPLY, {}),
        (FaultKind.ERROR_AFTER, {}),
    ],
    ids=lambda fault: fault[0].value,
)
async def test_write_that_is_in_doubt_is_one_write(
    server: WorkflowEnvironment, fault: tuple[FaultKind, dict[str, int]]
) -> None:
    """Whatever becomes of the request or of its reply, the CRM is written once, and the next event follows."""
    async with office(server) as here:
        here.fail(Operation.WRITE_COMPANY, fault[0], **fault[1])

        await here.applied(
            change("b1", "billing", version=1, plan="pro"), change("s1", "support", version=1, support_tier="gold")
        )

    assert here.company() == {"name": "Acme", "plan": "pro", "support_tier": "gold"}
    assert here.writes() == 2


async def test_write_that_is_refused_waits_for_a_person(server: WorkflowEnvironment) -> None:
    """A refused write is put to the owners with the event; what comes after it waits, and follows in order."""
    async with office(server) as here:
        here.fail(Operation.WRITE_COMPANY, FaultKind.REFUSE)
        first = change("b1", "billing", version=1, plan="pro")
        second = change("b2", "billing", version=2, plan="enterprise")

        await here.tell(first, second)
        task = await the_task(here)
        parked = await here.entity()
        decision = Decision(task_id=task.id, choice=Choice.RETRY, who="ada", why="the field is defined now")
        await here.sync.execute_update(DECIDE_UPDATE, decision)
        account = await here.applied(first, second)

    assert task.owner == "sales-team"
    assert "Event 'b1' of billing, version 1 could not be applied" in task.question
    assert (parked.state.known, len(parked.memory.waiting)) == ({}, 1)
    assert account.value("plan") == here.company()["plan"] == "enterprise"
    assert here.writes() == 2


async def test_company_that_changes_under_the_write_is_read_again(server: WorkflowEnvironment) -> None:
    """What somebody has written between the look and the write is compared anew, and not written over unseen."""
    async with office(server) as here:
        edits = iter(("typed", "typed again"))

        def edit(request: httpx.Request) -> None:
            if request.url.host == "crm.test" and request.method == "GET":
                here.reads += 1
                if here.reads in (2, 4):  # the write looks itself before it writes
                    here.edit(plan=next(edits))

        here.wire.before = edit
        await here.applied(change("b1", "billing", version=1, plan="pro"))

    assert here.company()["plan"] == "pro"
    assert here.reads == 6
    assert here.writes() == 1


async def test_lead_is_marked_while_enrichment_is_down(server: WorkflowEnvironment) -> None:
    """Without the enrichment service the lead says so and everything else goes on; the next event makes it good."""
    async with office(server) as here:
        here.fail(Operation.ENRICH, FaultKind.UNAVAILABLE, times="always")
        await here.applied(
            change("c1", "crm", version=1, domain="acme.example"), change("b1", "billing", version=1, plan="pro")
        )
        down = here.company()
        here.app.exchange.script.clear()

        await here.applied(change("s1", "support", version=1, support_tier="gold"))

    assert down == {"name": "Acme", "plan": "pro", "enrichment": PENDING}
    assert here.company() == {
        "name": "Acme",
        "plan": "pro",
        "support_tier": "gold",
        "industry": "manufacturing",
        "employees": "250",
        "enrichment": ENRICHED,
    }


async def test_agreed_upgrade_is_carried_out_once_in_every_system(server: WorkflowEnvironment, cached: bool) -> None:
    """An upgrade starts once, when both sources have spoken; the echo of its own write is no drift."""
    async with office(server, cached=cached) as here:
        agreed = change(f"won-{here.account_id}", "crm", version=2, email=CUSTOMER, wanted_plan=Plan.PRO)
        started = change("b1", "billing", version=1, plan="starter", subscription_id="sub_1")
        upgrade = here.worker.client.get_workflow_handle(upgrade_workflow_id(agreed.id), result_type=PlanUpgraded)

        await here.applied(agreed)
        waiting = (await here.entity()).state.wish
        await here.tell(started, agreed, started)
        await here.applied(started)
        result = await upgrade.result()
        await here.applied(change("c3", "crm", version=3, plan="pro"))
        account = await here.applied(change("b2", "billing", version=2, plan="pro"))
        entity = await here.entity()

    assert waiting is not None
    assert (result.plan, here.company()["plan"]) == (Plan.PRO, "pro")
    assert here.app.entitlements.plan(here.account_id) == "pro"
    assert (account.wish, account.upgrading, account.value("plan")) == (None, None, "pro")
    assert entity.memory.drift == ()


async def test_upgrade_that_fails_leaves_the_sync_alive(server: WorkflowEnvironment) -> None:
    """An upgrade that billing refuses is undone by itself; the account's other changes go on meanwhile."""
    async with office(server) as here:
        here.fail(Operation.CHANGE_SUBSCRIPTION, FaultKind.REFUSE)
        won = change(f"won-{here.account_id}", "crm", version=1, email=CUSTOMER, wanted_plan=Plan.PRO)
        upgrade = here.worker.client.get_workflow_handle(upgrade_workflow_id(won.id))

        await here.applied(change("b1", "billing", version=1, plan="starter", subscription_id="sub_1"), won)
        with pytest.raises(WorkflowFailureError):
            await upgrade.result()
        await here.applied(change("s1", "support", version=1, support_tier="gold"))
        await here.applied(change("b2", "billing", version=2, plan="starter"))

    assert here.company() == {"name": "Acme", "plan": "starter", "support_tier": "gold"}
