"""The wire of an HTTP client: an httpx transport over an ASGI application in this process.

It speaks ASGI itself: what httpx brings for it costs more than the whole application, and waits with an event of its
own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, ClassVar, Final

import httpx

from kit.errors import Outcome
from kit.testing.faults import FaultKind
from kit.testing.wire.answers import ON_EVERY_WIRE, Answers
from kit.testing.wire.carrying import Carrier
from kit.worker import Call, current_call

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
"""An ASGI application."""

Refusal = Callable[[Call, httpx.Request], httpx.Response]
"""How a system says no, for good, to a request."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

_OUTCOMES: Final = {2: Outcome.DONE, 4: Outcome.REFUSED}


def plain_refusal(call: Call, request: httpx.Request) -> httpx.Response:
    """422: it was understood and is not wanted."""
    return httpx.Response(422, json={"error": "refused"}, request=request)


class HttpAnswers(Answers[httpx.Response]):
    """What an HTTP client sees."""

    offers: ClassVar[frozenset[FaultKind]] = ON_EVERY_WIRE | {
        FaultKind.REFUSED,
        FaultKind.RATE_LIMITED,
        FaultKind.SERVER_ERROR,
    }

    def __init__(self, request: httpx.Request, refusal: Refusal) -> None:
        self._request = request
        self._refusal = refusal
        self.what = f"{request.method} {request.url.path}"
        self.safe = request.method in _SAFE

    def unreachable(self) -> BaseException:
        """See base class."""
        return httpx.ConnectError("nobody answers the connection", request=self._request)

    def lost(self) -> BaseException:
        """See base class."""
        return httpx.ReadError("the connection was closed before the reply", request=self._request)

    def refused(self) -> httpx.Response:
        """See base class."""
        call = current_call.get()
        if call is None:
            raise AssertionError("a request of no call was refused")
        return self._refusal(call, self._request)

    def rate_limited(self) -> httpx.Response:
        """See base class."""
        headers = {"Retry-After": "1"}
        return httpx.Response(429, json={"error": "rate_limited"}, headers=headers, request=self._request)

    def server_error(self) -> httpx.Response:
        """See base class."""
        return httpx.Response(502, text="<html>Bad Gateway</html>", request=self._request)

    def told(self, reply: httpx.Response) -> tuple[str, Outcome]:
        """See base class."""
        return str(reply.status_code), _OUTCOMES.get(reply.status_code // 100, Outcome.UNKNOWN)


class WireTransport(httpx.AsyncBaseTransport):
    """Carries an HTTP client's requests to one system of the world."""

    def __init__(
        self,
        carrier: Carrier,
        app: App,
        *,
        system: str,
        refused: Refusal = plain_refusal,
        late: timedelta | None = None,
    ) -> None:
        self._carrier = carrier
        self._app = app
        self._system = system
        self._refused = refused
        self._late = late

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        body = await request.aread()

        async def send() -> httpx.Response:
            return await ask(self._app, request, body)

        answers = HttpAnswers(request, self._refused)
        return await self._carrier.carry(send, system=self._system, answers=answers, late=self._late)


async def ask(app: App, request: httpx.Request, body: bytes) -> httpx.Response:
    """Ask an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html).

    Whatever the application raises comes out: it is a defect of the world, and no reply.
    """
    url = request.url
    path, _, query = url.raw_path.partition(b"?")
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (url.host, url.port),
        "client": ("127.0.0.1", 1),
    }
    status, headers, parts = 500, [], []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return httpx.Response(status, headers=headers, content=b"".join(parts), request=request)
