"""The webhook receiver verifies, deduplicates and records."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from standardwebhooks import Webhook

from kit.testing.sandbox import CallNote, EffectKind, FaultKind, Operation, Sandbox

EVENT = {"type": "order.placed", "timestamp": "2026-11-21T00:00:00Z", "data": {"order_id": "ORDER-1"}}


async def deliver(
    sandbox: Sandbox,
    http: httpx.AsyncClient,
    *,
    event: object = EVENT,
    webhook_id: str = "msg_1",
    secret: str | None = None,
    age: timedelta = timedelta(),
) -> httpx.Response:
    """Sign and send one event, as the fulfilment connector would."""
    body = json.dumps(event)
    sent = datetime.now(UTC) - age
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret or sandbox.webhook_secret).sign(webhook_id, sent, body),
        "X-Correlation-Id": "corr-1",
    }
    return await http.post(sandbox.webhook_url, content=body, headers=headers)


async def test_signed_delivery_is_recorded(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A delivery with a good signature is one effect of its order."""
    answer = await deliver(sandbox, http)

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    [effect] = await sandbox.control.effects("ORDER-1")
    assert (effect.kind, effect.object_id, effect.correlation_id) == (EffectKind.DELIVERED, "msg_1", "corr-1")
    assert effect.details == {"event_type": "order.placed"}


async def test_second_delivery_is_a_duplicate(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The same webhook id again is acknowledged, noted as a duplicate, and is no second effect."""
    await deliver(sandbox, http)
    answer = await deliver(sandbox, http)

    assert (answer.status_code, answer.json()) == (200, {"status": "duplicate"})
    assert len(await sandbox.control.effects()) == 1
    assert [call.note for call in await sandbox.control.calls()] == [None, CallNote.DUPLICATE]


async def test_another_id_is_another_effect(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A sender that makes a new id for each attempt delivers twice, and the record shows it."""
    await deliver(sandbox, http, webhook_id="msg_1")
    await deliver(sandbox, http, webhook_id="msg_2")

    assert len(await sandbox.control.effects("ORDER-1")) == 2


async def test_foreign_signature_is_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A signature made with another secret is a 400 without effect."""
    answer = await deliver(sandbox, http, secret="whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA==")

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_signature")
    assert await sandbox.control.effects() == []
    assert [call.status for call in await sandbox.control.calls()] == [400]


async def test_old_delivery_is_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A timestamp older than five minutes is a replay, whatever its signature."""
    answer = await deliver(sandbox, http, age=timedelta(minutes=6))

    assert (answer.status_code, answer.json()["message"]) == (400, "Message timestamp too old")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {
            "webhook-id": "m",
            "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
            "webhook-signature": "?",
        },
    ],
)
async def test_garbage_is_refused(sandbox: Sandbox, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Missing headers and a malformed signature are a 400, not a crash."""
    answer = await http.post(sandbox.webhook_url, content=b"\xff{", headers=headers)

    assert answer.status_code == 400


@pytest.mark.parametrize("event", [[], {"type": "order.placed"}, {"type": 1, "data": {}}])
async def test_signed_nonsense_is_a_422(sandbox: Sandbox, http: httpx.AsyncClient, event: object) -> None:
    """A body that is no event is refused even when it is signed."""
    answer = await deliver(sandbox, http, event=event)

    assert answer.status_code == 422
    assert await sandbox.control.effects() == []


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.REFUSE, 422), (FaultKind.UNAVAILABLE, 503), (FaultKind.RATE_LIMIT, 429)]
)
async def test_failed_delivery_can_be_repeated(
    sandbox: Sandbox, http: httpx.AsyncClient, kind: FaultKind, status: int
) -> None:
    """A delivery that failed before its effect is not a duplicate when it comes again."""
    await sandbox.control.fault(Operation.DELIVER, kind, match="ORDER-1")

    answers = [await deliver(sandbox, http), await deliver(sandbox, http)]

    assert [answer.status_code for answer in answers] == [status, 200]
    assert answers[1].json() == {"status": "accepted"}


@pytest.mark.parametrize("kind", [FaultKind.DROP_REPLY, FaultKind.ERROR_AFTER])
async def test_delivery_with_a_lost_reply_is_a_duplicate_next_time(
    sandbox: Sandbox, http: httpx.AsyncClient, kind: FaultKind
) -> None:
    """When only the acknowledgement was lost, the repetition is dropped and acknowledged."""
    await sandbox.control.fault(Operation.DELIVER, kind)
    try:
        assert (await deliver(sandbox, http)).status_code == 500
    except httpx.RemoteProtocolError:
        assert kind is FaultKind.DROP_REPLY

    answer = await deliver(sandbox, http)

    assert answer.json() == {"status": "duplicate"}
    assert len(await sandbox.control.effects()) == 1


async def test_reset_forgets_the_ids(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """After a reset a known webhook id is new again."""
    await deliver(sandbox, http)

    await sandbox.control.reset()

    assert (await deliver(sandbox, http)).json() == {"status": "accepted"}
