"""The receiver of the fulfilment webhook, as the Standard Webhooks specification asks a receiver to behave.

It verifies the signature and the timestamp (five minutes of tolerance, by the wall clock), and drops a
delivery whose `webhook-id` it has seen, acknowledging it all the same: https://www.standardwebhooks.com.

    POST /webhooks/fulfilment   {"type": .., "data": {"order_id": ..}} -> 200; 400 bad signature

The reference of the effect is `data.order_id`, else `data.reference`, else the `webhook-id`.
"""

import json
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.records import Caller, CallNote, EffectKind

FULFILMENT_PATH = "/webhooks/fulfilment"


class Webhooks:
    """The webhook receiver: the ids it has seen, and its endpoint."""

    def __init__(self, exchange: Exchange, *, secret: str) -> None:
        self.exchange = exchange
        self._verifier = Webhook(secret)
        self._seen: set[str] = set()

    def clear(self) -> None:
        """Forget every delivery."""
        self._seen.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return tuple(sorted(self._seen))

    def routes(self) -> list[Route]:
        """The provider's endpoint."""
        return [Route(FULFILMENT_PATH, self._post, methods=["POST"])]

    async def _post(self, http: HttpRequest) -> Response:
        body = await http.body()
        webhook_id = http.headers.get("webhook-id", "")
        caller = caller_of(http)._replace(idempotency_key=webhook_id or None)
        event = _event(body)
        request = Request(Operation.DELIVER, http.method, http.url.path, _reference(event, webhook_id), caller)
        try:
            self._verifier.verify(body, dict(http.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            reply = Reply(400, {"error": "invalid_signature", "message": str(error)})
            return response(self.exchange.answer(Provider.WEBHOOKS, request, reply))
        if event is None:
            reply = Reply(422, {"error": "invalid", "message": "expected a JSON object with `type` and `data`"})
            return response(self.exchange.answer(Provider.WEBHOOKS, request, reply))

        def execute() -> Reply:
            return self._deliver(event, request.reference, webhook_id, caller)

        return response(
            await self.exchange.serve(Provider.WEBHOOKS, request, execute=execute, fault_reply=_fault_reply)
        )

    def _deliver(self, event: dict[str, Any], reference: str, webhook_id: str, caller: Caller) -> Reply:
        if webhook_id in self._seen:
            return Reply(200, {"status": "duplicate"}, note=CallNote.DUPLICATE)
        self._seen.add(webhook_id)
        self.exchange.journal.did(
            Provider.WEBHOOKS,
            EffectKind.DELIVERED,
            reference=reference,
            object_id=webhook_id,
            caller=caller,
            details={"event_type": str(event["type"])},
        )
        return Reply(200, {"status": "accepted"})


def _event(body: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(body)
    except ValueError:
        return None
    known = isinstance(event, dict) and isinstance(event.get("type"), str) and isinstance(event.get("data"), dict)
    return event if known else None


def _reference(event: dict[str, Any] | None, webhook_id: str) -> str:
    data = event["data"] if event else {}
    return str(data.get("order_id") or data.get("reference") or webhook_id)


def _fault_reply(fault: Fault, request: Request) -> Reply:
    usual, error = {
        FaultKind.RATE_LIMIT: (429, "rate_limited"),
        FaultKind.UNAVAILABLE: (503, "unavailable"),
        FaultKind.REFUSE: (422, "refused"),
    }.get(fault.fault, (500, "internal"))
    return Reply(fault.status or usual, {"error": error}, fault.retry_after_header())
