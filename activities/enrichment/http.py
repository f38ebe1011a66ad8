"""Enrichment by the service's HTTP interface."""

from __future__ import annotations

import httpx

from activities.enrichment import contract as enrichment
from activities.enrichment.contract import Enrichment, LookUp
from kit.contract import Token
from kit.worker.connector import Connector


class HttpEnrichment(Connector):
    """Looks companies up.

    Args:
        http: A client for the service; made by `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @enrichment.look_up.action
    async def look_up(self, request: LookUp, token: Token) -> Enrichment:
        """What is known of the domain; a domain that nobody knows is an answer, too."""
        reply = await self._http.get("/v1/enrichment/companies", params={"domain": request.domain})
        if reply.status_code == httpx.codes.NOT_FOUND:
            return Enrichment(domain=request.domain)
        found = reply.raise_for_status().json()
        return Enrichment(
            domain=request.domain,
            name=found.get("name"),
            industry=found.get("industry"),
            employees=found.get("employees"),
        )
