"""What can happen to a call on its way back, when the provider has done its work."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import httpx

Happening = Callable[[], Awaitable[None]]
"""What happens to a reply; what it raises is what the caller sees instead."""

ALWAYS: Final = 1_000_000


@dataclass
class _Line:
    match: str
    happening: Happening
    left: int


class Network(httpx.AsyncBaseTransport):
    """Carries calls over real sockets, and lets something happen between the provider's reply and the caller."""

    def __init__(self) -> None:
        # Plain HTTP: no trust store to load for each test.
        self._wire = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._lines: list[_Line] = []
        self._home = asyncio.Event()
        self.stranded = asyncio.Event()

    def after(self, match: str, happening: Happening, *, times: int = 1) -> None:
        """Let something happen to the reply of the next calls whose ``METHOD path`` ends with ``match``."""
        self._lines.append(_Line(match, happening, times))

    def times_out(self, match: str, *, times: int = 1) -> None:
        """The provider acts, and its reply takes too long."""
        self.after(match, _time_out, times=times)

    def strands(self, match: str) -> None:
        """The provider acts, and the attempt that asked is never heard of again until `bring_home`."""
        self.after(match, self._strand)

    def bring_home(self) -> None:
        """Let those who are stranded go: they come back long after they were given up."""
        self._home.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        response = await self._wire.handle_async_request(request)
        called = f"{request.method} {request.url.path}"
        line = next((line for line in self._lines if line.left > 0 and called.endswith(line.match)), None)
        if line is None:
            return response
        await response.aread()
        await response.aclose()
        line.left -= 1
        await line.happening()
        # The body was taken off the wire above, so it is handed on as bytes.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"transfer-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=response.content)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    async def _strand(self) -> None:
        self.stranded.set()
        while not self._home.is_set():
            try:
                await self._home.wait()
            except asyncio.CancelledError:
                continue  # a process that is gone does not hear either


async def _time_out() -> None:
    raise httpx.ReadTimeout("the reply took too long")
