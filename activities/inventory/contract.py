"""What may be asked of the warehouse."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from activities.payments.contract import Id
from kit.contract import Dependency, Effect, Model, Once, Operation

Quantity = Annotated[int, Field(gt=0)]
"""Pieces."""

INVENTORY = Dependency(
    name="inventory",
    owner="warehouse-team",
    settle=timedelta(seconds=2),
    runbook="docs/explanation/failure-model.md#inventory",
)


class ReserveStock(Model):
    """Set pieces aside for an order."""

    order_id: Id
    sku: Id
    quantity: Quantity


class Reservation(Model):
    """Pieces set aside."""

    reservation_id: Id
    sku: Id
    quantity: Quantity


reserve = Operation(
    "inventory.reserve",
    ReserveStock,
    Reservation,
    dependency=INVENTORY,
    effect=Effect.REVERSIBLE,
    # The warehouse knows no idempotency keys, but finds a reservation by the reference it was made with.
    once=Once.by_probe(),
    key="reserve:{order_id}:{sku}",
    timeout=timedelta(seconds=10),
    summary="Reserve {quantity} of {sku} for order {order_id}",
)
"""Set stock aside. Its undo releases it."""
