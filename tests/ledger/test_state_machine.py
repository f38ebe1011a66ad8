"""Several owners race over one key, against a model of the world instead of a copy of the rules.

The model knows what the ledger cannot: how many effects are live outside. Its attempts behave as the guard does. They
act only after ``Claimed`` and while their lease lasts; in doubt they look before they act; then they write down what
they know. Between any two of these moments they may stop for ever (a crash), come late (a lease that is over), or lose
a reply (the command is repeated). The provider is the worst kind: without idempotency keys, every request it carries
out is one more effect. A person decides by the truth.

What every command must answer is written down anew from the guard's table; what must hold in the world are the
invariants.
"""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kit.errors import FailureKind
from kit.ledger import (
    REASON_AFTER_UNDO,
    SETTLED_STATES,
    Busy,
    Claimed,
    Command,
    Entry,
    Ledger,
    Lost,
    MemoryLedger,
    Recorded,
    Rejected,
    Settled,
    SqliteLedger,
    State,
    Verdict,
)
from tests.ledger._commands import (
    LEASE,
    RESULT,
    at,
    claim,
    complete,
    decision,
    doubt,
    release,
    release_undo,
    undo,
    undone,
)


class Row(Enum):
    """The rows of the guard's table, by what is known about the key."""

    NONE = auto()
    ACTION = auto()
    """An attempt of the action has it, until its lease is over."""
    UNDO = auto()
    """An attempt of the undo has it, until its lease is over or it lets go."""
    DOUBT = auto()
    FREE = auto()
    DONE = auto()
    OVER = auto()
    """Undone, or never to happen."""


class Reply(Enum):
    """What comes of a request."""

    DONE = auto()
    DONE_UNHEARD = auto()
    REFUSED = auto()
    NOTHING = auto()
    """No effect and no reply."""


@dataclass(eq=False)
class Attempt:
    """What one worker remembers of its attempt."""

    owner: str
    undoing: bool
    lease_until: float
    in_doubt: bool
    seen: Entry
    acted: bool = False
    knows: bool | None = None
    """Whether there is (for an undo: was) an effect; ``None``: no idea."""
    looked: bool = False
    wrote: Command | None = None


class World(RuleBasedStateMachine):
    """One key, its effects outside, and everybody who works on it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = self.make()
        self.run(self.ledger.open())
        self.now = 0.0
        self.names = 0
        self.effects = 0
        self.row = Row.NONE
        self.doubt = False
        self.undo_began = False
        self.result: bytes | None = None
        self.attempts: list[Attempt] = []
        self.holder: Attempt | None = None
        self.last_writer: Attempt | None = None

    def make(self) -> Ledger:
        """The ledger under test."""
        return MemoryLedger()

    def run(self, what: Any) -> Any:
        """Wait for it."""
        return self.loop.run_until_complete(what)

    def teardown(self) -> None:
        """Close the ledger and the loop."""
        self.run(self.ledger.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def tell(self, command: Command, *, seen: Entry | None = None, lost: bool) -> Verdict:
        """Give a command, twice if the first reply is lost: both replies must be the same."""
        verdict: Verdict = self.run(self.ledger.apply(command, expected=seen))
        if lost:
            assert self.run(self.ledger.apply(command, expected=seen)) == verdict
        return verdict

    def live(self) -> bool:
        """Whether somebody holds the row and its lease is not over."""
        return self.holder is not None and self.holder.lease_until > self.now

    def name(self) -> str:
        """A name nobody had before."""
        self.names += 1
        return f"owner-{self.names}"

    # --- asking -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE]))
    def time_passes(self, seconds: float) -> None:
        """Leases come to their end; nobody is told."""
        self.now += seconds

    @rule(lost=st.booleans())
    def action_asks(self, lost: bool) -> None:
        """An attempt of the action: the first, a retry, or one that was delayed until everything was over."""
        owner = self.name()
        verdict = self.tell(claim(owner=owner, now=self.now), lost=lost)

        match self.row:
            case Row.UNDO | Row.OVER:
                assert isinstance(verdict, Rejected)
                assert (verdict.kind, verdict.reason) == (FailureKind.CONFLICT, REASON_AFTER_UNDO)
            case Row.DONE:
                assert isinstance(verdict, Recorded)
                assert verdict.entry.result == self.result
            case Row.ACTION if self.live():
                self.must_wait(verdict)
            case _:
                assert not self.undo_began
                self.enter(verdict, owner, Row.ACTION)

    @rule(lost=st.booleans(), known=st.sampled_from([None, RESULT]))
    def undo_asks(self, lost: bool, known: bytes | None) -> None:
        """An attempt of the undo, perhaps before the action ever arrived, perhaps with the action's result in hand."""
        owner = self.name()
        verdict = self.tell(undo(owner=owner, now=self.now, result=known), lost=lost)

        match self.row:
            case Row.NONE | Row.FREE if known is None:
                assert isinstance(verdict, Settled)
                self.row, self.undo_began, self.last_writer = Row.OVER, True, None
            case Row.OVER:
                assert isinstance(verdict, Settled)
            case Row.ACTION | Row.UNDO if self.live():
                self.must_wait(verdict)
            case _:
                self.enter(verdict, owner, Row.UNDO)
                self.undo_began = True

    def must_wait(self, verdict: Verdict) -> None:
        """Somebody is at work: the answer says until when."""
        assert self.holder is not None
        assert isinstance(verdict, Busy)
        assert verdict.until == at(self.holder.lease_until)

    def enter(self, verdict: Verdict, owner: str, row: Row) -> None:
        """A new attempt has the row. It has to be told of every doubt, and of none that is not."""
        self.doubt = self.doubt or self.row is Row.ACTION  # its attempt has not been heard of again
        assert isinstance(verdict, Claimed)
        in_doubt = verdict.entry.unknown_since is not None
        assert in_doubt == self.doubt
        self.row = row
        self.holder = Attempt(owner, row is Row.UNDO, self.now + LEASE, in_doubt, verdict.entry)
        self.last_writer = None
        self.attempts.append(self.holder)

    @rule(ask=st.sampled_from([claim, undo]))
    def another_request_asks(self, ask: Any) -> None:
        """The key comes back with another request."""
        if self.row is Row.NONE:
            return
        verdict = self.tell(ask(owner=self.name(), now=self.now, fingerprint="other"), lost=False)

        assert isinstance(verdict, Rejected)
        assert verdict.kind is FailureKind.KEY_REUSED

    # --- acting outside ---------------------------------------------------------------------------

    @rule(data=st.data(), reply=st.sampled_from(Reply))
    def action_acts(self, data: st.DataObject, reply: Reply) -> None:
        """An attempt that believes it has the row sends its request; in doubt it looks first."""
        attempt = self.pick(data, undoing=False, acted=False)
        if attempt is None:
            return
        attempt.acted = True
        if attempt.in_doubt:
            attempt.looked = True
            if self.effects:
                attempt.knows = True
                return
        if reply in {Reply.DONE, Reply.DONE_UNHEARD}:
            self.effects += 1
        attempt.knows = {Reply.DONE: True, Reply.REFUSED: False}.get(reply)

    @rule(data=st.data())
    def undo_acts(self, data: st.DataObject) -> None:
        """An attempt of the undo looks, and takes back what there is."""
        attempt = self.pick(data, undoing=True, acted=False)
        if attempt is not None:
            attempt.acted, attempt.knows, self.effects = True, self.effects > 0, 0

    def pick(self, data: st.DataObject, *, undoing: bool, acted: bool) -> Attempt | None:
        """An attempt whose lease is not over, by its own clock: the guard acts within its lease."""
        ready = [
            one
            for one in self.attempts
            if one.undoing is undoing and one.acted is acted and not one.wrote and one.lease_until > self.now
        ]
        return data.draw(st.sampled_from(ready)) if ready else None

    # --- writing it down --------------------------------------------------------------------------

    @rule(data=st.data(), lost=st.booleans(), hint=st.booleans())
    def attempt_writes(self, data: st.DataObject, lost: bool, hint: bool) -> None:
        """Some attempt writes down what it knows: in time, late, or long after it was superseded."""
        waiting = [one for one in self.attempts if one.wrote is None]
        if not waiting:
            return
        attempt = data.draw(st.sampled_from(waiting))
        command = attempt.wrote = self.report(attempt)

        verdict = self.tell(command, seen=attempt.seen if hint else None, lost=lost)

        if self.holder is not attempt:
            assert isinstance(verdict, Lost), "an attempt wrote to a row it does not have"
            return
        assert isinstance(verdict, Settled)
        self.holder, self.last_writer = None, attempt
        if attempt.undoing:
            if attempt.acted:
                self.row, self.doubt = Row.OVER, False
        elif attempt.knows:
            self.row, self.doubt, self.result = Row.DONE, False, verdict.entry.result
        elif attempt.acted and attempt.knows is None:
            self.row, self.doubt = Row.DOUBT, True
        else:
            self.doubt = self.doubt and not attempt.looked
            self.row = Row.DOUBT if self.doubt else Row.FREE

    def report(self, attempt: Attempt) -> Command:
        """What the attempt has to say."""
        owner = attempt.owner
        if attempt.undoing:
            if not attempt.acted:
                return release_undo(owner=owner, now=self.now)
            return undone(owner=owner, now=self.now, happened=bool(attempt.knows))
        if attempt.knows:
            return complete(owner=owner, now=self.now, result=f'"{owner}"'.encode())
        if attempt.acted and attempt.knows is None:
            return doubt(owner=owner, now=self.now, since=self.now)
        return release(owner=owner, now=self.now, certain=attempt.looked)

    @rule(data=st.data(), hint=st.booleans())
    def attempt_repeats_itself(self, data: st.DataObject, hint: bool) -> None:
        """A write whose reply was lost arrives again, much later."""
        done = [one for one in self.attempts if one.wrote is not None]
        if not done:
            return
        attempt = data.draw(st.sampled_from(done))
        assert attempt.wrote is not None

        verdict = self.tell(attempt.wrote, seen=attempt.seen if hint else None, lost=False)

        assert isinstance(verdict, Settled if self.last_writer is attempt else Lost)

    @rule(data=st.data(), lost=st.booleans())
    def person_decides(self, data: st.DataObject, lost: bool) -> None:
        """A person has looked at the world and says what is true."""
        truths = [State.DONE] if self.effects else [State.VOID, State.UNDONE, State.REFUSED]
        state = data.draw(st.sampled_from(truths))
        result = b'"by hand"'

        verdict = self.tell(decision(state, now=self.now, result=result), lost=lost)

        if self.live():
            self.must_wait(verdict)
            return
        if self.row is Row.DONE:
            same = self.result == result
            assert isinstance(verdict, Settled if same else Recorded)
            return
        assert isinstance(verdict, Settled)
        reopens = state is State.REFUSED and not self.undo_began
        if state is State.DONE:
            self.row, self.result = Row.DONE, result
        else:
            self.row = Row.FREE if reopens else Row.OVER
            self.undo_began = not reopens
        self.doubt, self.holder, self.last_writer = False, None, None

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def at_most_one_effect_is_live(self) -> None:
        """However often it was tried, the world has the effect once."""
        assert self.effects <= 1

    @invariant()
    def at_most_one_owner_believes_in_its_lease(self) -> None:
        """Nobody else goes ahead while an attempt may still be acting."""
        believers = [one for one in self.attempts if one.lease_until > self.now and not one.wrote]
        assert len(believers) <= 1

    @invariant()
    def what_is_settled_is_true(self) -> None:
        """A settled row says what is true in the world, and is not settled while there is doubt."""
        row: Entry | None = self.run(self.ledger.get("k"))
        if row is None or row.state not in SETTLED_STATES:
            return
        assert self.effects == (1 if row.state is State.DONE else 0)
        assert not self.doubt
        if row.state is State.DONE:
            assert row.result == self.result


class SqliteWorld(World):
    """The same world on a file."""

    def make(self) -> Ledger:
        """A fresh file, already migrated."""
        self.folder = tempfile.TemporaryDirectory(prefix="kit-world-")
        path = Path(self.folder.name) / "ledger.db"
        path.write_bytes(migrated_file())
        return SqliteLedger(path)

    def teardown(self) -> None:
        """Remove the file too."""
        super().teardown()
        self.folder.cleanup()


@cache
def migrated_file() -> bytes:
    """An empty ledger's file."""

    async def make(path: Path) -> None:
        async with SqliteLedger(path):
            pass

    folder = Path(tempfile.mkdtemp(prefix="kit-world-"))
    try:
        asyncio.run(make(folder / "ledger.db"))
        return (folder / "ledger.db").read_bytes()
    finally:
        shutil.rmtree(folder)


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]

TestMemoryWorld = pytest.mark.slow(World.TestCase)
TestMemoryWorld.settings = settings(max_examples=150, stateful_step_count=40, suppress_health_check=QUIET)

TestSqliteWorld = pytest.mark.slow(SqliteWorld.TestCase)
TestSqliteWorld.settings = settings(max_examples=25, stateful_step_count=40, suppress_health_check=QUIET)
