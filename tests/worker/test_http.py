"""HTTP clients: what every request carries, and what is never done below the guard."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from kit.contract import Effect, Model, Operation, Token
from kit.ledger import MemoryLedger
from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.context import current_call
from kit.worker.guard import Guard
from kit.worker.http import CORRELATION_HEADER, http_client
from tests.worker.world import EPOCH, KEY, TIMEOUT, clock, dependency

VIRTUAL_TIME = True


class Ask(Model):
    """A request."""

    order_id: str


class Answer(Model):
    """A result."""

    status: int


ask = Operation(
    "bank.ask",
    Ask,
    Answer,
    dependency=dependency(),
    effect=Effect.IRREVERSIBLE,
    once=KEY.once,
    key="{order_id}",
    timeout=TIMEOUT,
)


class HttpBank(Connector):
    """Asks over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    @ask.action
    async def ask(self, request: Ask, token: Token) -> Answer:
        """Ask."""
        return Answer(status=(await self.client.get("/ask")).status_code)


async def _ask(client: httpx.AsyncClient) -> Answer:
    token = Token(key="o-1", correlation_id="corr-7", workflow_id="saga-1")
    attempt = Attempt(number=1, started_at=EPOCH, timeout=TIMEOUT, clock=clock)
    result = await Guard(MemoryLedger()).act(HttpBank(client), ask, Ask(order_id="o-1"), token, attempt)
    assert isinstance(result, Answer)
    return result


async def test_every_request_of_an_attempt_carries_the_correlation_id() -> None:
    """A provider's log can be joined with the workflow's."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    async with http_client("http://bank.test", transport=httpx.MockTransport(serve)) as client:
        await _ask(client)

    assert [request.headers[CORRELATION_HEADER] for request in seen] == ["corr-7"]


async def test_header_that_a_connector_sets_itself_stays() -> None:
    """A connector's own correlation header is not overwritten."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    transport = httpx.MockTransport(serve)
    async with http_client("http://bank.test", transport=transport, headers={CORRELATION_HEADER: "own"}) as client:
        await _ask(client)

    assert [request.headers[CORRELATION_HEADER] for request in seen] == ["own"]


async def test_request_outside_an_attempt_carries_nothing() -> None:
    """There is no correlation id where nobody works for a workflow, nor after the attempt."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    async with http_client("http://bank.test", transport=httpx.MockTransport(serve)) as client:
        await _ask(client)
        await client.get("/health")

    assert CORRELATION_HEADER not in seen[1].headers
    assert current_call.get() is None


async def test_redirect_is_not_followed() -> None:
    """A redirect is an answer nobody expected: following it would be a second request the guard does not know of."""
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(307, headers={"Location": "/elsewhere"})

    async with http_client("http://bank.test", transport=httpx.MockTransport(serve)) as client:
        assert (await _ask(client)).status == 307

    assert seen == ["/ask"]


async def test_failed_request_is_not_sent_again() -> None:
    """Nothing is retried below the guard."""
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        raise httpx.ReadTimeout("lost")

    async with http_client("http://bank.test", transport=httpx.MockTransport(serve)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/ask")

    assert seen == ["/ask"]


async def test_client_ends_before_the_attempt() -> None:
    """Reading, writing and waiting for the pool have one limit, connecting a shorter one."""
    async with http_client("http://bank.test", timeout=timedelta(seconds=5), connect=timedelta(seconds=1)) as client:
        assert client.timeout == httpx.Timeout(5.0, connect=1.0)
        assert str(client.base_url) == "http://bank.test"
