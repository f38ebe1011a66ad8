"""What the outside is told by a checkout."""

from __future__ import annotations

import pytest
import structlog

from kit.telemetry import CORRELATION_ID
from kit.testing.sandbox import EffectKind, FaultKind, Operation
from tests.workflows.shop import ORDER, Shop, assert_truth

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_every_call_carries_the_correlation_id_of_the_start(shop: Shop) -> None:
    """From the caller's context to every provider, through retries and look-ups: one correlation id."""
    await shop.fault(Operation.RESERVE, FaultKind.DROP_REPLY)
    await shop.fault(Operation.SEND, FaultKind.UNAVAILABLE)

    with structlog.contextvars.bound_contextvars(**{CORRELATION_ID: "request-77"}):
        story = await shop.checkout()

    calls = await shop.calls()
    assert {call.operation for call in calls} >= {Operation.LOOKUP, Operation.DELIVER, Operation.SEND}
    assert {call.correlation_id for call in calls} == {"request-77"}
    assert {effect.correlation_id for effect in await shop.effects()} == {"request-77"}
    assert story.summary.correlation_id == "request-77"
    await assert_truth(shop, story)


async def test_the_undo_carries_it_too(shop: Shop) -> None:
    """Without a caller's id the workflow's own goes along, to the undos as well."""
    await shop.fault(Operation.CAPTURE, FaultKind.REFUSE)

    story = await shop.checkout()

    calls = await shop.calls()
    assert {call.operation for call in calls} >= {Operation.CANCEL, Operation.RELEASE}
    assert {call.correlation_id for call in calls} == {story.workflow_id}
    await assert_truth(shop, story)


async def test_the_shipment_is_signed_and_the_receipt_can_be_read(shop: Shop) -> None:
    """The partner has verified the signature of what it accepted; the customer reads what was charged."""
    story = await shop.checkout()

    effects = {effect.kind: effect for effect in await shop.effects()}
    delivered, sent = effects[EffectKind.DELIVERED], effects[EffectKind.SENT]
    assert (delivered.reference, delivered.object_id) == (ORDER, f"ship:{ORDER}")
    assert delivered.details["event_type"] == "shipment.requested"
    assert (sent.reference, sent.details["to"]) == (ORDER, "ann@example.com")
    assert sent.details["subject"] == f"Your receipt for order {ORDER}"
    assert "We have charged 49.99 USD." in sent.details["text"]
    await assert_truth(shop, story)
