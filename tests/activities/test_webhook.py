"""Fulfilment against a receiver of Standard Webhooks."""

from __future__ import annotations

import httpx
import pytest

from activities.fulfilment import contract as fulfilment
from activities.fulfilment.contract import Accepted, RequestShipment
from activities.fulfilment.webhook import WebhookFulfilment
from kit.contract import FailureKind, Outcome, Token
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import CallNote, EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import live

TOKEN = Token(key="ship:ORDER-1", correlation_id="corr-1", workflow_id="checkout-1")


def _ship(order_id: str) -> RequestShipment:
    return RequestShipment(order_id=order_id, sku="BOOK", quantity=2)


@pytest.fixture
def connector(sandbox: Sandbox, http: httpx.AsyncClient) -> WebhookFulfilment:
    """The connector under test."""
    return WebhookFulfilment(http, url=sandbox.webhook_url, secret=sandbox.webhook_secret)


async def test_a_request_for_shipment_keeps_its_promises(sandbox: Sandbox, connector: WebhookFulfilment) -> None:
    """Requesting a shipment conforms, whatever the receiver does on the way."""

    def fault(kind: FaultKind, order: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.DELIVER, kind)

        return Fault(inject, _ship(order), expected, outcome)

    report = await check_connector(
        connector,
        fulfilment.request_shipment,
        _ship("ORDER-1"),
        oracle=lambda: live(sandbox, EffectKind.DELIVERED),
        faults=[
            fault(FaultKind.REFUSE, "ORDER-2", FailureKind.INVALID, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "ORDER-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "ORDER-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, "ORDER-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "ORDER-6", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, "ORDER-7", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert Promise.KEY_HONOURED in report.kept


async def test_the_key_is_the_webhook_id(sandbox: Sandbox, connector: WebhookFulfilment) -> None:
    """A repeated delivery has the same `webhook-id`, and the receiver drops it."""
    first = await connector.request_shipment(_ship("ORDER-1"), TOKEN)
    second = await connector.request_shipment(_ship("ORDER-1"), TOKEN)

    (effect,) = await sandbox.control.effects("ORDER-1")
    assert first == second == Accepted(webhook_id="ship:ORDER-1")
    assert (effect.object_id, effect.details) == ("ship:ORDER-1", {"event_type": "shipment.requested"})
    assert [call.note for call in await sandbox.control.calls()] == [None, CallNote.DUPLICATE]


async def test_another_secret_is_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A receiver that cannot verify the signature takes nothing."""
    connector = WebhookFulfilment(http, url=sandbox.webhook_url, secret="whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXI=")

    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.request_shipment(_ship("ORDER-1"), TOKEN)

    failure = classify(connector, fulfilment.request_shipment, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.INVALID, Outcome.REFUSED)
    assert await live(sandbox, EffectKind.DELIVERED) == 0
