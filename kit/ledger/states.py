"""What the ledger knows about one effect: its states, its row, what can be asked of it and what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from kit.errors import DefinitionError, FailureKind


class State(StrEnum):
    """What has become of an effect."""

    CLAIMED = "claimed"
    """An attempt is at work under a lease; when the lease is over its outcome is unknown."""
    UNKNOWN = "unknown"
    """The last attempt ended without knowing whether the effect happened."""
    REFUSED = "refused"
    """No effect, known; a new attempt may claim."""
    DONE = "done"
    """The effect is live and its result is recorded."""
    UNDOING = "undoing"
    """An undo has begun and has not been confirmed; the action can never run again."""
    UNDONE = "undone"
    """The effect happened and was undone."""
    VOID = "void"
    """The effect did not happen and never can: the undo came first, or found nothing."""


LEFT_IN_PLACE = "left in place"
"""Begins the reason of an effect that is ``DONE`` because a person decided against its undo."""

SETTLED_STATES = frozenset({State.REFUSED, State.DONE, State.UNDONE, State.VOID})
"""States in which the ledger knows what is true in the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Another saga that was answered with an effect and relies on it, until it has ``left``.

    One that has left keeps its place: a late attempt of it must not come back. The other fields are as in `Entry`.
    """

    saga: str
    run_id: str
    step: int
    correlation_id: str
    left: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the ledger: everything that is needed to repeat, prove or undo one effect.

    ``request`` and ``result`` are JSON documents of the operation's own types, so that an undo needs nothing
    else. ``owner`` names the attempt that wrote last; it holds the row only while ``lease_until`` is in the
    future. ``unknown_since`` is the last instant at which an attempt of unknown outcome may have sent its
    request. ``shared`` names the sagas that rely on the effect beside ``saga``, in the order in which they came,
    and those that do so no more.
    """

    key: str
    fingerprint: str
    operation: str
    version: int
    state: State
    saga: str
    run_id: str
    step: int
    correlation_id: str
    request: bytes
    result: bytes | None = None
    owner: str
    lease_until: datetime | None = None
    attempts: int = 1
    first_claimed_at: datetime
    unknown_since: datetime | None = None
    reason: str | None = None
    updated_at: datetime
    expires_at: datetime | None = None
    revision: int = 1
    shared: tuple[Share, ...] = ()

    @property
    def sagas(self) -> tuple[str, ...]:
        """The sagas whose effect it is: the one that had it, and those that share it."""
        return (self.saga, *(share.saga for share in self.shared if not share.left))

    @property
    def left_in_place(self) -> bool:
        """Whether a person decided against its undo."""
        return self.state is State.DONE and self.reason is not None and self.reason.startswith(LEFT_IN_PLACE)

    def step_of(self, saga: str) -> int:
        """Which step of one of its `sagas` it is."""
        return next((share.step for share in self.shared if share.saga == saga), self.step)


# --- what can be asked ----------------------------------------------------------------------------


def _require_lease(entry: Entry) -> None:
    if entry.lease_until is None:
        raise DefinitionError(
            f"claim of {entry.key!r}",
            rule="lease_until is None, so a crash of its owner would leave no doubt behind",
            fix="claim with a lease that outlasts the attempt's timeout",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAction:
    """May this attempt carry out the action? ``entry`` is the row to write if nothing stands in the way."""

    entry: Entry
    now: datetime

    def __post_init__(self) -> None:
        _require_lease(self.entry)

    @property
    def key(self) -> str:
        """The key asked about."""
        return self.entry.key


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimUndo:
    """May this attempt carry out the undo?

    ``entry.result`` holds the action's result when the asker knows the action was done, else ``None``. ``alone``: the
    asker means to have another effect in its stead, so that it stands for another saga is a refusal.
    """

    entry: Entry
    now: datetime
    alone: bool = False

    def __post_init__(self) -> None:
        _require_lease(self.entry)

    @property
    def key(self) -> str:
        """The key asked about."""
        return self.entry.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The action happened: record its result."""

    key: str
    owner: str
    result: bytes
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """This attempt had no effect. Frees the key, unless an earlier attempt's outcome is still unknown.

    ``certain`` says that the earlier doubt was resolved too: the truth was looked up and nothing had
    happened.
    """

    key: str
    owner: str
    reason: str
    now: datetime
    certain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The action may have happened. ``since`` is the last instant at which the request may have been sent."""

    key: str
    owner: str
    reason: str
    since: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """The undo has happened (``happened=True``), or there is nothing to undo and never will be."""

    key: str
    owner: str
    happened: bool
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseUndo:
    """This attempt of the undo failed: another may try at once. The row stays ``undoing``."""

    key: str
    owner: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """A person has established the truth.

    Its state is ``DONE`` (with ``result``), ``UNDONE``, ``VOID`` or ``REFUSED``. ``entry`` is the row to
    write when there is none yet. Not fenced by owner, but refused while a lease is live. A recorded result
    never changes, and a recorded effect is never declared void: only ``UNDONE`` is written over a done row,
    all else is answered ``Recorded``. ``REFUSED`` on a row that was undone before is written as ``VOID``, so
    that its key stays taken. Another saga's row is left alone.
    """

    entry: Entry
    now: datetime

    def __post_init__(self) -> None:
        decided = self.entry.state
        if decided not in SETTLED_STATES or (decided is State.DONE and self.entry.result is None):
            raise DefinitionError(
                f"Decide({self.entry.key!r})",
                rule=f"state {decided.value!r} with result {self.entry.result!r} settles nothing",
                fix="decide 'done' with a result, 'undone', 'void' or 'refused'",
            )

    @property
    def key(self) -> str:
        """The key decided about."""
        return self.entry.key


Command: TypeAlias = ClaimAction | ClaimUndo | Complete | Release | Doubt | Undone | ReleaseUndo | Decide


# --- what is answered -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """Go ahead. With ``entry.unknown_since`` in doubt: an earlier attempt may have had the effect."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Recorded:
    """The action is done: answer with ``entry.result`` and do nothing."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Settled:
    """The write took effect, or what was asked for is already so."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Busy:
    """Another attempt holds the row; ask again after ``until``."""

    entry: Entry
    until: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never: ``kind`` and ``reason`` say which rule."""

    entry: Entry
    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Not held by this attempt any more; nothing was written. ``entry`` is what stands, if anything."""

    entry: Entry | None


Verdict: TypeAlias = Claimed | Recorded | Settled | Busy | Rejected | Lost

REASON_KEY_REUSED = "key_reused"
REASON_AFTER_UNDO = "after_undo"
"""Reason codes of ``Rejected``."""
