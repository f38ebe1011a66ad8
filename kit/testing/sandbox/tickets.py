"""A ticket system, shaped like Zendesk's tickets (https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/).

Without Zendesk's idempotency header and its list by external id, as many systems of its kind are: every POST opens
another ticket, and a ticket is found again by search only, which takes its time to know of it.

    POST /api/v2/tickets       {ticket: {subject, comment: {body}, external_id}} -> 201
    GET  /api/v2/tickets/{id}  200; 404
    PUT  /api/v2/tickets/{id}  {ticket: {status}} -> 200; 404
    GET  /api/v2/search        ?query=type:ticket external_id:"UPGRADE-1" -> what the index knows

The reference of every effect is the ticket's `external_id`, or its id when it has none.
"""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.index import SearchIndex
from kit.testing.sandbox.records import Caller, EffectKind

OPEN: Final = frozenset({"new", "open", "pending", "hold"})
DONE: Final = frozenset({"solved", "closed"})
"""What a ticket's status can be."""

SEARCH_LAG: Final = timedelta(seconds=60)
"""How far the search is behind. Zendesk speaks of a few minutes."""

_QUERY: Final = re.compile(r'type:ticket external_id:"(?P<external_id>[^"]+)"')


class Tickets:
    """The ticket system: its tickets, and its endpoints."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.tickets: dict[int, dict[str, Any]] = {}
        self.index = SearchIndex(exchange.journal.now, lag=SEARCH_LAG)
        self._ids = count(1)  # never restarted, see `Payments`

    def clear(self) -> None:
        """Forget every ticket."""
        self.tickets.clear()
        self.index.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (self.tickets, self.index.state(), repr(self._ids))

    def routes(self) -> list[Route]:
        """The provider's endpoints."""
        return [
            Route("/api/v2/tickets", self._post, methods=["POST"]),
            Route("/api/v2/tickets/{id:int}", self._get, methods=["GET"]),
            Route("/api/v2/tickets/{id:int}", self._put, methods=["PUT"]),
            Route("/api/v2/search", self._search, methods=["GET"]),
        ]

    async def _post(self, http: HttpRequest) -> Response:
        ticket = _ticket(await http.body())
        request = _request(http, Operation.OPEN_TICKET, str(ticket.get("external_id") or ""))
        if not ticket.get("subject"):
            return self._refuse(request, 422, "RecordInvalid", "subject: cannot be blank")
        return await self._serve(http, request, lambda: self._open(ticket, request.caller))

    async def _get(self, http: HttpRequest) -> Response:
        number = http.path_params["id"]

        def execute() -> Reply:
            found = self.tickets.get(number)
            return _not_found() if found is None else Reply(200, {"ticket": found})

        return await self._serve(http, _request(http, Operation.READ_TICKET, self._reference(number)), execute)

    async def _put(self, http: HttpRequest) -> Response:
        number, wanted = http.path_params["id"], _ticket(await http.body())
        request = _request(http, Operation.UPDATE_TICKET, self._reference(number))
        if wanted.get("status") not in OPEN | DONE:
            return self._refuse(request, 422, "RecordInvalid", f"status: {wanted.get('status')!r} is none")
        return await self._serve(http, request, lambda: self._update(number, wanted["status"], request.caller))

    async def _search(self, http: HttpRequest) -> Response:
        asked = _QUERY.fullmatch(http.query_params.get("query", ""))
        request = _request(http, Operation.SEARCH_TICKETS, asked["external_id"] if asked else "")
        if asked is None:
            return self._refuse(request, 422, "invalid", 'expected the query: type:ticket external_id:"..."')

        def execute() -> Reply:
            found = self.index.find(lambda ticket: ticket["external_id"] == asked["external_id"])
            return Reply(200, {"results": found, "count": len(found), "next_page": None})

        return await self._serve(http, request, execute)

    async def _serve(self, http: HttpRequest, request: Request, execute: Callable[[], Reply]) -> Response:
        if not http.headers.get("authorization", "").startswith("Basic "):
            return self._refuse(request, 401, "Couldn't authenticate you", "expected basic authentication")
        reply = await self.exchange.serve(Provider.TICKETS, request, execute=execute, fault_reply=_fault_reply)
        return response(reply)

    def _refuse(self, request: Request, status: int, error: str, description: str) -> Response:
        reply = Reply(status, {"error": error, "description": description})
        return response(self.exchange.answer(Provider.TICKETS, request, reply))

    def _open(self, wanted: dict[str, Any], caller: Caller) -> Reply:
        ticket = {
            "id": next(self._ids),
            "external_id": wanted.get("external_id"),
            "subject": wanted["subject"],
            "description": str((wanted.get("comment") or {}).get("body", "")),
            "status": "new",
        }
        self.tickets[ticket["id"]] = ticket
        self.index.put(str(ticket["id"]), ticket)
        self._did(EffectKind.OPENED, ticket, caller, live=True)
        return Reply(201, {"ticket": ticket})

    def _update(self, number: int, status: str, caller: Caller) -> Reply:
        found = self.tickets.get(number)
        if found is None:
            return _not_found()
        if found["status"] == "closed":
            return Reply(422, {"error": "RecordInvalid", "description": "status: closed prevents ticket update"})
        was_open, found["status"] = found["status"] in OPEN, status
        if was_open and status in DONE:
            self.exchange.journal.ended(Provider.TICKETS, EffectKind.OPENED, str(number))
            self._did(EffectKind.CLOSED, found, caller, live=False)
        self.index.put(str(number), found)
        return Reply(200, {"ticket": found})

    def _did(self, kind: EffectKind, ticket: dict[str, Any], caller: Caller, *, live: bool) -> None:
        self.exchange.journal.did(
            Provider.TICKETS,
            kind,
            reference=self._reference(ticket["id"]),
            object_id=str(ticket["id"]),
            caller=caller,
            live=live,
            details={"subject": ticket["subject"]},
        )

    def _reference(self, number: int) -> str:
        found = self.tickets.get(number)
        return str((found or {}).get("external_id") or number)


def _ticket(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    ticket = document.get("ticket") if isinstance(document, dict) else None
    return ticket if isinstance(ticket, dict) else {}


def _request(http: HttpRequest, operation: Operation, reference: str) -> Request:
    return Request(operation, http.method, http.url.path, reference, caller_of(http))


def _not_found() -> Reply:
    return Reply(404, {"error": "RecordNotFound", "description": "Not found"})


def _fault_reply(fault: Fault, request: Request) -> Reply:
    usual, error = {
        FaultKind.RATE_LIMIT: (429, "APIRateLimitExceeded"),
        FaultKind.UNAVAILABLE: (503, "ServiceUnavailable"),
        FaultKind.REFUSE: (422, "RecordInvalid"),
    }.get(fault.fault, (500, "InternalError"))
    return Reply(fault.status or usual, {"error": error}, fault.retry_after_header())
