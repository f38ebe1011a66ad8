"""Stripe over HTTP (https://docs.stripe.com/api): what its connectors share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx

from kit.contract import FailureKind
from kit.errors import OperationFailure, OutcomeUnknown, Refused
from kit.worker.connector import Connector

API_VERSION: Final = "2024-06-20"
"""Sent with every request, so that the account's default cannot change what the connectors read."""


class StripeConnector(Connector):
    """The base of what speaks to Stripe.

    Args:
        http: A client for ``https://api.stripe.com`` that sends ``Authorization: Bearer <secret key>``; made
            by `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    def classify(self, error: Exception) -> OperationFailure | None:
        """Read Stripe's error body (https://docs.stripe.com/api/errors): a status alone tells too little."""
        if not isinstance(error, httpx.HTTPStatusError):
            return None
        status = error.response.status_code
        body = error_of(error)
        code = body.get("decline_code") or body.get("code")
        message = str(body.get("message") or error)
        if status == httpx.codes.CONFLICT:
            # Another request under this key, or on this object, is running: it may have the effect, and may take its
            # time. A conflict is given up after seconds; this is waited for like an outage.
            return OutcomeUnknown(FailureKind.UNAVAILABLE, message, reason=code)
        if body.get("type") == "idempotency_error":
            return Refused(FailureKind.KEY_REUSED, message, reason=code)
        if body.get("type") == "card_error" or status == httpx.codes.PAYMENT_REQUIRED:
            return Refused(FailureKind.DECLINED, message, reason=code)
        if code == "payment_intent_unexpected_state":
            return Refused(FailureKind.CONFLICT, message, reason=code)
        if status == httpx.codes.BAD_REQUEST and body:
            return Refused(FailureKind.INVALID, message, reason=code)
        return None

    async def _pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        page = await self._get(path, query)
        while True:
            for item in page["data"]:
                yield item
            if not page["has_more"]:
                return
            page = await self._get(path, {**query, "starting_after": page["data"][-1]["id"]})

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        reply = await self._http.get(path, params=query, headers={"Stripe-Version": API_VERSION})
        return reply.raise_for_status().json()

    async def _post(self, path: str, form: Mapping[str, str], *, key: str | None = None) -> Any:
        headers = {"Stripe-Version": API_VERSION} | ({} if key is None else {"Idempotency-Key": key})
        reply = await self._http.post(path, data=dict(form), headers=headers)
        return reply.raise_for_status().json()

    async def _delete(self, path: str, query: Mapping[str, str]) -> Any:
        # Without a key: Stripe takes none for a DELETE (https://docs.stripe.com/api/idempotent_requests).
        reply = await self._http.delete(path, params=dict(query), headers={"Stripe-Version": API_VERSION})
        return reply.raise_for_status().json()


def is_stored_breakdown(error: httpx.HTTPStatusError) -> bool:
    """Whether Stripe repeats, under a key, that it broke down the first time (500s are stored, too).

    It will say so as long as it remembers the key, whatever became of the first request: asking again is no use,
    looking is (https://docs.stripe.com/api/idempotent_requests, https://docs.stripe.com/error-low-level#idempotency).
    """
    return error.response.is_server_error and error.response.headers.get("Idempotent-Replayed") == "true"


def error_of(error: httpx.HTTPStatusError) -> dict[str, Any]:
    """The ``error`` object of Stripe's reply; empty when something else answered, such as a proxy."""
    try:
        body = error.response.json()
    except ValueError:
        return {}
    found = body.get("error") if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}
