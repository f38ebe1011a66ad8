"""The checkout when a worker dies between an effect and its record."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from kit.testing.sandbox import CallNote, EffectKind, FaultKind, Operation
from kit.worker import ReliabilityPlugin
from tests.workflows.shop import SUCCESS, Shop, assert_truth, checkout_of
from tests.workflows.story import Run
from workflows.checkout import Checkout

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

CHECKOUT_FOLDER = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("call", "activity"),
    [
        ("POST /stock/reservations", "inventory.reserve"),
        ("/capture", "payments.capture"),
        ("/webhooks/fulfilment", "fulfilment.request_shipment"),
    ],
)
async def test_an_attempt_that_is_never_heard_of_again_is_made_good(shop: Shop, call: str, activity: str) -> None:
    """An attempt that is lost after its effect is resolved by the next; when it comes back it changes nothing."""
    shop.network.strands(call)

    story = await shop.checkout(impatient=activity)

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert set(story.attempts) == {activity}
    await assert_truth(shop, story)


@pytest.mark.parametrize(
    ("call", "activity"),
    [("/cancel", "payments.authorize.undo"), ("/stock/reservations/res_sandbox_1", "inventory.reserve.undo")],
)
async def test_an_undo_that_is_never_heard_of_again_is_made_good(shop: Shop, call: str, activity: str) -> None:
    """An undo that is lost after it was done is done again, which changes nothing."""
    await shop.cart_is_taken()
    shop.network.strands(call)

    story = await shop.checkout(impatient=activity)

    assert story.activities[-2:] == ["inventory.reserve.undo", "payments.authorize.undo"]
    assert set(story.attempts) == {activity}
    seen = await shop.seen()
    assert (seen[EffectKind.VOIDED], seen[EffectKind.RELEASED]) == (1, 1)
    await assert_truth(shop, story, cart=shop.TAKEN)


async def test_a_worker_killed_between_effect_and_record(shop: Shop) -> None:
    """A worker process is killed when the money is taken and nobody has noted it: the next one takes no more."""
    await shop.fault(Operation.CAPTURE, FaultKind.DELAY, seconds=1)
    queue = f"crash-{uuid.uuid4().hex[:12]}"

    with _process(shop, queue, impatient="payments.capture") as doomed:
        config = shop.server.client.config()
        config["plugins"] = [ReliabilityPlugin()]
        handle = await Client(**config).start_workflow(Checkout.run, checkout_of(), id=queue, task_queue=queue)
        await shop.provider_is_slow()
        doomed.kill()
        doomed.wait()
    shop.go_on.set()
    async with shop.worker(task_queue=queue) as heir:
        story = await Run(heir, handle).story()

    assert story.activities == SUCCESS
    assert story.history.timers == 0
    assert set(story.attempts) == {"payments.capture"}
    assert [call.note for call in await shop.calls(Operation.CAPTURE)] == [None, CallNote.REPLAYED]
    await assert_truth(shop, story)


@contextmanager
def _process(shop: Shop, task_queue: str, *, impatient: str) -> Iterator[subprocess.Popen[bytes]]:
    told = {
        "address": shop.server.client.service_client.config.target_host,
        "task_queue": task_queue,
        "folder": str(shop.folder),
        "providers": list(shop.providers),
        "cached": shop.cached,
        "impatient": impatient,
    }
    process = subprocess.Popen([sys.executable, "-m", "tests.workflows._worker", json.dumps(told)], cwd=CHECKOUT_FOLDER)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
