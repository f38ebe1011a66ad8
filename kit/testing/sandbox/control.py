"""The client of the control endpoint: script faults, read the records."""

import ssl
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.records import CallRecord, EffectRecord

_EFFECTS = TypeAdapter(list[EffectRecord])
_CALLS = TypeAdapter(list[CallRecord])


class SandboxControl:
    """Controls a sandbox over HTTP, from any process; use it as an async context manager, or call `aclose`.

    Args:
        url: The sandbox's address, such as "http://127.0.0.1:8080".
        transport: How to reach it; a `SandboxTransport` for a sandbox without a socket.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # A proxy configured in the environment must not come between a test and its own machine. The empty trust
        # store saves the 40 ms it takes to load the default one, for a server that speaks plain HTTP.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx.AsyncClient(base_url=url, transport=transport, trust_env=False, verify=tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def fault(
        self,
        operation: Operation,
        fault: FaultKind,
        *,
        provider: Provider | None = None,
        match: str = "",
        status: int | None = None,
        retry_after: int | None = None,
        seconds: float | None = None,
        times: int | Literal["always"] = 1,
    ) -> None:
        """Append a fault to the script; see `Fault` for the arguments.

        The operation names its provider, so `provider` may be left out.

        Raises:
            pydantic.ValidationError: The arguments do not fit together.
        """
        scripted = Fault(
            provider=provider or operation.provider,
            operation=operation,
            fault=fault,
            match=match,
            status=status,
            retry_after=retry_after,
            seconds=seconds,
            times=times,
        )
        await self._call("POST", "/_control/faults", content=scripted.model_dump_json())

    async def clear_faults(self) -> None:
        """Drop every fault not used up: the providers are well again."""
        await self._call("DELETE", "/_control/faults")

    async def effects(self, reference: str | None = None) -> list[EffectRecord]:
        """What the providers did, oldest first; for exactly one reference when given."""
        params = {} if reference is None else {"reference": reference}
        return _EFFECTS.validate_json((await self._call("GET", "/_control/effects", params=params)).content)

    async def calls(self) -> list[CallRecord]:
        """Every call the providers received, oldest first."""
        return _CALLS.validate_json((await self._call("GET", "/_control/calls")).content)

    async def set_stock(self, sku: str, *, units: int) -> None:
        """Say how many units of a sku are free to be reserved from now on."""
        await self._call("PUT", f"/_control/stock/{quote(sku, safe='')}", json={"units": units})

    async def subscribe(
        self, subscription_id: str, *, account_id: str, price: str = "price_starter", since: datetime | None = None
    ) -> None:
        """Make a subscription whose first period is paid; see `Billing.subscribe`."""
        wanted = {"account_id": account_id, "price": price, "since": since.isoformat() if since else None}
        await self._call("PUT", f"/_control/subscriptions/{quote(subscription_id, safe='')}", json=wanted)

    async def reset(self) -> None:
        """Forget every fault, effect, call and object."""
        await self._call("DELETE", "/_control")

    async def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = await self._http.request(method, path, **arguments)
        return answer.raise_for_status()
