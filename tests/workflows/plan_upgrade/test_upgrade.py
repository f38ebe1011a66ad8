"""The plan upgrade, made, refused at each step, and with replies that are lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.entitlements.contract import Plan
from activities.tickets.contract import TICKETS
from kit.ledger import State
from kit.testing.sandbox import EffectKind, FaultKind, Operation
from kit.testing.sandbox.tickets import SEARCH_LAG
from kit.workflow import COMPENSATED
from tests.workflows.plan_upgrade.firm import READS, SUCCESS, WRITES, Firm, Story
from workflows.plan_upgrade import NO_UPGRADE

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

UNDONE = {State.UNDONE, State.REFUSED, State.VOID}


async def assert_upgraded(firm: Firm, story: Story) -> None:
    """Every system has the new plan, one ticket is open, and the customer was told once."""
    assert story.error is None
    assert story.history.activities == SUCCESS
    assert firm.plans() == {Plan.PRO}
    assert [ticket.live for ticket in firm.effects(EffectKind.OPENED)] == [True]
    assert len(firm.effects(EffectKind.SENT)) == 1
    assert await firm.rows(story) == {State.DONE}


async def assert_untouched(firm: Firm, story: Story) -> None:
    """Every system has the plan from before, no ticket is open, and nobody was told."""
    assert isinstance(story.error, ApplicationError)
    assert story.error.type == COMPENSATED
    assert firm.plans() == {Plan.STARTER}
    assert not any(ticket.live for ticket in firm.effects(EffectKind.OPENED))
    assert firm.effects(EffectKind.SENT) == []
    assert await firm.rows(story) <= UNDONE


async def test_an_upgrade_is_made_everywhere_and_told(firm: Firm) -> None:
    """CRM, billing, ticket and entitlement, in this order; then the customer hears of it."""
    story = await firm.upgrade()

    await assert_upgraded(firm, story)
    assert story.attempts == {}
    assert story.history.timers == 0
    (told,) = firm.effects(EffectKind.SENT)
    assert (told.details["subject"], told.details["to"]) == ("Your plan is now pro", "ann@example.com")


@pytest.mark.parametrize(
    ("operation", "done"),
    [
        (Operation.WRITE_COMPANY, 0),
        (Operation.CHANGE_SUBSCRIPTION, 1),
        (Operation.OPEN_TICKET, 2),
        (Operation.CHANGE_ENTITLEMENT, 3),
    ],
)
async def test_what_is_refused_takes_back_what_was_done_before_it(firm: Firm, operation: Operation, done: int) -> None:
    """Whichever system says no: the others are as before, in reverse order, and nobody is told."""
    await firm.fault(operation, FaultKind.REFUSE)

    story = await firm.upgrade()

    undos = [f"{name}.undo" for name in reversed(WRITES[:done])]
    assert story.history.activities == [*READS, *WRITES[: done + 1], *undos]
    await assert_untouched(firm, story)


async def test_writes_whose_replies_were_lost_are_not_made_again(firm: Firm) -> None:
    """The CRM is looked at; billing answers the same key; the entitlement has another version, and says by whom."""
    for operation in (Operation.WRITE_COMPANY, Operation.CHANGE_SUBSCRIPTION, Operation.CHANGE_ENTITLEMENT):
        await firm.fault(operation, FaultKind.DROP_REPLY)

    story = await firm.upgrade()

    await assert_upgraded(firm, story)
    assert story.attempts == {"crm.upsert_company": 2, "billing.change_plan": 2, "entitlements.change": 2}
    for kind in (EffectKind.UPDATED, EffectKind.PLAN_CHANGED, EffectKind.ENTITLED):
        assert len(firm.effects(kind)) == 1


@pytest.mark.parametrize(("fault", "requests"), [(FaultKind.DROP_REPLY, 1), (FaultKind.DROP_BEFORE, 2)])
async def test_a_ticket_is_not_opened_again_before_the_search_knows(
    firm: Firm, fault: FaultKind, requests: int
) -> None:
    """A search that finds nothing is believed when it would have found it: then one ticket is open in any case."""
    await firm.fault(Operation.OPEN_TICKET, fault)

    story = await firm.upgrade()

    await assert_upgraded(firm, story)
    assert firm.calls(Operation.OPEN_TICKET) == requests
    assert firm.calls(Operation.SEARCH_TICKETS) == 2
    assert _took(story, "tickets.open") >= TICKETS.settle > SEARCH_LAG


async def test_a_rate_limit_is_waited_for_as_long_as_it_says(firm: Firm) -> None:
    """The CRM says when to come back, and nobody comes before."""
    await firm.fault(Operation.WRITE_COMPANY, FaultKind.RATE_LIMIT, retry_after=40)

    story = await firm.upgrade()

    await assert_upgraded(firm, story)
    assert story.attempts == {"crm.upsert_company": 2}
    assert _took(story, "crm.upsert_company") >= timedelta(seconds=40)


async def test_what_somebody_has_written_since_is_not_taken_back(firm: Firm) -> None:
    """The undo restores the snapshot where the CRM still says what the upgrade wrote, and nothing else."""

    async def sales() -> None:
        (company,) = firm.sandbox.app.crm.companies.values()
        company.properties |= {"name": "Acme Ltd", "status": "vip"}

    firm.network.after("/api/v2/tickets", sales)
    await firm.fault(Operation.CHANGE_ENTITLEMENT, FaultKind.REFUSE)

    story = await firm.upgrade()

    await assert_untouched(firm, story)
    (company,) = firm.sandbox.app.crm.companies.values()
    assert (company.properties["name"], company.properties["status"]) == ("Acme Ltd", "vip")


async def test_an_undo_that_fails_in_passing_is_repeated(firm: Firm) -> None:
    """Outages on the way back cost attempts and nothing else."""
    await firm.fault(Operation.CHANGE_ENTITLEMENT, FaultKind.REFUSE)
    await firm.fault(Operation.UPDATE_TICKET, FaultKind.UNAVAILABLE, times=4)

    story = await firm.upgrade()

    await assert_untouched(firm, story)
    assert firm.calls(Operation.UPDATE_TICKET) == 5


async def test_a_notice_that_may_have_left_asks_a_person_and_undoes_nothing(firm: Firm) -> None:
    """The upgrade stands, whatever becomes of the e-mail; who finds it sent says so, and the run ends."""
    await firm.fault(Operation.SEND, FaultKind.DROP_REPLY)

    async with firm.worker() as worker:
        handle = await firm.start(worker)
        task = await firm.parked(handle)
        plans = firm.plans()
        await firm.supply(handle, task, message_id="<found@example.com>")
        story = await firm.story(worker, handle)

    assert (task.operation, task.owner, plans) == ("email.send_notice", "customer-care-team", {Plan.PRO})
    assert story.error is None
    assert len(firm.effects(EffectKind.SENT)) == 1


async def test_what_is_no_upgrade_is_refused_before_anything_happens(firm: Firm) -> None:
    """The systems are read, and that is all."""
    refused: list[tuple[dict[str, Any], str]] = [
        ({"plan": Plan.STARTER}, "from which 'starter' is no upgrade"),
        ({"plan": Plan.NONE}, "from which 'none' is no upgrade"),
        ({"account_id": "ACC-2"}, "it belongs to account 'ACC-1', not to 'ACC-2'"),
    ]

    async with firm.worker() as worker:
        stories = [await firm.story(worker, await firm.start(worker, **changes)) for changes, _ in refused]

    for story, (_, why) in zip(stories, refused, strict=True):
        assert story.history.activities == READS
        assert isinstance(story.error, ApplicationError)
        assert isinstance(story.error.cause, ApplicationError)
        assert (story.error.type, story.error.cause.type) == (COMPENSATED, NO_UPGRADE)
        assert why in str(story.error.cause)
        await assert_untouched(firm, story)


def _took(story: Story, activity: str) -> timedelta:
    """How long after it was scheduled the last attempt of an activity began, on the run's own clock."""
    events = story.history.raw.events
    for told in events:
        started = told.activity_task_started_event_attributes
        if told.HasField("activity_task_started_event_attributes"):
            scheduled = events[started.scheduled_event_id - 1]
            if scheduled.activity_task_scheduled_event_attributes.activity_type.name == activity:
                return told.event_time.ToDatetime() - scheduled.event_time.ToDatetime()
    raise AssertionError(f"{activity} was never started")
