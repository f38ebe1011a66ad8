"""Commands for tests: short to write, with a clock that stands still unless told."""

from datetime import UTC, datetime, timedelta

from kit.ledger import (
    ClaimAction,
    Claimed,
    ClaimUndo,
    Complete,
    Decide,
    Doubt,
    Entry,
    Ledger,
    Release,
    ReleaseUndo,
    State,
    Undone,
)

START = datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)
LEASE = 10.0
"""Seconds."""

REQUEST = '{"order_id":"ord-1","name":"Zoë 🛒"}'.encode()
RESULT = b'{"authorization_id":"auth-1"}'


def at(seconds: float) -> datetime:
    """So many seconds after `START`."""
    return START + timedelta(seconds=seconds)


def entry(
    key: str = "k",
    owner: str = "a",
    *,
    now: float = 0,
    lease: float = LEASE,
    fingerprint: str = "fp",
    saga: str = "checkout-1",
    step: int = 1,
    state: State = State.CLAIMED,
    result: bytes | None = None,
    expires: float | None = 86_400,
    reason: str | None = None,
) -> Entry:
    """A row as an attempt would write it."""
    return Entry(
        key=key,
        fingerprint=fingerprint,
        operation="payments.authorize",
        version=2,
        state=state,
        saga=saga,
        run_id="run-1",
        step=step,
        correlation_id="corr-1",
        request=REQUEST,
        result=result,
        owner=owner,
        lease_until=at(now + lease),
        first_claimed_at=at(now),
        updated_at=at(now),
        expires_at=None if expires is None else at(expires),
        reason=reason,
    )


def claim(
    key: str = "k",
    owner: str = "a",
    *,
    now: float = 0,
    fingerprint: str = "fp",
    saga: str = "checkout-1",
    step: int = 1,
    expires: float | None = 86_400,
) -> ClaimAction:
    """An attempt of the action asks."""
    row = entry(key, owner, now=now, fingerprint=fingerprint, saga=saga, step=step, expires=expires)
    return ClaimAction(entry=row, now=at(now))


def undo(
    key: str = "k",
    owner: str = "u",
    *,
    now: float = 0,
    fingerprint: str = "fp",
    saga: str = "checkout-1",
    result: bytes | None = None,
    expires: float | None = 86_400,
) -> ClaimUndo:
    """An attempt of the undo asks."""
    row = entry(key, owner, now=now, fingerprint=fingerprint, saga=saga, result=result, expires=expires)
    return ClaimUndo(entry=row, now=at(now))


def complete(key: str = "k", owner: str = "a", *, now: float = 0, result: bytes = RESULT) -> Complete:
    """The action happened."""
    return Complete(key=key, owner=owner, result=result, now=at(now))


def release(key: str = "k", owner: str = "a", *, now: float = 0, certain: bool = False) -> Release:
    """The attempt had no effect."""
    return Release(key=key, owner=owner, reason="declined", now=at(now), certain=certain)


def doubt(key: str = "k", owner: str = "a", *, now: float = 0, since: float = 0) -> Doubt:
    """The action may have happened."""
    return Doubt(key=key, owner=owner, reason="timeout", since=at(since), now=at(now))


def undone(key: str = "k", owner: str = "u", *, now: float = 0, happened: bool = True) -> Undone:
    """The undo happened."""
    return Undone(key=key, owner=owner, happened=happened, now=at(now))


def release_undo(key: str = "k", owner: str = "u", *, now: float = 0) -> ReleaseUndo:
    """The attempt of the undo failed."""
    return ReleaseUndo(key=key, owner=owner, reason="unavailable", now=at(now))


def decision(
    state: State,
    key: str = "k",
    *,
    now: float = 0,
    result: bytes | None = None,
    fingerprint: str = "fp",
) -> Decide:
    """A person says what is true."""
    row = entry(key, "alice", now=now, state=state, result=result, fingerprint=fingerprint, reason="looked up")
    return Decide(entry=row, now=at(now))


async def bring_to(ledger: Ledger, state: State, key: str = "k") -> Entry:
    """A row in that state, written by ``a`` and undone by ``u`` at `START`; what is claimed has a live lease."""
    if state is State.VOID:
        await ledger.apply(undo(key))
    else:
        taken = await ledger.apply(claim(key))
        assert isinstance(taken, Claimed)
    if state is State.UNKNOWN:
        await ledger.apply(doubt(key))
    if state is State.REFUSED:
        await ledger.apply(release(key))
    if state in {State.DONE, State.UNDOING, State.UNDONE}:
        await ledger.apply(complete(key))
    if state in {State.UNDOING, State.UNDONE}:
        await ledger.apply(undo(key))
    if state is State.UNDONE:
        await ledger.apply(undone(key))
    row = await ledger.get(key)
    assert row is not None
    assert row.state is state
    return row
