"""The providers of one sandbox and the control endpoint, as one ASGI application.

It is a bare router on purpose: Starlette's application would answer a dropped connection with a 500.

    POST   /_control/faults              append a fault to the script
    GET    /_control/faults              the faults not used up
    DELETE /_control/faults              clear the script
    GET    /_control/effects?reference=  the record of effects
    GET    /_control/calls               the record of calls
    PUT    /_control/stock/{sku}         {"units": n}
    PUT    /_control/subscriptions/{id}  {"account_id": "...", "price": "price_pro"}; the period began now, or "since"
    DELETE /_control                     forget everything
"""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from kit.testing.sandbox.billing import Billing
from kit.testing.sandbox.billing_routes import BillingRoutes
from kit.testing.sandbox.crm import Crm
from kit.testing.sandbox.crm_routes import CrmRoutes
from kit.testing.sandbox.enrichment import Enrichments
from kit.testing.sandbox.entitlements import Entitlements
from kit.testing.sandbox.exchange import ConnectionDropped, Exchange, Reply, Sleep
from kit.testing.sandbox.faults import Fault
from kit.testing.sandbox.http import response
from kit.testing.sandbox.payment_routes import PaymentRoutes
from kit.testing.sandbox.payments import Payments
from kit.testing.sandbox.records import CallRecord, EffectRecord, Journal, utc_now
from kit.testing.sandbox.smtp import Mailbox
from kit.testing.sandbox.stock import Stock
from kit.testing.sandbox.tickets import Tickets
from kit.testing.sandbox.webhooks import Webhooks

# "sandbox-sandbox-sandbox!" in base64, as Standard Webhooks writes secrets. It protects nothing.
WEBHOOK_SECRET = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3gh"  # noqa: S105 - a published test secret

_EFFECTS = TypeAdapter(tuple[EffectRecord, ...])
_CALLS = TypeAdapter(tuple[CallRecord, ...])
_FAULTS = TypeAdapter(tuple[Fault, ...])


class StockLevel(BaseModel):
    """How many units of a sku are free."""

    model_config = ConfigDict(extra="forbid")

    units: NonNegativeInt


class Subscribed(BaseModel):
    """A subscription that a customer has taken out."""

    model_config = ConfigDict(extra="forbid")

    account_id: str = Field(min_length=1)
    price: str = "price_starter"
    currency: str = "usd"
    since: AwareDatetime | None = None


_INSTANTS: Final = re.compile(r"(?:created|canceled_at|ended_at)(?:=|': )\d+")
"""When something was made or ended, as its object and its document say it."""


class _Provider(Protocol):
    """A provider that remembers."""

    def clear(self) -> None:
        """Forget everything."""

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""


class SandboxApp:
    """All providers of one sandbox, sharing one script of faults and one journal; an ASGI application.

    Args:
        now: The clock of the records.
        sleep: What `delay` waits with.
        webhook_secret: The Standard Webhooks secret senders sign with.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Sleep = asyncio.sleep,
        webhook_secret: str = WEBHOOK_SECRET,
    ) -> None:
        self.webhook_secret = webhook_secret
        self.exchange = Exchange(journal=Journal(now=now), sleep=sleep)
        self.payments = Payments(self.exchange)
        self.billing = Billing(self.exchange, self.payments)
        self.stock = Stock(self.exchange)
        self.webhooks = Webhooks(self.exchange, secret=webhook_secret)
        self.mailbox = Mailbox(self.exchange)
        self.crm = Crm(self.exchange)
        self.tickets = Tickets(self.exchange)
        self.entitlements = Entitlements(self.exchange)
        self.enrichment = Enrichments(self.exchange)
        self._providers: tuple[_Provider, ...] = (
            self.payments,
            self.billing,
            self.stock,
            self.webhooks,
            self.crm,
            self.tickets,
            self.entitlements,
            self.enrichment,
        )
        self._router = Router(
            [
                *PaymentRoutes(self.payments).routes(),
                *BillingRoutes(self.billing).routes(),
                *self.stock.routes(),
                *self.webhooks.routes(),
                *CrmRoutes(self.crm).routes(),
                *self.tickets.routes(),
                *self.entitlements.routes(),
                *self.enrichment.routes(),
                *self._control_routes(),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            ConnectionDropped: The caller gets no reply; whoever carries the request closes the connection.
        """
        await self._router(scope, receive, send)

    def clear(self) -> None:
        """Forget every fault, effect, call and object."""
        self.exchange.script.clear()
        self.exchange.journal.clear()
        for provider in self._providers:
            provider.clear()

    def state(self) -> bytes:
        """All that later answers and the record of effects depend on: equal states answer equally.

        Not the record of calls, and not when something was made or written down: only a search since an instant would
        tell the difference.
        """
        effects = [effect.model_dump(exclude={"at"}) for effect in self.exchange.journal.effects()]
        script = [fault.model_dump() for fault in self.exchange.script.pending()]
        told = repr(([provider.state() for provider in self._providers], effects, script))
        return _INSTANTS.sub("", told).encode()

    def _control_routes(self) -> list[Route]:
        return [
            Route("/_control", self._reset, methods=["DELETE"]),
            Route("/_control/faults", self._add_fault, methods=["POST"]),
            Route("/_control/faults", self._list_faults, methods=["GET"]),
            Route("/_control/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_control/effects", self._effects, methods=["GET"]),
            Route("/_control/calls", self._calls, methods=["GET"]),
            Route("/_control/stock/{sku:path}", self._set_stock, methods=["PUT"]),
            Route("/_control/subscriptions/{id}", self._subscribe, methods=["PUT"]),
        ]

    async def _reset(self, _: HttpRequest) -> Response:
        self.clear()
        return Response(status_code=204)

    async def _add_fault(self, http: HttpRequest) -> Response:
        try:
            fault = Fault.model_validate_json(await http.body())
        except ValidationError as error:
            return _invalid(error)
        self.exchange.script.add(fault)
        return response(Reply(201, fault.model_dump(mode="json")))

    async def _list_faults(self, _: HttpRequest) -> Response:
        return response(Reply(200, _FAULTS.dump_python(self.exchange.script.pending(), mode="json")))

    async def _clear_faults(self, _: HttpRequest) -> Response:
        self.exchange.script.clear()
        return Response(status_code=204)

    async def _effects(self, http: HttpRequest) -> Response:
        effects = self.exchange.journal.effects(http.query_params.get("reference"))
        return response(Reply(200, _EFFECTS.dump_python(effects, mode="json")))

    async def _calls(self, _: HttpRequest) -> Response:
        return response(Reply(200, _CALLS.dump_python(self.exchange.journal.calls(), mode="json")))

    async def _set_stock(self, http: HttpRequest) -> Response:
        try:
            level = StockLevel.model_validate_json(await http.body())
        except ValidationError as error:
            return _invalid(error)
        self.stock.set_level(http.path_params["sku"], level.units)
        return Response(status_code=204)

    async def _subscribe(self, http: HttpRequest) -> Response:
        try:
            wanted = Subscribed.model_validate_json(await http.body())
        except ValidationError as error:
            return _invalid(error)
        try:
            made = self.billing.subscribe(http.path_params["id"], **wanted.model_dump())
        except ValueError as error:
            return response(Reply(422, {"error": "invalid", "details": str(error)}))
        return response(Reply(201, made.wire()))


class SandboxTransport(httpx.AsyncBaseTransport):
    """Reaches a `SandboxApp` without a socket; a dropped connection is what httpx raises for one.

    Raises:
        httpx.ReadError: The provider went away without a reply.
    """

    def __init__(self, app: SandboxApp) -> None:
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionDropped as dropped:
            raise httpx.ReadError(f"the connection was dropped {dropped}", request=request) from dropped


def _invalid(error: ValidationError) -> Response:
    details = error.errors(include_url=False, include_context=False)
    return response(Reply(422, {"error": "invalid", "details": details}))
