"""``BY_TRANSACTION``: claim, effect and record in one transaction of the service's own database.

There is no instant between effect and record, so there is no doubt: either the row is there or nothing happened. Only
a commit whose reply is lost is unknown, and the next attempt reads the row. Whatever fails before the commit is rolled
back with everything it wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from temporalio.exceptions import ApplicationError

from kit.contract import Role, Undo
from kit.errors import FailureKind, LedgerUnavailable, OperationFailure, Outcome, OutcomeUnknown
from kit.ledger.states import (
    ClaimAction,
    Claimed,
    ClaimUndo,
    Complete,
    Entry,
    Recorded,
    Rejected,
    Settled,
    State,
    Undone,
    Verdict,
)
from kit.worker.context import Call, current_call
from kit.worker.documents import dump, load
from kit.worker.failures import classify, ledger_down
from kit.worker.settling import NEVER, Found
from kit.worker.undoing import require_undo
from kit.worker.work import Work

if TYPE_CHECKING:  # only connectors with a database need a SQL library
    from sqlalchemy.ext.asyncio import AsyncConnection

    from kit.ledger import TransactionalLedger


async def act(work: Work) -> Any:
    """Carry the action out and record it, or answer from the record."""
    left = work.outcome_before  # until the row is read, an earlier attempt's commit may have happened
    try:
        async with _transaction(work) as (database, tx):
            verdict = await database.apply_in(tx, ClaimAction(entry=work.entry(), now=work.attempt.now))
            left = Outcome.NOT_STARTED if isinstance(verdict, Claimed) else Outcome.UNKNOWN
            if isinstance(verdict, Claimed):  # no earlier attempt committed, and this one has not yet
                result = await _carry_out(work, database, tx, verdict.entry)
                left = Outcome.UNKNOWN  # from here on the commit may happen
    except OperationFailure as failure:
        refused = left is Outcome.NOT_STARTED and failure.outcome is Outcome.REFUSED
        raise work.fail(failure, outcome=Outcome.REFUSED if refused else left) from failure
    match verdict:
        case Claimed():
            work.done()
            return result
        case Recorded(entry):
            return work.recorded(entry)
        case _:
            raise work.denied(verdict)


async def _carry_out(work: Work, database: TransactionalLedger, tx: AsyncConnection, entry: Entry) -> Any:
    result = await work.call(Role.ACTION, work.request, tx)
    document = dump(work.operation, result)
    done = Complete(key=entry.key, owner=entry.owner, result=document, now=work.attempt.now)
    _require_settled(await database.apply_in(tx, done, expected=entry))
    return result


async def undo(work: Work, *, known: bytes | None, alone: bool = False) -> bool:
    """Undo the action and record that, or leave a tombstone."""
    try:
        async with _transaction(work) as (database, tx):
            ask = ClaimUndo(entry=work.entry(result=known), now=work.attempt.now, alone=alone)
            verdict = await database.apply_in(tx, ask)
            match verdict:
                case Settled(entry):
                    happened = entry.state is State.UNDONE
                case Claimed(entry):
                    happened = True
                    require_undo(work)
                    result = load(work.operation, entry.result)
                    await work.call(Role.COMPENSATION, Undo(work.request, result), tx)
                    undone = Undone(key=entry.key, owner=entry.owner, happened=True, now=work.attempt.now)
                    _require_settled(await database.apply_in(tx, undone, expected=entry))
                case _:
                    raise work.denied(verdict)
    except OperationFailure as failure:
        raise work.undo_failed(failure) from failure
    return work.undo_done(happened=happened)


async def settle(work: Work) -> Found:
    """Find out whether the action happened: what did stays, and for what did not a tombstone is left."""
    try:
        async with _transaction(work) as (database, tx):
            verdict = await database.apply_in(tx, ClaimAction(entry=work.entry(), now=work.attempt.now))
            if isinstance(verdict, Claimed):
                entry = verdict.entry
                never = Undone(key=entry.key, owner=entry.owner, happened=False, now=work.attempt.now)
                _require_settled(await database.apply_in(tx, never, expected=entry))
    except OperationFailure as failure:
        raise work.undo_failed(failure) from failure
    match verdict:
        case Recorded(entry):
            found: Found = True, load(work.operation, entry.result)
        case Claimed():
            found = False, None
        case Rejected(entry) if entry.state in NEVER:
            found = False, None
        case _:
            raise work.denied(verdict)
    work.done()
    return found


def _require_settled(verdict: Verdict) -> None:
    """An effect without its row must not commit."""
    if not isinstance(verdict, Settled):
        raise OutcomeUnknown(FailureKind.BUG, f"the ledger answered {verdict!r} to a record", reason="unrecorded")


@asynccontextmanager
async def _transaction(work: Work) -> AsyncIterator[tuple[TransactionalLedger, AsyncConnection]]:
    """A transaction that ends with the attempt; whatever the database raises comes out classified."""
    database = work.connector.database
    if database is None:
        raise OutcomeUnknown(FailureKind.BUG, f"{type(work.connector).__name__} has no database", reason="no_database")
    left = max((work.attempt.cut_off - work.attempt.now).total_seconds(), 0.001)
    cut = asyncio.timeout(left)
    # The effect is made by the commit, so the whole transaction is the call, and not only the connector's method.
    reset = current_call.set(Call(work.operation, work.role, work.token, lambda: work.attempt.now))
    try:
        async with cut, database.begin() as tx:
            yield database, tx
    except (OperationFailure, ApplicationError):
        raise
    except LedgerUnavailable as error:
        raise ledger_down(error) from error
    except Exception as error:  # a database driver may raise anything, and all of it is classified and raised again
        if isinstance(error, TimeoutError) and cut.expired():
            raise OutcomeUnknown(FailureKind.TIMEOUT, f"no answer of the database within {left:.1f} s") from error
        raise classify(work.connector, work.operation, error) from error
    finally:
        current_call.reset(reset)
