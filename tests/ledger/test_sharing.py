"""One effect that several sagas rely on: it lives until the last of them has turned round, and no longer."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kit.errors import FailureKind
from kit.ledger import (
    REASON_AFTER_UNDO,
    Busy,
    Claimed,
    Entry,
    Ledger,
    MemoryLedger,
    Recorded,
    Rejected,
    Settled,
    State,
)
from tests.ledger._commands import RESULT, claim, complete, undo, undone

ONE, TWO, THREE = "checkout-1", "checkout-2", "checkout-3"


async def shared(ledger: Ledger) -> Entry:
    """An effect that the first saga has had, and the second was told of."""
    await ledger.apply(claim(saga=ONE, step=3))
    await ledger.apply(complete())
    told = await ledger.apply(claim(owner="b", saga=TWO, step=7))
    assert isinstance(told, Recorded)
    assert told.entry.result == RESULT
    return told.entry


async def test_who_is_told_of_an_effect_shares_it(ledger: Ledger) -> None:
    """The row is found by every saga that relies on it, at the step it is there; asking again changes nothing."""
    row = await shared(ledger)

    again = await ledger.apply(claim(owner="c", saga=TWO, step=7))

    assert again == Recorded(row)
    assert await ledger.get("k") == row
    assert row.sagas == (ONE, TWO)
    assert await ledger.of_saga(ONE) == await ledger.of_saga(TWO) == [row]
    assert (row.step_of(ONE), row.step_of(TWO)) == (3, 7)
    assert await ledger.of_saga("checkout") == []


async def test_undo_of_a_shared_effect_passes_it_on(ledger: Ledger) -> None:
    """The saga that had the effect turns round: the effect stays, and is now the other one's to undo."""
    await shared(ledger)

    first = await ledger.apply(undo(saga=ONE, result=RESULT))
    repeated = await ledger.apply(undo(owner="u1", saga=ONE, result=RESULT))
    last = await ledger.apply(undo(owner="u2", saga=TWO, result=RESULT))

    assert isinstance(first, Settled)
    assert (first.entry.state, first.entry.saga, first.entry.step) == (State.DONE, TWO, 7)
    assert repeated == first
    assert isinstance(last, Claimed)
    assert last.entry.state is State.UNDOING


async def test_undo_of_who_was_told_gives_up_the_share(ledger: Ledger) -> None:
    """The saga that was told of the effect turns round: the one that had it takes it back alone."""
    await shared(ledger)

    told = await ledger.apply(undo(saga=TWO, result=RESULT))
    owner = await ledger.apply(undo(owner="u2", saga=ONE, result=RESULT))

    assert isinstance(told, Settled)
    assert (told.entry.saga, told.entry.sagas) == (ONE, (ONE,))
    assert await ledger.of_saga(TWO) == []
    assert isinstance(owner, Claimed)


@pytest.mark.parametrize("leaver", [ONE, TWO])
async def test_who_has_left_an_effect_does_not_come_back(ledger: Ledger, leaver: str) -> None:
    """An attempt that was on its way when its saga turned round is refused, and keeps nothing alive."""
    await shared(ledger)
    await ledger.apply(undo(saga=leaver, result=RESULT))

    late = await ledger.apply(claim(owner="late", saga=leaver))

    assert isinstance(late, Rejected)
    assert (late.kind, late.reason) == (FailureKind.CONFLICT, REASON_AFTER_UNDO)


async def test_undo_that_comes_first_keeps_its_saga_out(ledger: Ledger) -> None:
    """A saga that turned round before its attempt arrived is not told of another saga's effect afterwards."""
    await ledger.apply(claim(saga=ONE))
    first = await ledger.apply(undo(saga=TWO))
    await ledger.apply(complete())

    late = await ledger.apply(claim(owner="late", saga=TWO))

    assert isinstance(first, Settled)
    assert isinstance(late, Rejected)
    row = await ledger.get("k")
    assert row is not None
    assert (row.state, row.sagas) == (State.DONE, (ONE,))


class Sharing(RuleBasedStateMachine):
    """Three sagas, one key, and what each of them has been told."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = MemoryLedger()
        self.names = 0
        self.live = False
        self.gone = False
        self.relying: set[str] = set()
        self.left: set[str] = set()

    def teardown(self) -> None:
        """Close the loop."""
        self.loop.close()

    def tell(self, command: Any, *, lost: bool) -> Any:
        """Give a command, twice if the first reply is lost: both replies must be the same."""
        verdict = self.loop.run_until_complete(self.ledger.apply(command))
        if lost:
            assert self.loop.run_until_complete(self.ledger.apply(command)) == verdict
        return verdict

    def name(self) -> str:
        """A name nobody had before."""
        self.names += 1
        return f"owner-{self.names}"

    @rule(saga=st.sampled_from([ONE, TWO, THREE]), lost=st.booleans())
    def action_asks(self, saga: str, lost: bool) -> None:
        """An attempt of the action carries it out, or is told of it."""
        owner = self.name()
        verdict = self.tell(claim(owner=owner, saga=saga), lost=lost)

        if saga in self.left or self.gone:
            assert isinstance(verdict, Rejected)
            return
        if isinstance(verdict, Claimed):
            assert not self.live
            self.live = True
            assert isinstance(self.tell(complete(owner=owner), lost=lost), Settled)
        else:
            assert isinstance(verdict, Recorded)
        self.relying.add(saga)

    @rule(saga=st.sampled_from([ONE, TWO, THREE]), lost=st.booleans())
    def undo_asks(self, saga: str, lost: bool) -> None:
        """An attempt of the undo takes the effect back, or gives up the share."""
        owner = self.name()
        verdict = self.tell(undo(owner=owner, saga=saga, result=RESULT if saga in self.relying else None), lost=lost)

        assert not isinstance(verdict, Busy | Rejected)
        last = self.relying == {saga}
        assert isinstance(verdict, Claimed) == last
        if last:
            self.live = False
            assert isinstance(self.tell(undone(owner=owner), lost=lost), Settled)
        self.gone = self.gone or last or not (self.live or self.relying)
        self.relying.discard(saga)
        self.left.add(saga)

    @invariant()
    def the_effect_lives_as_long_as_somebody_relies_on_it(self) -> None:
        """Neither is it pulled from under a saga, nor is it left when nobody needs it."""
        assert self.live == bool(self.relying)


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=100, stateful_step_count=15)
