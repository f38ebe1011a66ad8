"""What can go wrong in a scenario: a closed vocabulary, as data.

A *call* is one of a connector's methods at work (action, undo, probe), numbered per operation and role from 1 as the
run makes them, so a retry is call 2. A call may send several *requests* to its provider; the faults of the wire hit one
of them. A fault names its call, and a scenario is a set of faults and a seed. Both are written as one word, which is
what ``kit verify --only`` takes::

    payments.capture#1:reply_lost+payments.capture.undo#2:refused

The table says where each fault is injected, and what it is.

======================  ========  =====================================================================================
fault                   seam      what happens
======================  ========  =====================================================================================
``refused``             wire      the provider says no, for good, and does nothing; asked again under the same key, too
``outage``              wire      it cannot be reached, by this call and the next; then it is back
``rate_limited``        wire      it says "too many, later" and does nothing
``reply_lost``          wire      it does the work; the reply is lost
``replies_lost``        wire      the same for this call and the next eleven of the same operation and role: more than
                                  any cap of a retry
``too_slow``            wire      it does the work; the reply comes after the attempt is over
``late_after_retry``    wire      the attempt ends without a reply; the request takes effect after the next call under
                                  its key, at the latest when the dependency's settle time is over
``late_after_undo``     wire      the same, after the undo
``twice``               wire      the request is delivered twice
``final_error``         wire      it does the work, and answers with an error that nobody can classify
``server_error``        wire      it does the work; a proxy answers 502 in its place
``held``                gate      a hold is on for this call and the next, then off
``unrecorded``          ledger    the effect's result cannot be written down while the attempt lasts
``stalled``             worker    the worker freezes after the effect, and writes its record when the lease is over
``crash_before``        worker    the worker dies before the request goes out
``crash_after``         worker    it dies after the effect, before the record
``crash_recorded``      worker    it dies after the record, before Temporal hears of it
``cancel_before``       server    the run is cancelled before this call's activity is taken up: between two steps
``cancel_during``       server    the run is cancelled while the call is at work
``cancel_with_result``  server    a cancel and the activity's result reach the workflow in one workflow task
``terminated``          server    the run is terminated while the call is at work
``started_again``       server    the same request is started under another workflow id while the call is at work
``handed_over``         server    from here on the previous version of the workflow runs it
======================  ========  =====================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kit.contract import Role
from kit.errors import DefinitionError


class Seam(StrEnum):
    """Where a fault is injected; never in the code under test."""

    WIRE = "wire"
    """Between a connector and its provider."""
    GATE = "gate"
    """Where holds stop a call."""
    LEDGER = "ledger"
    WORKER = "worker"
    SERVER = "server"


class FaultKind(StrEnum):
    """What goes wrong; see the table of the module."""

    REFUSED = "refused"
    OUTAGE = "outage"
    RATE_LIMITED = "rate_limited"
    REPLY_LOST = "reply_lost"
    REPLIES_LOST = "replies_lost"
    TOO_SLOW = "too_slow"
    LATE_AFTER_RETRY = "late_after_retry"
    LATE_AFTER_UNDO = "late_after_undo"
    TWICE = "twice"
    FINAL_ERROR = "final_error"
    SERVER_ERROR = "server_error"
    HELD = "held"
    UNRECORDED = "unrecorded"
    STALLED = "stalled"
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"
    CRASH_RECORDED = "crash_recorded"
    CANCEL_BEFORE = "cancel_before"
    CANCEL_DURING = "cancel_during"
    CANCEL_WITH_RESULT = "cancel_with_result"
    TERMINATED = "terminated"
    STARTED_AGAIN = "started_again"
    HANDED_OVER = "handed_over"

    @property
    def seam(self) -> Seam:
        """Where it is injected."""
        return _SEAMS.get(self, Seam.SERVER if self in _OF_SERVER else Seam.WIRE)


_OF_SERVER: Final = frozenset(
    {
        FaultKind.CANCEL_BEFORE,
        FaultKind.CANCEL_DURING,
        FaultKind.CANCEL_WITH_RESULT,
        FaultKind.TERMINATED,
        FaultKind.STARTED_AGAIN,
        FaultKind.HANDED_OVER,
    }
)

_SEAMS: Final = {
    FaultKind.HELD: Seam.GATE,
    FaultKind.UNRECORDED: Seam.LEDGER,
    FaultKind.STALLED: Seam.WORKER,
    FaultKind.CRASH_BEFORE: Seam.WORKER,
    FaultKind.CRASH_AFTER: Seam.WORKER,
    FaultKind.CRASH_RECORDED: Seam.WORKER,
}

_ROLES: Final = {Role.ACTION: "", Role.COMPENSATION: ".undo", Role.PROBE: ".probe"}
_FAULT: Final = re.compile(
    r"(?P<operation>[\w.-]+?)(?P<role>\.undo|\.probe)?#(?P<call>[1-9]\d*)(?:/(?P<request>[1-9]\d*))?:(?P<kind>\w+)"
)


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Where a fault can strike: one request of one call.

    Attributes:
        operation: The operation's name.
        role: Which of the connector's methods.
        call: The number of the call among those of this operation and role in the scenario, from 1.
        request: The number of the request within the call, from 1.
    """

    operation: str
    role: Role
    call: int
    request: int = 1

    def __str__(self) -> str:
        """Such as ``payments.capture.undo#1``."""
        request = "" if self.request == 1 else f"/{self.request}"
        return f"{self.operation}{_ROLES[self.role]}#{self.call}{request}"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong at one point."""

    point: Point
    kind: FaultKind

    def __str__(self) -> str:
        """Such as ``payments.capture#1:reply_lost``."""
        return f"{self.point}:{self.kind.value}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read what `str` writes.

        Raises:
            DefinitionError: It is no fault.
        """
        match = _FAULT.fullmatch(text.strip())
        kinds = {kind.value: kind for kind in FaultKind}
        if match is None or match["kind"] not in kinds:
            raise DefinitionError(
                f"fault {text!r}",
                rule="it is not of the form 'operation[.undo|.probe]#call[/request]:kind'",
                fix=f"write for example 'payments.capture#1:reply_lost'; kinds: {', '.join(kinds)}",
            )
        role = next(role for role, suffix in _ROLES.items() if suffix == (match["role"] or ""))
        point = Point(match["operation"], role, int(match["call"]), int(match["request"] or 1))
        return cls(point, kinds[match["kind"]])


@dataclass(frozen=True, slots=True)
class Scenario:
    """What goes wrong in one run.

    Attributes:
        faults: In the order of `Fault`; none for the clean run.
        seed: Decides every choice that the real world leaves open.
    """

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Bring the faults into order: a scenario is a set."""
        object.__setattr__(self, "faults", tuple(sorted(set(self.faults))))

    def __str__(self) -> str:
        """Its id, one word: the faults, ``clean`` for none, and the seed unless it is 0."""
        faults = "+".join(str(fault) for fault in self.faults) or "clean"
        return faults if self.seed == 0 else f"{faults}@{self.seed}"

    def plus(self, fault: Fault) -> Scenario:
        """The scenario in which one more thing goes wrong."""
        return Scenario((*self.faults, fault), self.seed)

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """Read what `str` writes.

        Raises:
            DefinitionError: It is no scenario.
        """
        faults, _, seed = text.strip().partition("@")
        if seed and not seed.isdecimal():
            raise DefinitionError(f"scenario {text!r}", rule=f"its seed is {seed!r}", fix="write a number after '@'")
        parsed = () if faults == "clean" else tuple(Fault.parse(part) for part in faults.split("+"))
        return cls(parsed, int(seed or 0))
