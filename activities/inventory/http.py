"""Stock by the warehouse's HTTP interface, which knows no idempotency keys."""

from __future__ import annotations

from typing import Any

import httpx

from activities.inventory import contract as inventory
from activities.inventory.contract import Reservation, ReserveStock
from kit.contract import FailureKind, Token, Undo
from kit.errors import OperationFailure, Refused
from kit.worker.connector import Connector


class HttpInventory(Connector):
    """Reserves and releases stock.

    Every reservation carries the key as its reference, by which it is found again.

    Args:
        http: A client for the warehouse; made by `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @inventory.reserve.action
    async def reserve(self, request: ReserveStock, token: Token) -> Reservation:
        """Set the pieces aside."""
        body = {"reference": token.key, "sku": request.sku, "quantity": request.quantity}
        reply = await self._http.post("/stock/reservations", json=body)
        return _reservation(reply.raise_for_status().json())

    @inventory.reserve.compensation
    async def release(self, undo: Undo[ReserveStock, Reservation], token: Token) -> None:
        """Put the pieces back; a reservation that is gone has been released already."""
        reply = await self._http.delete(f"/stock/reservations/{undo.result.reservation_id}")
        if reply.status_code != httpx.codes.NOT_FOUND:
            reply.raise_for_status()

    @inventory.reserve.probe
    async def find(self, request: ReserveStock, token: Token) -> Reservation | None:
        """The reservation made under the key."""
        reply = await self._http.get("/stock/reservations", params={"reference": token.key})
        found = reply.raise_for_status().json()["reservations"]
        return _reservation(found[0]) if found else None

    def classify(self, error: Exception) -> OperationFailure | None:
        """A 409 says that too few pieces are left: asking again does not make more."""
        if not isinstance(error, httpx.HTTPStatusError) or error.response.status_code != httpx.codes.CONFLICT:
            return None
        return Refused(FailureKind.DECLINED, "there is not enough stock left", reason="out_of_stock")


def _reservation(body: dict[str, Any]) -> Reservation:
    return Reservation(reservation_id=body["id"], sku=body["sku"], quantity=body["quantity"])
