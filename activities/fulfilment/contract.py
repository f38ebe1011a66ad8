"""What may be asked of the fulfilment partner."""

from __future__ import annotations

from datetime import timedelta

from activities.inventory.contract import Quantity
from activities.payments.contract import Id
from kit.contract import Dependency, Effect, Model, Once, Operation

FULFILMENT = Dependency(
    name="fulfilment",
    owner="logistics-team",
    settle=timedelta(seconds=5),
    runbook="docs/explanation/failure-model.md#fulfilment",
)


class RequestShipment(Model):
    """Ask for an order to be packed and shipped."""

    order_id: Id
    sku: Id
    quantity: Quantity


class Accepted(Model):
    """The partner has taken the request."""

    webhook_id: str


request_shipment = Operation(
    "fulfilment.request_shipment",
    RequestShipment,
    Accepted,
    dependency=FULFILMENT,
    effect=Effect.IRREVERSIBLE,
    # The key is the message's `webhook-id`, by which a receiver recognises a repeated delivery
    # (https://www.standardwebhooks.com). The time is agreed with the partner; the specification names none.
    once=Once.by_key(ttl=timedelta(days=7)),
    key="ship:{order_id}",
    timeout=timedelta(seconds=10),
    summary="Ask fulfilment to ship {quantity} of {sku} for order {order_id}",
)
"""Ask for the shipment. Cannot be taken back: it belongs after the commit."""
