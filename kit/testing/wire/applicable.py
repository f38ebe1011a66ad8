"""Which faults can strike a request: by its wire, by its operation's promise, and once per call what is the call's."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kit.contract import OnceStrategy, Role
from kit.testing.faults import FaultKind
from kit.testing.wire.answers import Answers
from kit.worker import Call

_OF_THE_WORK: Final = frozenset(
    {
        FaultKind.TOO_SLOW,
        FaultKind.LATE_AFTER_RETRY,
        FaultKind.LATE_AFTER_UNDO,
        FaultKind.TWICE,
        FaultKind.SERVER_ERROR,
        FaultKind.CRASH_AFTER,
    }
)
"""What differs from its neighbours (a lost reply, a crash before) only where the request changes something."""

_OF_THE_CALL: Final = frozenset(
    {
        FaultKind.HELD,
        FaultKind.UNRECORDED,
        FaultKind.STALLED,
        FaultKind.CRASH_RECORDED,
        FaultKind.CANCEL_BEFORE,
        FaultKind.CANCEL_DURING,
        FaultKind.CANCEL_WITH_RESULT,
        FaultKind.TERMINATED,
        FaultKind.STARTED_AGAIN,
        FaultKind.HANDED_OVER,
    }
)
"""What strikes the call and not one of its requests: offered at its first."""

_OF_A_LOOK_UP: Final = frozenset({FaultKind.CANCEL_DURING, FaultKind.TERMINATED, FaultKind.CRASH_RECORDED})
"""What of `_OF_THE_CALL` is offered at a look-up: the rest is the same as at the action or undo that it serves."""

_RECORDS: Final = frozenset({FaultKind.UNRECORDED, FaultKind.STALLED})
_LATE: Final = frozenset({FaultKind.LATE_AFTER_RETRY, FaultKind.LATE_AFTER_UNDO})
_KEEPS_TO_ONE: Final = frozenset({OnceStrategy.BY_KEY, OnceStrategy.BY_STATE})
"""Whose provider promises that a request delivered twice takes effect once. Without that promise nothing on this side
of the wire can undo a duplicate that the network makes, so it is an assumption that it makes none."""


def kinds_of(call: Call, answers: Answers[object], *, first: bool, late: timedelta) -> tuple[FaultKind, ...]:
    """What can go wrong with one request.

    Args:
        call: The call it belongs to.
        answers: What its wire can have.
        first: Whether it is the first of its call.
        late: How late its system may take effect.
    """
    strategy = call.operation.once.strategy if call.operation.once else None
    can = set(answers.offers) | {FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER}
    if first:
        can |= _OF_A_LOOK_UP if call.role is Role.PROBE else _OF_THE_CALL
    if answers.safe:
        can -= _OF_THE_WORK
    if call.role is not Role.ACTION or late <= timedelta(0):
        can -= _LATE
    if call.role is Role.ACTION and strategy not in _KEEPS_TO_ONE:
        can.discard(FaultKind.TWICE)
    if strategy is None or strategy is OnceStrategy.BY_TRANSACTION:
        can -= _RECORDS  # nothing is written, or in the same transaction
    return tuple(kind for kind in FaultKind if kind in can)
