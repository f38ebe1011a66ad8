"""The sandbox every connector test talks to, on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from kit.testing.sandbox import EffectKind, Sandbox
from kit.worker.http import http_client

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Plain HTTP: no trust store to load for each test."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Providers that fail on command."""
    async with Sandbox.start() as running:
        yield running


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client made as a worker makes it, with the sandbox's credentials."""
    async with client_of(sandbox, Authorization="Bearer sk_test_sandbox") as client:
        yield client


@pytest.fixture
async def refused_http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a port where nobody listens."""
    async with http_client("http://127.0.0.1:9", trust_env=False, verify=NO_TLS) as client:
        yield client


def client_of(sandbox: Sandbox, **headers: str) -> httpx.AsyncClient:
    """A client made as a worker makes it."""
    options: dict[str, Any] = {"headers": headers, "trust_env": False, "verify": NO_TLS}
    return http_client(sandbox.url, timeout=timedelta(seconds=2), **options)


async def live(sandbox: Sandbox, *kinds: EffectKind) -> int:
    """How many effects of these kinds stand, by the providers' own record."""
    return sum(effect.live and effect.kind in kinds for effect in await sandbox.control.effects())
