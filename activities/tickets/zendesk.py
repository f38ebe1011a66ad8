"""Tickets by Zendesk's wire format (https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/).

What Zendesk has beyond it, an idempotency header and a list by external id, is not used: this connector is for the many
systems of its kind that have neither.
"""

from __future__ import annotations

import httpx

from activities.tickets import contract as tickets
from activities.tickets.contract import OpenTicket, Ticket
from kit.contract import Token, Undo
from kit.worker.connector import Connector

_DONE = frozenset({"solved", "closed"})


class ZendeskTickets(Connector):
    """Opens and closes tickets.

    Every ticket carries the reference of what it is about as its external id, by which the search finds it.

    Args:
        http: A client for ``https://<subdomain>.zendesk.com`` that sends basic authentication; made by
            `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @tickets.open_ticket.action
    async def open_ticket(self, request: OpenTicket, token: Token) -> Ticket:
        """Open the ticket."""
        ticket = {
            "subject": request.subject,
            "comment": {"body": request.text, "public": False},
            "external_id": request.reference,
            "tags": [f"account_{request.account_id}"],
        }
        reply = await self._http.post("/api/v2/tickets", json={"ticket": ticket})
        return Ticket(ticket_id=str(reply.raise_for_status().json()["ticket"]["id"]))

    @tickets.open_ticket.compensation
    async def solve(self, undo: Undo[OpenTicket, Ticket], token: Token) -> None:
        """Mark the ticket as solved; one that somebody has deleted needs no more."""
        path = f"/api/v2/tickets/{undo.result.ticket_id}"
        reply = await self._http.put(path, json={"ticket": {"status": "solved"}})
        if reply.status_code == httpx.codes.NOT_FOUND:
            return
        if reply.status_code == httpx.codes.UNPROCESSABLE_ENTITY and await self._status(path) in _DONE:
            return  # a closed ticket takes no change, and needs none
        reply.raise_for_status()

    @tickets.open_ticket.probe
    async def find(self, request: OpenTicket, token: Token) -> Ticket | None:
        """The ticket of the reference, if it is open."""
        quoted = request.reference.replace("\\", "\\\\").replace('"', '\\"')
        reply = await self._http.get("/api/v2/search", params={"query": f'type:ticket external_id:"{quoted}"'})
        for found in reply.raise_for_status().json()["results"]:
            # What the search knows of a ticket lags behind, too; its id is all that is taken from it.
            if await self._status(f"/api/v2/tickets/{found['id']}") not in (None, *_DONE):
                return Ticket(ticket_id=str(found["id"]))
        return None

    async def _status(self, path: str) -> str | None:
        """How a ticket stands; ``None`` when it is gone."""
        reply = await self._http.get(path)
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(reply.raise_for_status().json()["ticket"]["status"])
