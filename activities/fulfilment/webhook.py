"""Fulfilment by a signed webhook (https://www.standardwebhooks.com)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook

from activities.fulfilment.contract import Accepted, RequestShipment, request_shipment
from kit.contract import Token
from kit.worker.connector import Connector


class WebhookFulfilment(Connector):
    """Asks a partner to ship, who recognises a repeated request by its ``webhook-id``.

    Args:
        http: A client for the partner; made by `kit.worker.http_client`.
        url: Where the partner receives webhooks; a path below the client's address, or an address.
        secret: The secret shared with the partner, as ``whsec_<base64>``.
    """

    def __init__(self, http: httpx.AsyncClient, *, url: str, secret: str) -> None:
        self._http = http
        self._url = url
        self._webhook = Webhook(secret)

    @request_shipment.action
    async def request_shipment(self, request: RequestShipment, token: Token) -> Accepted:
        """Deliver the event; a 2xx says that the partner has taken it."""
        # The same bytes on every attempt; only the time of sending and the signature over it are new.
        body = json.dumps({"type": "shipment.requested", "data": request.model_dump(mode="json")})
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": token.key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(token.key, now, body),
        }
        reply = await self._http.post(self._url, content=body, headers=headers)
        reply.raise_for_status()
        return Accepted(webhook_id=token.key)
