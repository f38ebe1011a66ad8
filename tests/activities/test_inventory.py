"""Stock against a warehouse that knows no idempotency keys."""

from __future__ import annotations

import httpx
import pytest

from activities.inventory import contract as inventory
from activities.inventory.contract import ReserveStock
from activities.inventory.http import HttpInventory
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import live

TOKEN = Token(key="reserve:ORDER-1:BOOK", correlation_id="corr-1", workflow_id="checkout-1")


def _reserve(order_id: str, *, sku: str = "BOOK") -> ReserveStock:
    return ReserveStock(order_id=order_id, sku=sku, quantity=2)


@pytest.mark.slow
async def test_reserve_keeps_its_promises(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Reserving conforms, although the warehouse would reserve twice if asked twice."""

    def fault(kind: FaultKind, order: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.RESERVE, kind)

        return Fault(inject, _reserve(order), expected, outcome)

    report = await check_connector(
        HttpInventory(http),
        inventory.reserve,
        _reserve("ORDER-1"),
        oracle=lambda: live(sandbox, EffectKind.RESERVED),
        faults=[
            fault(FaultKind.REFUSE, "ORDER-2", FailureKind.DECLINED, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "ORDER-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "ORDER-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, "ORDER-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "ORDER-6", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, "ORDER-7", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert {Promise.RESOLVED, Promise.UNDO_FORGOTTEN} <= set(report.kept)


async def test_too_little_stock_is_declined(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Stock that is not there is no conflict to be retried."""
    await sandbox.control.set_stock("BOOK", units=1)
    connector = HttpInventory(http)

    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.reserve(_reserve("ORDER-1"), TOKEN)

    failure = classify(connector, inventory.reserve, raised.value)
    assert (failure.kind, failure.outcome, failure.reason) == (FailureKind.DECLINED, Outcome.REFUSED, "out_of_stock")


async def test_the_reservation_carries_the_key(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The key is the warehouse's reference, so that the look-up finds this reservation and no other."""
    connector = HttpInventory(http)
    reservation = await connector.reserve(_reserve("ORDER-1"), TOKEN)

    (effect,) = await sandbox.control.effects(TOKEN.key)
    other = await connector.find(_reserve("ORDER-1"), TOKEN.model_copy(update={"key": "reserve:ORDER-1:LAMP"}))

    assert effect.object_id == reservation.reservation_id
    assert other is None


async def test_a_release_that_fails_is_not_taken_for_done(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Only a reservation that is gone makes a failed release a success."""
    connector = HttpInventory(http)
    reservation = await connector.reserve(_reserve("ORDER-1"), TOKEN)
    await sandbox.control.fault(Operation.RELEASE, FaultKind.UNAVAILABLE)

    with pytest.raises(httpx.HTTPStatusError, match="503"):
        await connector.release(Undo(_reserve("ORDER-1"), reservation), TOKEN)

    assert await live(sandbox, EffectKind.RESERVED) == 1
