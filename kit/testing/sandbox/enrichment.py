"""An enrichment service: what is publicly known about a company. It is only read, and is down now and then.

GET /v1/enrichment/companies?domain=acme.example  200 {domain, name, industry, employees}; 404 when nobody knows it
"""

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import caller_of, response

KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "acme.example": {"name": "Acme Ltd", "industry": "manufacturing", "employees": 250},
    "globex.example": {"name": "Globex", "industry": "energy", "employees": 12_000},
}
"""What the service knows when nobody has told it anything."""


class Enrichments:
    """The enrichment service: what it knows, and its endpoint."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.companies: dict[str, Mapping[str, Any]] = dict(KNOWN)

    def clear(self) -> None:
        """Know again what it knew at the beginning."""
        self.companies = dict(KNOWN)

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (self.companies,)

    def routes(self) -> list[Route]:
        """The provider's endpoint."""
        return [Route("/v1/enrichment/companies", self._get, methods=["GET"])]

    async def _get(self, http: HttpRequest) -> Response:
        domain = http.query_params.get("domain", "")
        request = Request(Operation.ENRICH, http.method, http.url.path, domain, caller_of(http))

        def execute() -> Reply:
            found = self.companies.get(domain)
            return Reply(404, {"error": "not_found"}) if found is None else Reply(200, {"domain": domain, **found})

        reply = await self.exchange.serve(Provider.ENRICHMENT, request, execute=execute, fault_reply=_fault_reply)
        return response(reply)


def _fault_reply(fault: Fault, request: Request) -> Reply:
    usual, error = {
        FaultKind.RATE_LIMIT: (429, "rate_limited"),
        FaultKind.UNAVAILABLE: (503, "unavailable"),
        FaultKind.REFUSE: (403, "forbidden"),
    }.get(fault.fault, (500, "internal"))
    return Reply(fault.status or usual, {"error": error}, fault.retry_after_header())
