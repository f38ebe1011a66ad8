"""A running sandbox, and clients that speak to it over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx
import pytest

from kit.testing.sandbox import Sandbox

Authorize = Callable[..., Coroutine[Any, Any, httpx.Response]]
SendMail = Callable[..., Coroutine[Any, Any, None]]


class Gate:
    """A `sleep` that lasts until the test opens it; `entered` is set when somebody waits."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.seconds: list[float] = []
        self._open = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait for the test."""
        self.seconds.append(seconds)
        self.entered.set()
        await self._open.wait()

    def open(self) -> None:
        """Let everybody go on."""
        self._open.set()


@pytest.fixture
async def gate() -> Gate:
    """What the fault `delay` waits at."""
    return Gate()


@pytest.fixture
async def sandbox(gate: Gate) -> AsyncIterator[Sandbox]:
    """A sandbox on free ports."""
    async with Sandbox.start(sleep=gate.sleep) as sandbox:
        yield sandbox


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HTTP providers, with credentials for payments."""
    headers = {"Authorization": "Bearer sk_test_1"}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP: no trust store to load for each test
    async with httpx.AsyncClient(base_url=sandbox.url, headers=headers, trust_env=False, verify=tls) as client:
        yield client


@pytest.fixture
def authorize(http: httpx.AsyncClient) -> Authorize:
    """Authorize 1999 cents for an order, as a connector would; `key` is the idempotency key."""

    async def post(
        order: str = "ORDER-1", *, key: str | None = None, correlation: str | None = None, **changes: str
    ) -> httpx.Response:
        form = {
            "amount": "1999",
            "currency": "eur",
            "confirm": "true",
            "capture_method": "manual",
            "payment_method": "pm_card_visa",
            "metadata[order_id]": order,
            **changes,
        }
        headers = {"Idempotency-Key": key, "X-Correlation-Id": correlation}
        present = {name: value for name, value in headers.items() if value is not None}
        return await http.post("/v1/payment_intents", data=form, headers=present)

    return post


@pytest.fixture
def send_mail(sandbox: Sandbox) -> SendMail:
    """Send a receipt over a connection of its own."""

    async def send(order: str | None = "ORDER-1", *, message_id: str = "<receipt-1@shop.test>") -> None:
        message = EmailMessage()
        message["From"] = "shop@shop.test"
        message["To"] = "ada@customer.test"
        message["Subject"] = "Your receipt"
        message["Message-ID"] = message_id
        if order is not None:
            message["X-Order-Id"] = order
        message["X-Correlation-Id"] = "corr-1"
        message.set_content("Thank you.\n.\nA line with one dot must survive.")
        await aiosmtplib.send(message, hostname=sandbox.smtp_host, port=sandbox.smtp_port, start_tls=False)

    return send
