"""The one function that decides what may happen next with an effect.

The guard's table is written here once, as pure functions over a row. Every store (memory, SQLite,
PostgreSQL, a service's own database) applies the same functions atomically; none has rules of its own.

=============================  =======================================  =====================================
row for the key                an attempt of the action asks            an attempt of the undo asks
=============================  =======================================  =====================================
none                           ``Claimed``                              ``Settled``: a ``void`` tombstone [1]_
claimed, lease live            ``Busy`` until the lease ends            ``Busy`` until the lease ends
claimed, lease over; unknown   ``Claimed`` in doubt                     ``Claimed`` in doubt
done, same fingerprint         ``Recorded``: the result again [2]_      ``Claimed``; shared: ``Settled`` [2]_
any, other fingerprint         ``Rejected`` (``key_reused``)            ``Rejected`` (``key_reused``)
refused                        ``Claimed``                              ``Settled``: ``void`` [1]_
any, held by another saga      as above                                 ``Settled``: not this saga's to undo [2]_
any, this saga has left it     ``Rejected``: came after its undo        ``Settled``
undoing                        ``Rejected``: came after its undo        ``Claimed`` when no live lease
void, undone                   ``Rejected``: came after its undo        ``Settled``
=============================  =======================================  =====================================

.. [1] Unless the asker holds the action's recorded result (from the workflow's history): then the ledger has
   lost the row or what it said last, and a tombstone would leave a live effect behind. The undo is claimed
   instead.

.. [2] A saga that is answered with the effect of another one shares it: the business means one effect, and both
   runs rely on it. The undo of one of them then only gives its share up, and the effect passes to the next; the last
   one takes it back. Without this the run that had the effect would pull it from under the run that was told of it.
   A saga that means to have another effect in its stead (``alone``) is ``Rejected`` while this one stands or may stand
   for another saga, and leaves a tombstone for all of them where it was refused: else there would be two.

Every later write is fenced: it takes effect only while the row is still held by the attempt that claimed it.
A repeated write by the same attempt (its first reply was lost) is answered like the first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from kit.contract.token import REASON_SHARED
from kit.errors import FailureKind
from kit.ledger.states import (
    REASON_AFTER_UNDO,
    REASON_KEY_REUSED,
    Busy,
    ClaimAction,
    Claimed,
    ClaimUndo,
    Command,
    Complete,
    Decide,
    Doubt,
    Entry,
    Lost,
    Recorded,
    Rejected,
    Release,
    ReleaseUndo,
    Settled,
    Share,
    State,
    Undone,
    Verdict,
)


def decide(current: Entry | None, command: Command) -> tuple[Entry | None, Verdict]:
    """Apply one command to one row.

    Args:
        current: The row as it stands, or ``None``.
        command: What is asked.

    Returns:
        The row to write (``None``: write nothing) and the answer. A written row has ``revision`` one higher
        than ``current`` (1 when new): stores may use it to compare and swap.
    """
    match command:
        case ClaimAction():
            return _claim_action(current, command)
        case ClaimUndo():
            return _claim_undo(current, command)
        case Decide():
            return _decide(current, command)
        case _:
            return _settle(current, command)


def _held(entry: Entry, now: datetime) -> bool:
    return entry.lease_until is not None and entry.lease_until > now


def _doubt_of(entry: Entry) -> datetime | None:
    """Since when the action's outcome is unknown, counting a lease that ran out."""
    if entry.state is State.CLAIMED and entry.lease_until is not None:
        return max(entry.lease_until, entry.unknown_since or entry.lease_until)
    return entry.unknown_since


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later end of two retentions; ``None`` is never."""
    return None if one is None or other is None else max(one, other)


def _take(current: Entry, candidate: Entry, *, state: State, now: datetime) -> Entry:
    """``current`` taken over by the attempt that ``candidate`` describes: from now on it is that saga's effect."""
    return replace(
        current,
        state=state,
        saga=candidate.saga,
        run_id=candidate.run_id,
        step=candidate.step,
        correlation_id=candidate.correlation_id,
        owner=candidate.owner,
        lease_until=candidate.lease_until,
        attempts=current.attempts + 1,
        unknown_since=_doubt_of(current),
        expires_at=_later(current.expires_at, candidate.expires_at),
        updated_at=now,
        revision=current.revision + 1,
    )


def _claim_action(current: Entry | None, ask: ClaimAction) -> tuple[Entry | None, Verdict]:
    new = ask.entry
    if current is None:
        fresh = new.state is State.CLAIMED and new.revision == 1  # the usual case, and a copy costs
        entry = new if fresh else replace(new, state=State.CLAIMED, revision=1)
        return entry, Claimed(entry)
    if current.fingerprint != new.fingerprint:
        return None, Rejected(current, FailureKind.KEY_REUSED, REASON_KEY_REUSED)
    if _has_left(current, new.saga):
        return None, Rejected(current, FailureKind.CONFLICT, REASON_AFTER_UNDO)
    match current.state:
        case State.DONE:
            shared = _share(current, new, now=ask.now)
            return shared, Recorded(shared or current)
        case State.UNDOING | State.UNDONE | State.VOID:
            return None, Rejected(current, FailureKind.CONFLICT, REASON_AFTER_UNDO)
        case State.CLAIMED if current.owner == new.owner and _held(current, ask.now):
            return None, Claimed(current)
        case State.CLAIMED if current.lease_until is not None and _held(current, ask.now):
            return None, Busy(current, current.lease_until)
        case _:  # claimed with the lease over, unknown, refused
            entry = _take(current, new, state=State.CLAIMED, now=ask.now)
            return entry, Claimed(entry)


def _share(current: Entry, new: Entry, *, now: datetime) -> Entry | None:
    """The row with one more saga that relies on its effect; ``None`` when it does so already."""
    if new.saga in current.sagas:
        return None
    return replace(
        current,
        shared=(*current.shared, _share_of(new)),
        expires_at=_later(current.expires_at, new.expires_at),
        updated_at=now,
        revision=current.revision + 1,
    )


def _leave(current: Entry, asker: Entry, *, now: datetime) -> Entry | None:
    """The row of another saga, or shared with one, after this saga's undo; ``None`` when it has left before."""
    saga = asker.saga
    if _has_left(current, saga):
        return None
    others = tuple(share for share in current.shared if share.saga != saga)
    if saga != current.saga:
        gone = _share_of(asker, left=True)
        return replace(current, shared=(*others, gone), updated_at=now, revision=current.revision + 1)
    heir = next(share for share in others if not share.left)
    return replace(
        current,
        saga=heir.saga,
        run_id=heir.run_id,
        step=heir.step,
        correlation_id=heir.correlation_id,
        shared=(*(share for share in others if share is not heir), _share_of(current, left=True)),
        updated_at=now,
        revision=current.revision + 1,
    )


def _has_left(current: Entry, saga: str) -> bool:
    return any(share.left and share.saga == saga for share in current.shared)


def _share_of(entry: Entry, *, left: bool = False) -> Share:
    return Share(saga=entry.saga, run_id=entry.run_id, step=entry.step, correlation_id=entry.correlation_id, left=left)


_GONE = frozenset({State.VOID, State.UNDONE})
"""States of an effect that is not there and never will be."""


def _claim_undo(current: Entry | None, ask: ClaimUndo) -> tuple[Entry | None, Verdict]:
    new = ask.entry
    if current is None:
        if new.result is not None:
            entry = replace(new, state=State.UNDOING, revision=1)
            return entry, Claimed(entry)
        entry = replace(new, state=State.VOID, lease_until=None, revision=1)
        return entry, Settled(entry)
    if current.fingerprint != new.fingerprint:
        return None, Rejected(current, FailureKind.KEY_REUSED, REASON_KEY_REUSED)
    others = current.saga != new.saga or len(current.sagas) > 1
    if others and ask.alone and current.state is not State.REFUSED and current.state not in _GONE:
        return None, Rejected(current, FailureKind.CONFLICT, REASON_SHARED)
    if others and not (ask.alone and current.state is State.REFUSED):
        left = _leave(current, new, now=ask.now)
        return left, Settled(left or current)
    match current.state:
        case State.VOID | State.UNDONE:
            return None, Settled(current)
        case State.REFUSED if new.result is None:
            entry = replace(_take(current, new, state=State.VOID, now=ask.now), lease_until=None, unknown_since=None)
            return entry, Settled(entry)
        case State.UNDOING if current.owner == new.owner and _held(current, ask.now):
            return None, Claimed(current)
        case State.CLAIMED | State.UNDOING if current.lease_until is not None and _held(current, ask.now):
            return None, Busy(current, current.lease_until)
        case _:  # done, unknown, claimed or undoing with the lease over; refused, but the asker knows better
            entry = _take(current, new, state=State.UNDOING, now=ask.now)
            if current.result is None:  # recording it had failed, and the asker knows it from the history
                entry = replace(entry, result=new.result)
            return entry, Claimed(entry)


_OPEN_STATES = frozenset({State.CLAIMED, State.UNKNOWN, State.REFUSED})
"""States in which the action is not known to have happened and no undo has begun."""


def _decide(current: Entry | None, ask: Decide) -> tuple[Entry | None, Verdict]:
    new = ask.entry
    if current is None:
        entry = replace(new, lease_until=None, unknown_since=None, revision=1)
        return entry, Settled(entry)
    if current.fingerprint != new.fingerprint:
        return None, Rejected(current, FailureKind.KEY_REUSED, REASON_KEY_REUSED)
    if current.lease_until is not None and _held(current, ask.now):
        return None, Busy(current, current.lease_until)
    if current.state is State.DONE and new.state is State.DONE:
        return None, Settled(current) if current.result == new.result else Recorded(current)
    if current.saga != new.saga:
        return None, Settled(current)  # another saga has had the effect since: it is not this one's to decide about
    if current.state is State.DONE and new.state in (State.REFUSED, State.VOID):
        return None, Recorded(current)  # it has happened after all: the word of who saw nothing must not hide it
    state = new.state
    if state is State.REFUSED and current.state not in _OPEN_STATES:
        state = State.VOID  # no effect; but what was undone once must not be claimed again
    if current.state is state and current.owner == new.owner:
        return None, Settled(current)  # decided before, and the reply was lost
    entry = replace(
        current,
        state=state,
        result=new.result if state is State.DONE else current.result,
        owner=new.owner,
        lease_until=None,
        unknown_since=None,
        reason=new.reason,
        expires_at=_later(current.expires_at, new.expires_at),
        updated_at=ask.now,
        revision=current.revision + 1,
    )
    return entry, Settled(entry)


_SOURCES: dict[type[Command], frozenset[State]] = {
    Complete: frozenset({State.CLAIMED, State.UNKNOWN}),
    Release: frozenset({State.CLAIMED}),
    Doubt: frozenset({State.CLAIMED}),
    # Claimed: whoever holds the action and has found that it did not happen gives it up, for good.
    Undone: frozenset({State.UNDOING, State.CLAIMED}),
    ReleaseUndo: frozenset({State.UNDOING}),
}
_TARGETS: dict[type[Command], frozenset[State]] = {
    Complete: frozenset({State.DONE}),
    Release: frozenset({State.REFUSED, State.UNKNOWN}),
    Doubt: frozenset({State.UNKNOWN}),
    Undone: frozenset({State.UNDONE, State.VOID}),
    ReleaseUndo: frozenset({State.UNDOING}),
}
"""From and to which states each fenced write leads."""


def _settle(
    current: Entry | None, command: Complete | Release | Doubt | Undone | ReleaseUndo
) -> tuple[Entry | None, Verdict]:
    if current is None or current.owner != command.owner:
        return None, Lost(current)
    if current.lease_until is None and current.state in _TARGETS[type(command)]:
        return None, Settled(current)  # the same attempt wrote before and the reply was lost
    if current.state not in _SOURCES[type(command)]:
        return None, Lost(current)
    entry = replace(
        current,
        lease_until=None,
        updated_at=command.now,
        revision=current.revision + 1,
        **_changes(current, command),
    )
    return entry, Settled(entry)


def _changes(current: Entry, command: Complete | Release | Doubt | Undone | ReleaseUndo) -> dict[str, Any]:
    """What a fenced write says about the effect, beside giving up the lease."""
    match command:
        case Complete():
            return {"state": State.DONE, "result": command.result, "unknown_since": None, "reason": None}
        case Release():
            doubt = None if command.certain else current.unknown_since
            state = State.REFUSED if doubt is None else State.UNKNOWN
            return {"state": state, "unknown_since": doubt, "reason": command.reason}
        case Doubt():
            since = max(command.since, current.unknown_since or command.since)
            return {"state": State.UNKNOWN, "unknown_since": since, "reason": command.reason}
        case Undone():
            state = State.UNDONE if command.happened else State.VOID
            return {"state": state, "unknown_since": None, "reason": None}
        case ReleaseUndo():
            return {"reason": command.reason}
