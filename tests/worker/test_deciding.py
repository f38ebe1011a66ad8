"""A person's decision in the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from kit.contract import Outcome
from kit.ledger import Decide, State
from kit.workflow import Choice, DecisionRecord
from tests.worker.world import (
    CRASH_AFTER,
    KEY,
    LOST,
    NEVER,
    Crash,
    Fault,
    Receipt,
    World,
    http_error,
    lease_over,
)

VIRTUAL_TIME = True


async def _decide(world: World, choice: Choice, *, undo: bool = False, result: Any = None, amount: Any = 100) -> None:
    record = DecisionRecord(
        operation="bank.pay",
        request={"order_id": "o-1", "amount": amount},
        result=result,
        choice=choice,
        undo=undo,
        who="ada",
        why="rang the bank",
    )
    attempt = world.attempt("o-1", "decision")
    await world.guard.record_decision(world.connector, world.operation, record, world.token(), attempt)


async def test_supplied_result_is_recorded() -> None:
    """What a person says was done is done: the result answers every later attempt and serves the undo."""
    world = World(NEVER).fault("charge", LOST)
    await world.fails(world.act())

    await _decide(world, Choice.SUPPLY, result={"charge": "ch_1"})

    row = await world.row()
    assert (row.state, row.reason) == (State.DONE, "supply by ada: rang the bank")
    assert await world.act() == Receipt(charge="ch_1")
    assert await world.undo() is True


async def test_skipped_action_can_never_happen() -> None:
    """What a person says is not to happen is closed to every later attempt."""
    world = World(NEVER).fault("charge", Fault(before=KeyError("x")))
    await world.fails(world.act())

    await _decide(world, Choice.SKIP)

    assert await world.state() == State.VOID
    assert (await world.fails(world.act())).reason == "after_undo"


async def test_undo_by_hand_is_recorded() -> None:
    """What a person undid by hand is not undone again."""
    world = World(KEY)
    receipt = await world.act()
    await world.fails(world.fault("void", Fault(before=http_error(400))).undo(result=receipt))

    await _decide(world, Choice.SUPPLY, undo=True)

    assert await world.state() == State.UNDONE
    assert await world.undo(result=receipt) is True
    assert world.provider.calls["void"] == 1


async def test_effect_left_in_place_is_done() -> None:
    """An undo that is given up leaves a live effect, and the ledger says so with its result."""
    world = World(KEY)
    receipt = await world.act()
    await world.fails(world.fault("void", Fault(before=http_error(400))).undo(result=receipt))

    await _decide(world, Choice.SKIP, undo=True)

    row = await world.row()
    assert (row.state, row.result) == (State.DONE, b'{"charge":"ch_1"}')


async def test_unknown_effect_left_in_place_stays_unconfirmed() -> None:
    """An undo given up where nothing is known of the effect claims neither that it is there nor that it is not."""
    world = World(NEVER).fault("charge", LOST)
    await world.fails(world.act())
    await world.fails(world.undo())

    await _decide(world, Choice.SKIP, undo=True)

    assert await world.state() == State.UNDOING


async def test_effect_without_a_row_left_in_place_writes_nothing() -> None:
    """There is nothing to say about a key the ledger never saw."""
    world = World(KEY)

    await _decide(world, Choice.SKIP, undo=True)

    assert await world.state() is None


async def test_recorded_result_is_not_overruled() -> None:
    """What the ledger recorded meanwhile stays, and the decision is no failure."""
    world = World(KEY)
    await world.act()

    await _decide(world, Choice.SUPPLY, result={"charge": "by hand"})

    assert (await world.row()).result == b'{"charge":"ch_1"}'


async def test_decision_about_a_key_of_another_request_settles_nothing() -> None:
    """A key that stands for another request is left alone, and the decision is no failure."""
    world = World(KEY)
    await world.act(amount=100)

    await _decide(world, Choice.SUPPLY, undo=True, amount=200)

    assert await world.state() == State.DONE


async def test_decision_waits_for_an_attempt_at_work() -> None:
    """While an attempt holds the row a decision comes back later."""
    world = World(KEY).fault("charge", CRASH_AFTER)
    with pytest.raises(Crash):
        await world.act()

    failure = await world.fails(_decide(world, Choice.SKIP))
    await lease_over()
    await _decide(world, Choice.SKIP)

    assert (failure.reason, failure.permanent) == ("lease_live", False)
    assert await world.state() == State.VOID


async def test_decision_without_the_ledger_is_tried_again() -> None:
    """A decision that cannot be written comes back later."""
    world = World(KEY)
    world.ledger.fail(Decide)

    assert (await world.fails(_decide(world, Choice.SKIP))).reason == "ledger_unavailable"


@pytest.mark.parametrize(
    "told", [{"amount": {"value": 100, "currency": "EUR"}}, {"result": {"receipt": 7}}], ids=["request", "result"]
)
async def test_decision_that_no_longer_fits_the_contract_is_not_tried_again(told: dict[str, Any]) -> None:
    """A request or result that the contract does not read any more fails for good, and writes nothing."""
    world = World(KEY).fault("charge", LOST)
    await world.fails(world.act())
    before = await world.row()

    with pytest.raises(ApplicationError, match=r"the contract of bank\.pay changed under a decision") as caught:
        await _decide(world, Choice.SUPPLY, **told)

    assert (caught.value.type, caught.value.non_retryable) == ("bank.invalid", True)
    assert await world.row() == before


async def test_decision_with_a_result_of_the_wrong_type_is_refused() -> None:
    """A supplied result must be the operation's."""
    world = World(KEY)

    failure = await world.fails(_decide(world, Choice.SUPPLY))

    assert (failure.reason, failure.needs_person, failure.outcome) == ("invalid_result", True, Outcome.UNKNOWN)
