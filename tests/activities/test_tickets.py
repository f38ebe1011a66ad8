"""Tickets against a system that opens one for every request and finds them by a search that is behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from activities.tickets import contract as tickets
from activities.tickets.contract import OpenTicket, Ticket
from activities.tickets.zendesk import ZendeskTickets
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.testing.sandbox.tickets import SEARCH_LAG
from tests.activities.conftest import client_of, live

TOKEN = Token(key="ticket:UPG-1", correlation_id="corr-1", workflow_id="upgrade-1")


@pytest.fixture
async def connector(sandbox: Sandbox) -> AsyncIterator[ZendeskTickets]:
    """The connector to the sandbox's tickets, whose search is up to date."""
    sandbox.app.tickets.index.lag = timedelta(0)
    async with client_of(sandbox, Authorization="Basic c2FuZGJveA==") as client:
        yield ZendeskTickets(client)


def _ticket(reference: str) -> OpenTicket:
    return OpenTicket(reference=reference, account_id="ACC-1", subject="Set up plan pro", text="Call them.")


@pytest.mark.slow
async def test_a_ticket_keeps_its_promises(sandbox: Sandbox, connector: ZendeskTickets) -> None:
    """Opening conforms, although the system would open two tickets if asked twice."""

    def fault(kind: FaultKind, reference: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.OPEN_TICKET, kind)

        return Fault(inject, _ticket(reference), expected, outcome)

    report = await check_connector(
        connector,
        tickets.open_ticket,
        _ticket("UPG-1"),
        oracle=lambda: live(sandbox, EffectKind.OPENED),
        faults=[
            fault(FaultKind.REFUSE, "UPG-2", FailureKind.INVALID, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "UPG-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "UPG-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, "UPG-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "UPG-6", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, "UPG-7", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert {Promise.RESOLVED, Promise.UNDO_TWICE} <= set(report.kept)


async def test_the_settle_time_is_longer_than_the_search_is_behind(sandbox: Sandbox, connector: ZendeskTickets) -> None:
    """A new ticket is not found at once, and is before the look-up is believed."""
    sandbox.app.tickets.index.lag = SEARCH_LAG
    await connector.open_ticket(_ticket("UPG-1"), TOKEN)

    found = await connector.find(_ticket("UPG-1"), TOKEN)

    assert found is None
    assert tickets.TICKETS.settle > SEARCH_LAG


async def test_a_solved_ticket_that_the_search_has_open_is_not_found(
    sandbox: Sandbox, connector: ZendeskTickets
) -> None:
    """Of what the search knows only the id is taken: how the ticket stands, the ticket itself says."""
    ticket = await connector.open_ticket(_ticket("UPG-1"), TOKEN)
    before = await connector.find(_ticket("UPG-1"), TOKEN)
    sandbox.app.tickets.index.lag = SEARCH_LAG
    await connector.solve(Undo(_ticket("UPG-1"), ticket), TOKEN)

    after = await connector.find(_ticket("UPG-1"), TOKEN)

    assert (before, after) == (ticket, None)


async def test_a_ticket_that_is_gone_or_closed_needs_no_undo(sandbox: Sandbox, connector: ZendeskTickets) -> None:
    """Agents may delete or close a ticket: what the undo wanted has happened."""
    closed = await connector.open_ticket(_ticket("UPG-1"), TOKEN)
    sandbox.app.tickets.tickets[int(closed.ticket_id)]["status"] = "closed"

    await connector.solve(Undo(_ticket("UPG-1"), closed), TOKEN)
    await connector.solve(Undo(_ticket("UPG-1"), Ticket(ticket_id="999")), TOKEN)

    assert sandbox.app.tickets.tickets[int(closed.ticket_id)]["status"] == "closed"


async def test_an_undo_that_is_refused_is_not_taken_for_done(sandbox: Sandbox, connector: ZendeskTickets) -> None:
    """A 422 of an open ticket is a failure: it would stay open."""
    ticket = await connector.open_ticket(_ticket("UPG-1"), TOKEN)
    await sandbox.control.fault(Operation.UPDATE_TICKET, FaultKind.REFUSE)

    with pytest.raises(httpx.HTTPStatusError, match="422"):
        await connector.solve(Undo(_ticket("UPG-1"), ticket), TOKEN)

    assert await live(sandbox, EffectKind.OPENED) == 1
