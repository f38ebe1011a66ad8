"""The holds of a scenario: real ones, in the guard, before anything is claimed."""

from __future__ import annotations

from activities.payments.contract import Authorization, authorize
from kit.contract import FailureKind, Outcome
from kit.testing.faults import FaultKind
from kit.testing.runs import LEDGER
from tests.testing.wire.bench import AUTHORIZE, bench
from tests.worker.world import Failure


async def test_held_call_touches_neither_ledger_nor_provider() -> None:
    """The hold is asked before the claim: the story has no line of the ledger until it is off."""
    shop = await bench("payments.authorize#1:held")

    for _ in range(2):
        failure = await shop.act(authorize, AUTHORIZE)
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.HELD
    untouched = [line for line in shop.wire.story if line.lane == LEDGER], shop.calls()
    done = await shop.act(authorize, AUTHORIZE)

    assert untouched == ([], 0)
    assert isinstance(done, Authorization)
    assert shop.wire.unreached() == ()


async def test_held_attempts_count_as_the_calls_they_would_have_made() -> None:
    """So the ids of scenarios are what they were: the call that goes out is the third, and can be faulted as such."""
    shop = await bench("payments.authorize#1:held+payments.authorize#3:reply_lost")

    for _ in range(3):
        await shop.act(authorize, AUTHORIZE)

    assert [(str(seen.point), seen.outcome) for seen in shop.wire.seen[:2]] == [
        ("payments.authorize#1", Outcome.NOT_STARTED),
        ("payments.authorize#2", Outcome.NOT_STARTED),
    ]
    assert shop.wire.seen[0].kinds == (FaultKind.CANCEL_BEFORE,)
    assert shop.told(FaultKind.REPLY_LOST)


async def test_hold_on_the_action_lets_its_undo_pass() -> None:
    """What takes back is exempt, and the hold waits for the next attempt of the action."""
    shop = await bench("payments.authorize#2:held")
    done = await shop.act(authorize, AUTHORIZE)
    held = await shop.act(authorize, AUTHORIZE)

    happened = await shop.undo(authorize, AUTHORIZE, result=done)

    assert held.kind is FailureKind.HELD
    assert happened is True


async def test_hold_on_an_undo_names_it() -> None:
    """Two attempts of the undo are held, and one of the action meanwhile counts as one of them."""
    shop = await bench("payments.authorize.undo#1:held")
    done = await shop.act(authorize, AUTHORIZE)

    first = await shop.undo(authorize, AUTHORIZE, result=done)
    action = await shop.act(authorize, AUTHORIZE)
    happened = await shop.undo(authorize, AUTHORIZE, result=done)

    assert (first.kind, action.kind, happened) == (FailureKind.HELD, FailureKind.HELD, True)


async def test_nothing_is_held_once_everything_is_well() -> None:
    """People repair what has parked with no hold in their way."""
    shop = await bench("payments.authorize#1:held")
    await shop.act(authorize, AUTHORIZE)
    shop.wire.well = True

    assert isinstance(await shop.act(authorize, AUTHORIZE), Authorization)
