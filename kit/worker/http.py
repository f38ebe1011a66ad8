"""The one place where HTTP clients are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import httpx

from kit.worker.context import current_call

CORRELATION_HEADER: Final = "X-Correlation-Id"
"""The header that carries the correlation id to every provider."""


def http_client(
    base_url: str,
    *,
    timeout: timedelta = timedelta(seconds=8),
    connect: timedelta = timedelta(seconds=2),
    **options: Any,
) -> httpx.AsyncClient:
    """An HTTP client whose requests carry the correlation id of the attempt that sends them.

    Redirects are not followed and nothing is retried below the guard: a retry the guard does not know of is a second
    effect it cannot count.

    Args:
        base_url: The provider's address.
        timeout: For reading, writing and a place in the pool. Must end before the operation's own timeout, so that
            the guard hears of it; the guard cuts the attempt off in any case.
        connect: For connecting.
        **options: Passed to `httpx.AsyncClient`, e.g. ``auth``, ``headers`` or ``transport``.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(timeout.total_seconds(), connect=connect.total_seconds()),
        follow_redirects=False,
        event_hooks={"request": [_correlate]},
        **options,
    )


async def _correlate(request: httpx.Request) -> None:
    call = current_call.get()
    if call is not None:
        request.headers.setdefault(CORRELATION_HEADER, call.token.correlation_id)
