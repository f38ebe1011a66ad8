"""The sandbox on real sockets: HTTP by uvicorn, SMTP by aiosmtpd, in the event loop that is running."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from kit.testing.sandbox.app import WEBHOOK_SECRET, SandboxApp
from kit.testing.sandbox.control import SandboxControl
from kit.testing.sandbox.exchange import ConnectionDropped, Sleep
from kit.testing.sandbox.records import utc_now
from kit.testing.sandbox.smtp import SmtpProtocol
from kit.testing.sandbox.webhooks import FULFILMENT_PATH

KEEP_ALIVE: Final = 75
"""Seconds an idle connection stays open, as at nginx. Clients give theirs up after 5 (httpx) and more: were it as few
here, a connection would now and then be closed in the very moment in which a request is sent on it."""


class DroppingProtocol(H11Protocol):
    """One HTTP connection that really closes when a provider drops it.

    ASGI has no way to say so, and uvicorn answers an exception with a 500. The application is wrapped per
    connection, because only the connection knows its transport: the transport is closed, and once uvicorn has
    noticed the loss it accepts that no response was started.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._wrapped: Any = self.app
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._wrapped(scope, receive, send)
        except ClientDisconnect:  # the caller died before it had said what it wanted
            return
        except (ConnectionDropped, asyncio.CancelledError):  # cancelled: the sandbox stops during a delay
            self.transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is running.

    Attributes:
        url: The base URL of every HTTP provider; payments are below /v1, stock below /stock, the CRM
            below /crm, tickets below /api.
        webhook_url: Where the fulfilment webhook is received.
        control: Scripts faults and reads the records, over HTTP like everybody else.
        app: The providers themselves, for tests that live in the same process.
    """

    url: str
    webhook_url: str
    webhook_secret: str
    smtp_host: str
    smtp_port: int
    control: SandboxControl
    app: SandboxApp

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        smtp_port: int = 0,
        webhook_secret: str = WEBHOOK_SECRET,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], datetime] = utc_now,
    ) -> "AsyncIterator[Sandbox]":
        """Run the providers in the current event loop until the block is left; port 0 takes a free one.

        `sleep` is what the fault `delay` waits with, `now` the clock of the providers. No signal handler is
        installed. Leaving the block cuts open connections and calls being served.

        Raises:
            OSError: A port is taken.
        """
        app = SandboxApp(webhook_secret=webhook_secret, sleep=sleep, now=now)
        async with AsyncExitStack() as stack:
            http_port = await stack.enter_async_context(http_server(app, host=host, port=port))
            mail_port = await stack.enter_async_context(_smtp_server(app, host, smtp_port))
            url = f"http://{host}:{http_port}"
            control = await stack.enter_async_context(SandboxControl(url))
            yield cls(
                url=url,
                webhook_url=f"{url}{FULFILMENT_PATH}",
                webhook_secret=webhook_secret,
                smtp_host=host,
                smtp_port=mail_port,
                control=control,
                app=app,
            )


@asynccontextmanager
async def http_server(app: ASGIApp, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve an ASGI application on a socket, until the block is left; yields the port, a free one for 0."""
    # Not uvicorn.Server: it takes over signals, and polls ten times a second to learn that it should stop.
    config = Config(
        app,
        http=DroppingProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    state = ServerState()

    def protocol() -> DroppingProtocol:
        return DroppingProtocol(config, state, {}, asyncio.get_running_loop())

    async with _listen(protocol, host, port) as bound:
        try:
            yield bound
        finally:
            serving = list(state.tasks)
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            for connection in list(state.connections):
                connection.transport.abort()


@asynccontextmanager
async def _smtp_server(app: SandboxApp, host: str, port: int) -> AsyncIterator[int]:
    connections: set[SmtpProtocol] = set()
    async with _listen(lambda: SmtpProtocol(app.mailbox, connections), host, port) as bound:
        try:
            yield bound
        finally:
            for connection in list(connections):
                connection.abort()


@asynccontextmanager
async def _listen(protocol: Callable[[], asyncio.Protocol], host: str, port: int) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, host, port, family=socket.AF_INET)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
