"""One attempt to find out whether an action happened that cannot be undone: what did stays, what did not never will.

=============================  ====================================================================================
ledger row for the key         what comes of it
=============================  ====================================================================================
none, refused                  a ``void`` tombstone: an attempt that comes late is refused
claimed, lease live            retry after the lease
claimed, lease over; unknown   looked up: found is recorded; not found after the settle time is ``void``; without a
                               look-up a person must say
done                           the recorded result
void, undone                   it never will
=============================  ====================================================================================
"""

from __future__ import annotations

import asyncio
from typing import Any

from kit.contract import Role
from kit.contract.token import REASON_UNKNOWABLE
from kit.errors import FailureKind, LedgerUnavailable, OperationFailure, OutcomeUnknown
from kit.ledger.states import ClaimAction, Claimed, Complete, Entry, Recorded, Rejected, Settled, State, Undone
from kit.worker.documents import dump, load
from kit.worker.failures import ledger_down
from kit.worker.work import Work

NEVER = frozenset({State.VOID, State.UNDONE})
"""What the ledger says of an action that will not happen any more."""


Found = tuple[bool, Any]
"""Whether an action happened, and what came of it."""


async def settle(work: Work) -> Found:
    """Find out."""
    try:
        verdict = await work.ledger.apply(ClaimAction(entry=work.entry(), now=work.attempt.now))
    except LedgerUnavailable as error:
        raise work.undo_failed(ledger_down(error)) from error
    match verdict:
        case Recorded(entry):
            found: Found = True, load(work.operation, entry.result)
        case Claimed(entry):
            found = await _find(work, entry)
        case Rejected(entry) if entry.state in NEVER:
            found = False, None
        case _:
            raise work.denied(verdict)
    work.done()
    return found


async def _find(work: Work, entry: Entry) -> Found:
    """Look the truth up under a claim, and write it down."""
    found, since = None, entry.unknown_since
    if since is not None:
        if not work.has_probe:
            await work.doubt(entry, reason=REASON_UNKNOWABLE, since=since)
            raise work.fail(work.unknowable(), needs_person=True)
        try:
            found = await work.call(Role.PROBE, work.request)
            if found is None and (waiting := work.unsettled(since)) is not None:
                raise waiting
        except asyncio.CancelledError:
            await work.doubt(entry, reason="cancelled", since=since)
            raise
        except OperationFailure as failure:
            await work.doubt(entry, reason=failure.reason, since=since)
            raise work.undo_failed(failure) from failure
        work.doubt_resolved(found=found is not None)
    now = work.attempt.now
    if found is not None:
        # It has happened, and is told in any case: without the record the row is looked up again.
        document = dump(work.operation, found)
        await work.insist(Complete(key=entry.key, owner=entry.owner, result=document, now=now), entry)
        return True, found
    verdict = await work.insist(Undone(key=entry.key, owner=entry.owner, happened=False, now=now), entry)
    if not isinstance(verdict, Settled):
        # Without the tombstone an attempt that comes late might still have the effect.
        text = f"that it did not happen could not be written down: the ledger answered {verdict!r}"
        raise work.undo_failed(OutcomeUnknown(FailureKind.UNAVAILABLE, text, reason="unrecorded"))
    return False, None
