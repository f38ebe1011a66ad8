"""What may be asked of the ticket system."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from activities.payments.contract import Id
from kit.contract import Dependency, Effect, Model, Once, Operation

TICKETS: Final = Dependency(
    name="tickets",
    owner="customer-care-team",
    # A ticket is found by search only, and the search takes up to a minute to know of a new one. On top of it comes how
    # late a request may still be taken into effect.
    settle=timedelta(seconds=90),
    runbook="docs/explanation/failure-model.md#tickets",
)


class OpenTicket(Model):
    """Ask people to do something.

    Attributes:
        reference: The business id of what it is about: an upgrade, a cancellation. One ticket each.
        account_id: Whose.
        subject: What is to be done, in a line.
        text: What whoever does it must know.
    """

    reference: Id
    account_id: Id
    subject: Annotated[str, Field(min_length=1, max_length=200)]
    text: str = ""


class Ticket(Model):
    """A ticket that is open."""

    ticket_id: Id


open_ticket = Operation(
    "tickets.open",
    OpenTicket,
    Ticket,
    dependency=TICKETS,
    effect=Effect.COMPENSATABLE,
    # The system would open a second ticket for a second request, but finds one by the reference it was opened with.
    once=Once.by_probe(),
    key="ticket:{reference}",
    timeout=timedelta(seconds=10),
    summary="Open a ticket for {reference}: {subject}",
)
"""Open a ticket. Its undo closes it."""
