"""The same checkout, submitted more than once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from temporalio.exceptions import ApplicationError

from kit.testing.sandbox import EffectKind, FaultKind, Operation
from kit.workflow import COMPENSATED
from tests.harness import running
from tests.workflows.shop import COMPLETE, SUCCESS, Shop, assert_truth
from workflows.checkout import Checkout

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def test_submitted_three_times_is_one_run(shop: Shop) -> None:
    """The workflow id is the business event's: who presses the button again gets the first run."""
    name = f"thrice-{shop.folder.name}"

    async with shop.worker() as worker:
        runs = await asyncio.gather(*(shop.start(worker, id=name) for _ in range(3)))
        stories = [await run.story() for run in runs]

    assert len({run.handle.first_execution_run_id for run in runs}) == 1
    assert [story.activities for story in stories] == [SUCCESS] * 3
    assert len({story.placed and story.placed.payment_intent for story in stories}) == 1
    await assert_truth(shop, stories[0])


async def test_submitted_again_under_other_ids_has_one_effect_per_key(shop: Shop) -> None:
    """Runs that do not know of each other answer from the ledger what the first of them did."""
    async with shop.worker() as worker:
        stories = [await (await shop.start(worker)).story() for _ in range(3)]

    assert [story.activities for story in stories] == [SUCCESS] * 3
    assert [story.attempts for story in stories] == [{}] * 3
    assert stories[0].placed == stories[1].placed == stories[2].placed
    assert Counter(call.operation for call in await shop.calls()) == {
        Operation.RESERVE: 1,
        Operation.AUTHORIZE: 1,
        Operation.CAPTURE: 1,
        Operation.DELIVER: 1,
        Operation.SEND: 1,
    }
    await assert_truth(shop, stories[0])


async def test_submitted_again_after_it_was_undone_is_refused(shop: Shop) -> None:
    """What was undone under a key never happens under it again: the second run leaves nothing either."""
    await shop.fault(Operation.CAPTURE, FaultKind.REFUSE)

    async with shop.worker() as worker:
        first = await (await shop.start(worker)).story()
        second = await (await shop.start(worker)).story()

    assert isinstance(second.error, ApplicationError)
    assert second.error.type == COMPENSATED
    assert second.summary.reason_code == "after_undo"
    assert second.activities == ["inventory.reserve", "payments.authorize"]
    assert (await shop.seen())[EffectKind.AUTHORIZED] == 1
    await assert_truth(shop, first)


async def test_two_workers_of_one_plugin_share_its_ledger(shop: Shop) -> None:
    """A worker that stops closes nothing under another one that is still at work."""
    async with shop.worker() as worker:
        async with running(shop.server, worker.plugin, [Checkout], cached=shop.cached):
            pass
        story = await (await shop.start(worker)).story()

    assert story.attempts == {}
    await assert_truth(shop, story)


async def test_a_duplicate_that_is_refused_leaves_the_first_order_alone(shop: Shop) -> None:
    """A second checkout of the order, for another amount, is refused and takes nothing of the first away."""
    async with shop.worker() as worker:
        first = await (await shop.start(worker)).story()
        second = await (await shop.start(worker, amount=1)).story()

    assert second.placed is None
    assert Counter(effect.kind for effect in await shop.effects() if effect.live) == COMPLETE
    await assert_truth(shop, first)
