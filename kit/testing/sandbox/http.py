"""Between Starlette and the providers: who called, and how a reply is written."""

import json
from collections.abc import Mapping

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from kit.testing.sandbox.exchange import Reply
from kit.testing.sandbox.records import Caller

CORRELATION_HEADER = "X-Correlation-Id"


def caller_of(http: HttpRequest) -> Caller:
    """Who called, from the headers."""
    return Caller(http.headers.get(CORRELATION_HEADER), http.headers.get("Idempotency-Key"))


def response(reply: Reply, *, headers: Mapping[str, str] | None = None) -> Response:
    """The reply as an HTTP response; no body at all when there is nothing to say."""
    combined = {**(headers or {}), **reply.headers}
    if reply.body is None:
        return Response(status_code=reply.status, headers=combined)
    content = json.dumps(reply.body, separators=(",", ":")).encode()
    return Response(content, status_code=reply.status, headers=combined, media_type="application/json")
