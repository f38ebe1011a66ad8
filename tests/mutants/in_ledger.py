"""Faults in the guard, seeded where it meets its ledger: ledgers that break one of the rules each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kit.ledger import MemoryLedger
from kit.ledger.rules import decide
from kit.ledger.states import (
    ClaimAction,
    ClaimUndo,
    Command,
    Complete,
    Doubt,
    Entry,
    Release,
    Settled,
    State,
    Undone,
    Verdict,
)
from tests.mutants.seeding import Mutant


class _Ledger(MemoryLedger):
    """Rows as the original's, and answers as a fault has them."""

    def _write(self, row: Entry) -> None:
        self._rows[row.key] = row

    def _usual(self, command: Command) -> Verdict:
        row, verdict = decide(self._rows.get(command.key), command)
        if row is not None:
            self._write(row)
        return verdict


class Forgetful(_Ledger):
    """An exception deletes the claim."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, Doubt) and row is not None:
            del self._rows[command.key]
            return Settled(row)
        return self._usual(command)


class Unfenced(_Ledger):
    """Whoever comes with a result has it written down, whatever has become of the row meanwhile."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, Complete) and row is not None:
            done = replace(
                row,
                state=State.DONE,
                result=command.result,
                lease_until=None,
                unknown_since=None,
                updated_at=command.now,
            )
            self._write(done)
            return Settled(done)
        return self._usual(command)


class Unleased(_Ledger):
    """A claim keeps nobody out."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, ClaimAction | ClaimUndo) and row is not None and row.state is State.CLAIMED:
            self._write(replace(row, state=State.REFUSED, lease_until=None, unknown_since=None))
        return self._usual(command)


class Leaky(_Ledger):
    """A lease that is over means that nothing has happened."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        claims = isinstance(command, ClaimAction | ClaimUndo)
        if claims and row is not None and row.state is State.CLAIMED and _over(row, command):
            self._write(replace(row, state=State.REFUSED, lease_until=None, unknown_since=None))
        return self._usual(command)


def _over(row: Entry, command: Command) -> bool:
    return row.lease_until is not None and row.lease_until <= command.now


class Credulous(_Ledger):
    """A clean refusal clears the doubt that an earlier attempt has left."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        return self._usual(replace(command, certain=True) if isinstance(command, Release) else command)


class Silent(_Ledger):
    """The result is said to be recorded, and is not."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, Complete) and row is not None:
            del self._rows[command.key]
            return Settled(row)
        return self._usual(command)


class Tombless(_Ledger):
    """An undo that finds nothing leaves no tombstone."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        verdict = self._usual(command)
        row = self._rows.get(command.key)
        if isinstance(command, ClaimUndo | Undone) and row is not None and row.state is State.VOID:
            del self._rows[command.key]
        return verdict


class Premature(_Ledger):
    """The undo is recorded when it is claimed, before it has happened."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        verdict = self._usual(command)
        row = self._rows.get(command.key)
        if isinstance(command, ClaimUndo) and row is not None and row.state is State.UNDOING:
            self._write(replace(row, state=State.UNDONE, lease_until=None, unknown_since=None))
        return verdict


class Sharing(_Ledger):
    """Any run may undo any other run's effect."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, ClaimUndo) and row is not None and row.saga != command.entry.saga:
            self._write(replace(row, saga=command.entry.saga))
        return self._usual(command)


class PerRun(_Ledger):
    """Rows are kept per run: the same key of another run is another row."""

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See base class."""
        row = self._rows.get(command.key)
        if isinstance(command, ClaimAction) and row is not None and row.saga != command.entry.saga:
            del self._rows[command.key]
        return self._usual(command)


class Overlooking(_Ledger):
    """Of a run's effects only those are listed that are known to have happened."""

    async def of_saga(self, saga: str) -> list[Entry]:
        """See base class."""
        return [row for row in await super().of_saga(saga) if row.state is State.DONE]


def _fault(
    name: str,
    story: str,
    ledger: Callable[[], MemoryLedger],
    *,
    caught: str | None = None,
    breaks: str = "",
    equivalent: str | None = None,
) -> Mutant:
    return Mutant(name=name, story=story, ledger=ledger, caught=caught, breaks=breaks, equivalent=equivalent)


IN_LEDGER: Final = (
    _fault(
        "exception_frees_the_key",
        "An attempt that raises gives its claim back, whatever it raised.",
        Forgetful,
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    _fault(
        "missing_fence",
        "A result is recorded without asking who holds the row.",
        Unfenced,
        caught="inventory.reserve#1:stalled+payments.authorize#1:refused",
        breaks="the ledger says what is true",
    ),
    _fault(
        "no_lease",
        "Claims do not keep others out: 'two at once never happens'.",
        Unleased,
        caught="inventory.reserve#1:started_again",
        breaks="no order has an effect twice",
    ),
    _fault(
        "expired_lease_means_nothing_happened",
        "A claim whose time is over is simply taken again.",
        Leaky,
        caught="inventory.reserve#1:crash_after",
        breaks="no order has an effect twice",
    ),
    _fault(
        "refusal_clears_the_doubt",
        "A decline after a timeout is taken for the whole truth.",
        Credulous,
        caught="payments.authorize#1:late_after_undo+payments.authorize#2:refused",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "result_not_recorded",
        "The result is recorded by a background job that nobody started.",
        Silent,
        caught="email.send_receipt#1:crash_recorded",
        breaks="no order has an effect twice",
    ),
    _fault(
        "no_tombstone",
        "An undo that finds nothing writes nothing: 'why keep rows of nothing'.",
        Tombless,
        equivalent="a saga undoes what is settled, and a late request asks no ledger. What the tombstone stops is an "
        "attempt that froze before it asked, and wakes up after its undo: no fault of a sweep does that, and the tests "
        "of the guard do (`test_action_after_its_tombstone_is_refused`). Nor does a termination: the unwind reads the "
        "ledger when no attempt of the run can ask any more",
    ),
    _fault(
        "undo_recorded_before_it_happened",
        "The undo is marked as done first, then carried out.",
        Premature,
        caught="payments.authorize#1:replies_lost",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "undo_of_another_runs_effect",
        "A run undoes the effect under its key, whoever's it is.",
        Sharing,
        caught="inventory.reserve#1:started_again+payments.capture#1:cancel_before",
        breaks="completed means every effect is there",
    ),
    _fault(
        "ledger_per_run",
        "Each run has its own rows: the key is looked up per workflow id.",
        PerRun,
        caught="inventory.reserve#1:started_again",
        breaks="the ledger says what is true",
    ),
    _fault(
        "doubts_not_listed",
        "What a terminated run has done is read from the rows that say 'done': the others have not happened.",
        Overlooking,
        caught="payments.authorize#1:reply_lost+payments.authorize#1:terminated",
        breaks="terminated, then unwound: nothing is left",
    ),
)
