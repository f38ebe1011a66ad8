"""Idempotency keys of payments behave as Stripe documents them."""

import asyncio

import httpx
import pytest

from kit.testing.sandbox import CallNote, EffectKind, FaultKind, Operation, Sandbox

from .conftest import Authorize, Gate


async def holds(sandbox: Sandbox) -> int:
    """How many authorizations the provider made."""
    return sum(effect.kind is EffectKind.AUTHORIZED for effect in await sandbox.control.effects())


async def test_same_key_replays_the_reply(sandbox: Sandbox, authorize: Authorize) -> None:
    """The same key and parameters bring the same body again, marked as replayed, with one effect."""
    first = await authorize(key="k")
    second = await authorize(key="k")

    assert second.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["request-id"] != first.headers["request-id"]
    assert await holds(sandbox) == 1
    assert [call.note for call in await sandbox.control.calls()] == [None, CallNote.REPLAYED]


async def test_no_key_means_no_protection(sandbox: Sandbox, authorize: Authorize) -> None:
    """Without a key every POST is another payment."""
    await authorize()
    await authorize()

    assert await holds(sandbox) == 2


async def test_same_key_with_other_parameters_is_an_error(sandbox: Sandbox, authorize: Authorize) -> None:
    """A key that was used for something else is a 400 `idempotency_error`, and the first reply stays."""
    first = await authorize(key="k")
    other = await authorize(key="k", amount="1")
    again = await authorize(key="k")

    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert again.json() == first.json()
    assert await holds(sandbox) == 1


async def test_same_key_on_another_path_is_an_error(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A key belongs to its endpoint: the cancel cannot borrow that of the capture, though neither has parameters."""
    intent_id = (await authorize()).json()["id"]
    headers = {"Idempotency-Key": "k"}

    capture = await http.post(f"/v1/payment_intents/{intent_id}/capture", headers=headers)
    cancel = await http.post(f"/v1/payment_intents/{intent_id}/cancel", headers=headers)

    assert capture.status_code == 200
    assert cancel.json()["error"]["type"] == "idempotency_error"


async def test_card_errors_are_replayed(sandbox: Sandbox, authorize: Authorize) -> None:
    """A decline is kept under its key: the same key is declined again, without asking the bank."""
    first = await authorize(key="k", payment_method="pm_card_chargeDeclined")
    second = await authorize(key="k", payment_method="pm_card_chargeDeclined")

    assert (first.status_code, second.status_code) == (402, 402)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"


async def test_scripted_decline_is_replayed(sandbox: Sandbox, authorize: Authorize) -> None:
    """A scripted refusal of the card is kept under the key like a real one."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.REFUSE)

    answers = [await authorize(key="k"), await authorize(key="k"), await authorize(key="other")]

    assert [answer.status_code for answer in answers] == [402, 402, 200]


async def test_error_after_execution_is_replayed(sandbox: Sandbox, authorize: Authorize) -> None:
    """A 500 after the effect is kept under the key: repeating tells nothing, only a look-up does."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.ERROR_AFTER)

    answers = [await authorize(key="k"), await authorize(key="k")]

    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert await holds(sandbox) == 1


async def test_lost_reply_is_replayed(sandbox: Sandbox, authorize: Authorize) -> None:
    """After a lost reply the same key brings the success that was lost."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DROP_REPLY)
    with pytest.raises(httpx.RemoteProtocolError):
        await authorize(key="k")

    answer = await authorize(key="k")

    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (200, "true")
    assert await holds(sandbox) == 1


async def test_replies_can_be_lost_again_and_again(sandbox: Sandbox, authorize: Authorize) -> None:
    """A replayed reply can be lost like the first one, and still there is one effect."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DROP_REPLY, times=2)
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            await authorize(key="k")

    assert (await authorize(key="k")).status_code == 200
    assert await holds(sandbox) == 1


async def test_faults_of_the_execution_wait_for_one(sandbox: Sandbox, authorize: Authorize) -> None:
    """A refusal scripted after the effect does not touch the replay; it waits for the next execution."""
    await authorize(key="k")
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.REFUSE)

    replay = await authorize(key="k")
    other = await authorize(key="other")

    assert (replay.status_code, other.status_code) == (200, 402)


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.UNAVAILABLE, 503), (FaultKind.RATE_LIMIT, 429)])
async def test_failures_before_execution_leave_the_key_free(
    sandbox: Sandbox, authorize: Authorize, kind: FaultKind, status: int
) -> None:
    """An outage and a rate limit are not kept: the same key succeeds afterwards."""
    await sandbox.control.fault(Operation.AUTHORIZE, kind)

    answers = [await authorize(key="k"), await authorize(key="k")]

    assert [answer.status_code for answer in answers] == [status, 200]
    assert await holds(sandbox) == 1


async def test_validation_errors_leave_the_key_free(authorize: Authorize) -> None:
    """A request that was never executed does not occupy its key, even with other parameters."""
    bad = await authorize(key="k", amount="none")
    good = await authorize(key="k")

    assert (bad.status_code, good.status_code) == (400, 200)


async def test_refused_undo_can_be_repeated(sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A 403 is decided before execution, so the same key succeeds once permission is given."""
    intent_id = (await authorize()).json()["id"]
    await sandbox.control.fault(Operation.CANCEL, FaultKind.REFUSE)
    path, headers = f"/v1/payment_intents/{intent_id}/cancel", {"Idempotency-Key": "void"}

    answers = [await http.post(path, headers=headers), await http.post(path, headers=headers)]

    assert [answer.status_code for answer in answers] == [403, 200]


async def test_key_in_use_is_a_409(sandbox: Sandbox, authorize: Authorize, gate: Gate) -> None:
    """While the first call is being served, the same key is a conflict; afterwards it replays."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DELAY, seconds=30)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(authorize(key="k"))
        await gate.entered.wait()
        second = await authorize(key="k")
        gate.open()
    third = await authorize(key="k")

    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert third.json() == first.result().json()
    assert await holds(sandbox) == 1


async def test_reset_during_a_call_leaves_the_key_free(sandbox: Sandbox, authorize: Authorize, gate: Gate) -> None:
    """A call that ends after a reset writes neither its key nor its status into the new story."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DELAY, seconds=30)
    async with asyncio.TaskGroup() as group:
        before = group.create_task(authorize(key="k"))
        await gate.entered.wait()
        await sandbox.control.reset()
        gate.open()

    answer = await authorize(key="k", amount="5")

    assert before.result().status_code == 200
    assert answer.json()["amount"] == 5
    assert len(await sandbox.control.calls()) == 1


async def test_overlong_key_is_refused(authorize: Authorize) -> None:
    """Keys have at most 255 characters."""
    assert (await authorize(key="k" * 255)).status_code == 200
    assert (await authorize(key="k" * 256)).json()["error"]["type"] == "idempotency_error"
