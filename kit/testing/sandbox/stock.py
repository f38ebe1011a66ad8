"""Stock: a provider without idempotency keys.

Every POST makes another reservation, as many providers in the world do. What it offers instead is a look-up
by the caller's reference, so that a caller who does not know whether a POST arrived can find out before
repeating it.

    POST   /stock/reservations               {reference, sku, quantity} -> 201; 409 out of stock; 422 invalid
    GET    /stock/reservations?reference=..  the reservations that stand
    DELETE /stock/reservations/{id}          204; 404 when it is gone already
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.records import Caller, EffectKind

# Units of a sku nobody configured: more than any scenario takes.
PLENTY = 1_000_000


class ReserveBody(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reference: str = Field(min_length=1)
    sku: str = Field(min_length=1)
    quantity: PositiveInt


class Stock:
    """The stock provider: its levels and reservations, and its endpoints."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.reservations: dict[str, dict[str, Any]] = {}
        self._levels: dict[str, int] = {}
        self._ids = count(1)  # never restarted, see `Payments`

    def clear(self) -> None:
        """Forget every reservation and every configured level."""
        self.reservations.clear()
        self._levels.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (self.reservations, self._levels, repr(self._ids))

    def set_level(self, sku: str, units: int) -> None:
        """Say how many units are free to be reserved from now on."""
        self._levels[sku] = units

    def level(self, sku: str) -> int:
        """How many units are free."""
        return self._levels.get(sku, PLENTY)

    def routes(self) -> list[Route]:
        """The provider's endpoints."""
        return [
            Route("/stock/reservations", self._post, methods=["POST"]),
            Route("/stock/reservations", self._list, methods=["GET"]),
            Route("/stock/reservations/{id}", self._delete, methods=["DELETE"]),
        ]

    async def _post(self, http: HttpRequest) -> Response:
        body = await http.body()
        try:
            wanted = ReserveBody.model_validate_json(body)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            reply = Reply(422, {"error": "invalid", "details": details})
            request = _request(http, Operation.RESERVE, "")
            return response(self.exchange.answer(Provider.STOCK, request, reply))
        request = _request(http, Operation.RESERVE, wanted.reference)
        return await self._serve(request, lambda: self._reserve(wanted, request.caller))

    async def _list(self, http: HttpRequest) -> Response:
        reference = http.query_params.get("reference", "")

        def execute() -> Reply:
            found = [r for r in self.reservations.values() if r["reference"] == reference]
            return Reply(200, {"reservations": found})

        return await self._serve(_request(http, Operation.LOOKUP, reference), execute)

    async def _delete(self, http: HttpRequest) -> Response:
        reservation_id: str = http.path_params["id"]
        reservation = self.reservations.get(reservation_id)
        reference = reservation["reference"] if reservation else reservation_id
        request = _request(http, Operation.RELEASE, reference)
        return await self._serve(request, lambda: self._release(reservation_id, request.caller))

    async def _serve(self, request: Request, execute: Callable[[], Reply]) -> Response:
        return response(await self.exchange.serve(Provider.STOCK, request, execute=execute, fault_reply=_fault_reply))

    def _reserve(self, wanted: ReserveBody, caller: Caller) -> Reply:
        if wanted.quantity > self.level(wanted.sku):
            return Reply(409, {"error": "out_of_stock", "sku": wanted.sku})
        self._levels[wanted.sku] = self.level(wanted.sku) - wanted.quantity
        reservation = {"id": f"res_sandbox_{next(self._ids)}", **wanted.model_dump(), "status": "reserved"}
        self.reservations[reservation["id"]] = reservation
        self._did(EffectKind.RESERVED, reservation, caller, live=True)
        return Reply(201, reservation)

    def _release(self, reservation_id: str, caller: Caller) -> Reply:
        reservation = self.reservations.pop(reservation_id, None)
        if reservation is None:
            return Reply(404, {"error": "not_found"})
        self._levels[reservation["sku"]] = self.level(reservation["sku"]) + reservation["quantity"]
        self.exchange.journal.ended(Provider.STOCK, EffectKind.RESERVED, reservation_id)
        self._did(EffectKind.RELEASED, reservation, caller, live=False)
        return Reply(204)

    def _did(self, kind: EffectKind, reservation: dict[str, Any], caller: Caller, *, live: bool) -> None:
        self.exchange.journal.did(
            Provider.STOCK,
            kind,
            reference=reservation["reference"],
            object_id=reservation["id"],
            caller=caller,
            live=live,
            quantity=reservation["quantity"],
            details={"sku": reservation["sku"]},
        )


def _request(http: HttpRequest, operation: Operation, reference: str) -> Request:
    return Request(operation, http.method, http.url.path, reference, caller_of(http))


def _fault_reply(fault: Fault, request: Request) -> Reply:
    headers = fault.retry_after_header()
    match fault.fault:
        case FaultKind.RATE_LIMIT:
            return Reply(429, {"error": "rate_limited"}, headers)
        case FaultKind.UNAVAILABLE:
            return Reply(fault.status or 503, {"error": "unavailable"}, headers)
        case FaultKind.REFUSE if request.operation is Operation.RESERVE:
            return Reply(fault.status or 409, {"error": "out_of_stock"}, headers)
        case FaultKind.REFUSE:
            return Reply(fault.status or 403, {"error": "forbidden"}, headers)
        case _:
            return Reply(fault.status or 500, {"error": "internal"}, headers)
